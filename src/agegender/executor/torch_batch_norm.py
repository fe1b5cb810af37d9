"""Batch normalisation with MXNet's running averages, over one process or over all of a group."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from agegender.executor.attributes import Attributes


def has_fixed_gamma(attrs: Attributes) -> bool:
    """Return whether a BatchNorm takes its gamma as 1, whatever its value is: MXNet's default."""
    return attrs.boolean("fix_gamma", True)


class BatchNorm(nn.Module):
    """MXNet's BatchNorm: ``moving = momentum * moving + (1 - momentum) * batch``, with the biased batch variance.

    PyTorch's layer weighs the other way round and keeps the unbiased variance. Statistics are computed in float32, also
    from bf16 data. With a ``group`` the batch is that of all its processes. ``momentum`` may change between batches.
    """

    def __init__(self, attrs: Attributes) -> None:
        super().__init__()
        self.group: ProcessGroup | None = None
        self._eps = attrs.real("eps", 1e-3)
        self.momentum = attrs.real("momentum", 0.9)
        self._fixed = has_fixed_gamma(attrs)
        self._global = attrs.boolean("use_global_stats", False)
        self._axis = attrs.integer("axis", 1)

    def forward(self, data: Tensor, gamma: Tensor, beta: Tensor, moving_mean: Tensor, moving_var: Tensor) -> Tensor:
        """Normalise per channel; in training the moving statistics are updated in place."""
        if self._axis not in (1, 1 - data.dim()):
            data = data.movedim(self._axis, 1)
        weight = None if self._fixed else gamma
        if not self.training or self._global:
            out = F.batch_norm(data, moving_mean, moving_var, weight, beta, eps=self._eps)
        else:
            out, mean, variance = self._normalise(data, weight, beta)
            with torch.no_grad():
                moving_mean.lerp_(mean, 1 - self.momentum)
                moving_var.lerp_(variance, 1 - self.momentum)
        return out if self._axis in (1, 1 - data.dim()) else out.movedim(1, self._axis)

    def _normalise(self, data: Tensor, weight: Tensor | None, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalised data, and the batch's mean and biased variance."""
        if self.group is not None and self.group.size() > 1:
            return (_fused if data.is_cuda else _reduced)(data, weight, beta, self._eps, self.group)
        # Compiled for the processor, statistics of bf16 data would be rounded to bf16.
        wide = data if data.is_cuda else data.float()
        # Not F.batch_norm: that refuses a batch of one value per channel and returns no statistics.
        out, mean, inverse = torch.native_batch_norm(wide, weight, beta, None, None, True, 0.0, self._eps)
        return out.to(data.dtype), mean, inverse.detach().pow(-2) - self._eps


def _fused(
    data: Tensor, weight: Tensor | None, beta: Tensor, eps: float, group: ProcessGroup
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise over a group with PyTorch's CUDA kernels."""
    from torch.nn.modules._functions import SyncBatchNorm

    channels = data.shape[1]
    mean, variance = beta.new_zeros(channels), beta.new_zeros(channels)
    if weight is None:
        weight = torch.ones_like(beta)
    # With momentum 1 it leaves this batch's mean and unbiased variance behind.
    arguments = (data, weight, beta, mean, variance, eps, 1.0, group, group.size())
    out: Tensor = SyncBatchNorm.apply(*arguments)  # type: ignore[no-untyped-call]
    count = data.numel() // channels * group.size()
    return out, mean, variance * ((count - 1) / count)


def _reduced(
    data: Tensor, weight: Tensor | None, beta: Tensor, eps: float, group: ProcessGroup
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise over a group with sums that gradients flow through; any device and backend."""
    from torch.distributed.nn import functional

    all_reduce: Callable[..., Tensor] = functional.all_reduce
    axes = [axis for axis in range(data.dim()) if axis != 1]
    shape = [1, -1] + [1] * (data.dim() - 2)
    wide = data.float()
    size = wide.new_full((1,), data.numel() // data.shape[1])
    total = all_reduce(torch.cat([wide.sum(dim=axes), size]), group=group)
    mean = total[:-1] / total[-1]
    centred = wide - mean.view(shape)
    # Two sums after another rather than E[x^2] - E[x]^2, which cancels.
    variance = all_reduce(centred.square().sum(dim=axes), group=group) / total[-1]
    out = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        out = out * weight.view(shape)
    return (out + beta.view(shape)).to(data.dtype), mean.detach(), variance.detach()
