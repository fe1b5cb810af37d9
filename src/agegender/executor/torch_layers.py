"""MXNet's layers on tensors: convolution, dense, pooling, activation, normalisation, softmax, dropout."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from agegender.executor.attributes import Attributes
from agegender.executor.torch_batch_norm import BatchNorm
from agegender.executor.torch_pooling import pooling, pooling_v1
from agegender.executor.torch_types import Builder, Operator
from agegender.executor.windows import ConvWindow
from agegender.graph.operators import NORMS


def convolution(attrs: Attributes) -> Operator:
    """Convolve maps, with groups and dilation."""
    _, stride, dilate, pad = ConvWindow.read(attrs)
    groups = attrs.integer("num_group", 1)

    def run(data: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv2d(data, weight, bias, stride, pad, dilate, groups)

    return run


def deconvolution(attrs: Attributes) -> Operator:
    """Convolve transposed; with ``target_shape`` the result is cut to it, as MXNet does."""
    _, stride, dilate, pad = ConvWindow.read(attrs)
    adj, target = attrs.numbers("adj", (0, 0), count=2), attrs.numbers("target_shape", (0, 0), count=2)
    groups = attrs.integer("num_group", 1)

    def run(data: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if not any(target):
            return F.conv_transpose2d(data, weight, bias, stride, pad, adj, groups, dilate)
        whole = F.conv_transpose2d(data, weight, bias, stride, 0, 0, groups, dilate)
        for axis, size in enumerate(target, start=2):
            whole = whole.narrow(axis, (whole.shape[axis] - size + 1) // 2, size)
        return whole

    return run


def fully_connected(attrs: Attributes) -> Operator:
    """Multiply with a matrix; ``flatten`` (the default) brings all axes but the first together."""
    flatten = attrs.boolean("flatten", True)

    def run(data: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(data.flatten(1) if flatten and data.dim() > 1 else data, weight, bias)

    return run


def activation(attrs: Attributes) -> Operator:
    """Apply relu, sigmoid, tanh, softrelu (log(1 + e^x)) or softsign."""
    kinds: dict[str, Operator] = {
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "softrelu": F.softplus,
        "softsign": F.softsign,
    }
    return kinds[attrs.choice("act_type", tuple(kinds))]


def leaky_relu(attrs: Attributes) -> Operator:
    """Apply leaky, prelu, elu, selu or gelu (with erf)."""
    slope = attrs.real("slope", 0.25)
    kinds: dict[str, Operator] = {
        "leaky": lambda data: F.leaky_relu(data, slope),
        "prelu": lambda data, gamma: F.prelu(data, gamma.to(data.dtype)),
        "elu": lambda data: F.elu(data, slope),
        "selu": F.selu,
        "gelu": F.gelu,
    }
    return kinds[attrs.choice("act_type", tuple(kinds), "leaky")]


class Dropout(nn.Module):
    """Set values to zero with probability ``p`` in training (mode ``always``: ever) and scale up the others."""

    def __init__(self, attrs: Attributes) -> None:
        super().__init__()
        self._p = attrs.real("p", 0.5)
        if not 0 <= self._p < 1:
            raise attrs.error("p", "not within 0..1")
        self._always = attrs.choice("mode", ("training", "always"), "training") == "always"
        self._axes = attrs.numbers("axes", ())

    def forward(self, data: Tensor) -> Tensor:
        """Drop; values along ``axes`` share their fate."""
        active = self.training or self._always
        if not self._axes or not active:
            return F.dropout(data, self._p, active)
        shape = [1 if axis in self._axes else size for axis, size in enumerate(data.shape)]
        return data * F.dropout(data.new_ones(shape), self._p, True)


def softmax(attrs: Attributes) -> Operator:
    """Normalise to probabilities along ``axis``, in float32 also where autocast is on."""
    axis, factor = _softmax_attributes(attrs)
    return lambda data: torch.softmax(_wide(data) * factor, axis)


def log_softmax(attrs: Attributes) -> Operator:
    """Return the logarithm of ``softmax``."""
    axis, factor = _softmax_attributes(attrs)
    return lambda data: torch.log_softmax(_wide(data) * factor, axis)


def _softmax_attributes(attrs: Attributes) -> tuple[int, float]:
    """Return the axis, and what the logits are multiplied with: 1 / temperature."""
    if attrs.boolean("use_length", False):
        raise attrs.error("use_length", "not supported")
    temperature = attrs.optional_real("temperature")
    return attrs.integer("axis", -1), 1.0 if temperature is None else 1 / temperature


def softmax_activation(attrs: Attributes) -> Operator:
    """Apply softmax over the channels (mode ``channel``) or, whatever the documentation says, over the last axis."""
    axis = 1 if attrs.choice("mode", ("instance", "channel"), "instance") == "channel" else -1
    return lambda data: torch.softmax(_wide(data), axis)


def l2_normalization(attrs: Attributes) -> Operator:
    """Divide by the Euclidean norm of a row (``instance``), of a pixel's channels or of a channel's pixels."""
    eps = attrs.real("eps", 1e-10)
    mode = attrs.choice("mode", ("instance", "channel", "spatial"), "instance")

    def run(data: Tensor) -> Tensor:
        wide = _wide(data)
        first = {"instance": 1, "channel": 1, "spatial": 2}[mode]
        axes = [1] if mode == "channel" else list(range(first, data.dim()))
        return wide * (wide.square().sum(dim=axes, keepdim=True) + eps).rsqrt()

    return run


def instance_norm(attrs: Attributes) -> Operator:
    """Normalise every map of every image on its own."""
    eps = attrs.real("eps", 1e-3)

    def run(data: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        # Not F.instance_norm, which refuses maps of one pixel.
        maps = _wide(data).flatten(2)
        out = F.layer_norm(maps, maps.shape[2:], eps=eps) * gamma[:, None] + beta[:, None]
        return out.reshape(data.shape)

    return run


def layer_norm(attrs: Attributes) -> Operator:
    """Normalise along one axis."""
    eps, axis = attrs.real("eps", 1e-5), attrs.integer("axis", -1)

    def run(data: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        last = _wide(data).movedim(axis, -1)
        return F.layer_norm(last, last.shape[-1:], gamma, beta, eps).movedim(-1, axis)

    return run


def lrn(attrs: Attributes) -> Operator:
    """Normalise by the squares of neighbouring channels (AlexNet)."""
    size = attrs.integer("nsize")
    alpha, beta, knorm = attrs.real("alpha", 1e-4), attrs.real("beta", 0.75), attrs.real("knorm", 2.0)
    return lambda data: F.local_response_norm(_wide(data), size, alpha, beta, knorm)


def upsampling(attrs: Attributes) -> Operator:
    """Repeat pixels; several inputs are brought to the size of the first, and concatenated or added."""
    attrs.choice("sample_type", ("nearest",))
    scale = attrs.integer("scale")
    added = attrs.choice("multi_input_mode", ("concat", "sum"), "concat") == "sum"

    def run(*inputs: Tensor) -> Tensor:
        size = [side * scale for side in inputs[0].shape[2:]]
        maps = [F.interpolate(data, size=size, mode="nearest") for data in inputs]
        if len(maps) == 1:
            return maps[0]
        return torch.stack(maps).sum(dim=0) if added else torch.cat(maps, dim=1)

    return run


def _wide(data: Tensor) -> Tensor:
    """Return half-precision data as float32."""
    return data.float() if data.dtype in (torch.float16, torch.bfloat16) else data


LAYERS: dict[str, Builder] = {
    **dict.fromkeys(NORMS, BatchNorm),
    "Convolution": convolution,
    "Convolution_v1": convolution,
    "Deconvolution": deconvolution,
    "FullyConnected": fully_connected,
    "Activation": activation,
    "LeakyReLU": leaky_relu,
    "Pooling": pooling,
    "Pooling_v1": pooling_v1,
    "Dropout": Dropout,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "SoftmaxActivation": softmax_activation,
    "L2Normalization": l2_normalization,
    "InstanceNorm": instance_norm,
    "LayerNorm": layer_norm,
    "LRN": lrn,
    "UpSampling": upsampling,
}
