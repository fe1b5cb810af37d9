"""MXNet's pooling, both of its rounding conventions."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from agegender.executor.attributes import Attributes
from agegender.executor.torch_types import Operator
from agegender.executor.windows import PoolWindows, pool_kind


class _Windows(PoolWindows):
    """Pools by the windows that it is."""

    def __call__(self, data: Tensor) -> Tensor:
        if not self._natural(data):
            return self._padded(data)
        if self.kind == "max":
            return F.max_pool2d(data, self.kernel, self.stride, self.pad, ceil_mode=self.full)
        divisor = 1 if self.kind == "sum" else None
        return F.avg_pool2d(data, self.kernel, self.stride, self.pad, self.full, self.count_pad, divisor)

    def _natural(self, data: Tensor) -> bool:
        """Return whether PyTorch has these windows: it allows little padding and leaves out those that lie in it."""
        for size, kernel, stride, pad in self._sides(data):
            last = (self.count(size, kernel, stride, pad) - 1) * stride
            if 2 * pad > kernel or (self.full and last >= size + pad):
                return False
        return True

    def _padded(self, data: Tensor) -> Tensor:
        """Pool with the padding written out. Windows that lie in it alone are 0, or the smallest number there is."""
        margins: list[int] = []
        inside: list[int] = []
        for size, kernel, stride, pad in self._sides(data):
            needed = (self.count(size, kernel, stride, pad) - 1) * stride + kernel
            margins[:0] = [pad, max(needed - size - pad, 0)]
            inside[:0] = [0, max(needed - size - 2 * pad, 0)] if self.count_pad else margins[:2]
        if self.kind == "max":
            return F.max_pool2d(F.pad(data, margins, value=torch.finfo(data.dtype).min), self.kernel, self.stride)
        sums = F.avg_pool2d(F.pad(data, margins), self.kernel, self.stride, divisor_override=1)
        if self.kind == "sum":
            return sums
        grown = 2 if self.count_pad else 0
        area = data.new_ones(1, 1, *(size + grown * pad for size, _, _, pad in self._sides(data)))
        counts = F.avg_pool2d(F.pad(area, inside), self.kernel, self.stride, divisor_override=1)
        return sums / counts.clamp(min=1)

    def _sides(self, data: Tensor) -> list[tuple[int, int, int, int]]:
        return list(zip(data.shape[2:], self.kernel, self.stride, self.pad, strict=True))


def pooling(attrs: Attributes) -> Operator:
    """Pool max, avg or sum over windows or, with ``global_pool``, over whole maps."""
    return _pooling(attrs, count_pad=attrs.boolean("count_include_pad", True))


def pooling_v1(attrs: Attributes) -> Operator:
    """Pool as MXNet did before 0.9.4: as ``pooling``, but an average always counts the padding."""
    return _pooling(attrs, count_pad=True)


def _pooling(attrs: Attributes, *, count_pad: bool) -> Operator:
    kind, whole = pool_kind(attrs)
    if whole:
        if kind == "max":
            return lambda data: F.adaptive_max_pool2d(data, 1)
        if kind == "sum":
            return lambda data: data.sum(dim=(2, 3), keepdim=True)
        return lambda data: data.mean(dim=(2, 3), keepdim=True)
    return _Windows.read(attrs, kind=kind, count_pad=count_pad)
