"""MXNet's layers as ONNX nodes: convolution, dense, activation, normalisation, softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from agegender.errors import GraphError
from agegender.executor.attributes import Attributes
from agegender.executor.onnx_emitter import Emitter, Writer
from agegender.executor.onnx_pooling import pooling, pooling_v1
from agegender.executor.windows import ConvWindow
from agegender.graph.operators import NORMS


def convolution(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Convolve maps, with groups and dilation."""
    return out.emit("Conv", inputs, **_convolution(attrs, ConvWindow.read(attrs)))


def deconvolution(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Convolve transposed; with ``target_shape`` the result is cut to it, as MXNet does."""
    window = ConvWindow.read(attrs)
    adj, target = attrs.numbers("adj", (0, 0), count=2), attrs.numbers("target_shape", (0, 0), count=2)
    if any(target):
        window, adj = window._replace(pad=(0, 0)), (0, 0)
    whole = out.emit("ConvTranspose", inputs, **_convolution(attrs, window), output_padding=list(adj))
    if any(target):
        for axis, size in enumerate(target, start=2):
            start = (out.size(whole, axis) - size + 1) // 2
            whole = out.cut(whole, axis, start, start + size)
    return whole


def _convolution(attrs: Attributes, window: ConvWindow) -> dict[str, Any]:
    """Return ONNX's attributes of a convolution."""
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "dilations": list(window.dilate),
        "pads": [*window.pad, *window.pad],
        "group": attrs.integer("num_group", 1),
    }


def fully_connected(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Multiply with a matrix; ``flatten`` (the default) brings all axes but the first together."""
    data, weight, *bias = inputs
    if attrs.boolean("flatten", True):
        if out.rank(data) != 2:
            data = out.emit("Flatten", [data], axis=1)
        return out.emit("Gemm", [data, weight, *bias], transB=1)
    product = out.emit("MatMul", [data, out.transpose(weight, (1, 0))])
    return out.emit("Add", [product, *bias]) if bias else product


def activation(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Apply relu, sigmoid, tanh, softrelu (log(1 + e^x)) or softsign."""
    kinds = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}
    return out.emit(kinds[attrs.choice("act_type", tuple(kinds))], inputs)


def leaky_relu(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Apply leaky, prelu, elu, selu or gelu (with erf)."""
    slope = attrs.real("slope", 0.25)
    kind = attrs.choice("act_type", ("leaky", "prelu", "elu", "selu", "gelu"), "leaky")
    data = inputs[0]
    if kind == "prelu":
        slopes = _per_channel(out, inputs[1], out.rank(data))
        if out.for_cpu and out.rank(data) == 4 and out.shape(data)[1] and slopes in out.initializers:
            return _prelu_in_parts(out, data, slopes)
        return out.emit("PRelu", [data, slopes])
    if kind == "gelu":
        half = out.emit("Mul", [data, out.scalar(0.5, data)])
        erf = out.emit("Erf", [out.emit("Mul", [data, out.scalar(1 / math.sqrt(2), data)])])
        return out.emit("Mul", [half, out.emit("Add", [erf, out.scalar(1, data)])])
    if kind == "selu":
        return out.emit("Selu", [data])
    return out.emit("LeakyRelu" if kind == "leaky" else "Elu", [data], alpha=slope)


# The largest slope of a PReLU that may be divided by what it lacks to 1.
_STEEPEST = 0.9


def _prelu_in_parts(out: Emitter, data: str, slopes: str) -> str:
    """Write ``b * y + relu(y)`` with ``y = (1 - a) * x`` and ``b = a / (1 - a)``, the same but for rounding.

    ONNX Runtime's own PRelu goes through numbers one by one and in plain layout: it took half the time of MTCNN. These
    parts are vectorised and stay in the blocked layout of the convolutions around them, and y is the convolution's own
    output with its weights scaled. Slopes near 1 or above it are written ``a * x + (1 - a) * relu(x)``, one step more.
    """
    # (1,) would broadcast as well, but ONNX Runtime takes only constants of one value per channel into that layout.
    array = np.broadcast_to(out.array(slopes), (out.size(data, 1), 1, 1))
    if (array <= _STEEPEST).all():
        scaled = out.emit("Mul", [data, out.constant(1 - array)])
        straight = out.emit("Mul", [scaled, out.constant(array / (1 - array))])
        return out.emit("Add", [straight, out.emit("Relu", [scaled])])
    straight = out.emit("Mul", [data, out.constant(array)])
    above = out.emit("Mul", [out.emit("Relu", [data]), out.constant(1 - array)])
    return out.emit("Add", [straight, above])


def _per_channel(out: Emitter, name: str, rank: int, axis: int = 1) -> str:
    """Return a parameter of one value per channel in a shape that broadcasts over data of ``rank`` axes."""
    if out.size(name, 0) == 1 or rank == axis + 1:
        return name
    shape = (-1, *[1] * (rank - axis - 1))
    if name in out.initializers:
        return out.constant(out.array(name).reshape(shape))
    return out.reshape(name, shape)


def batch_norm(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Normalise per channel by the moving statistics; with ``fix_gamma`` (the default) gamma is 1."""
    data, gamma, *rest = inputs
    axis, rank = attrs.integer("axis", 1), out.rank(data)
    if not -rank <= axis < rank:
        raise attrs.error("axis", f"data has {rank} axes")
    if attrs.boolean("fix_gamma", True):
        gamma = out.constant(np.ones(out.size(gamma, 0), np.float32))
    order = [place for place in range(rank) if place != axis % rank]
    order.insert(1, axis % rank)
    moved = order != list(range(rank))
    data = out.transpose(data, order) if moved else data
    result = out.emit("BatchNormalization", [data, gamma, *rest], epsilon=attrs.real("eps", 1e-3))
    return out.transpose(result, np.argsort(order).tolist()) if moved else result


def dropout(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Pass on what comes: nobody trains here."""
    if attrs.choice("mode", ("training", "always"), "training") == "always":
        raise attrs.error("mode", "not in an ONNX file, which holds no randomness")
    return out.emit("Identity", inputs)


def softmax(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Normalise to probabilities along ``axis``."""
    return _softmax(out, _scaled(out, attrs, inputs[0]), axis=attrs.integer("axis", -1))


def log_softmax(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Return the logarithm of ``softmax``."""
    return out.emit("LogSoftmax", [_scaled(out, attrs, inputs[0])], axis=attrs.integer("axis", -1))


def _scaled(out: Emitter, attrs: Attributes, data: str) -> str:
    """Return the logits, divided by the temperature where there is one."""
    if attrs.boolean("use_length", False):
        raise attrs.error("use_length", "not supported")
    temperature = attrs.optional_real("temperature")
    if temperature in (None, 1.0):
        return data
    return out.emit("Div", [data, out.scalar(temperature, data)])


def softmax_activation(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Apply softmax over the channels (mode ``channel``) or, whatever the documentation says, over the last axis."""
    channel = attrs.choice("mode", ("instance", "channel"), "instance") == "channel"
    return _softmax(out, inputs[0], axis=1 if channel else -1)


def _softmax(out: Emitter, data: str, *, axis: int) -> str:
    """Write softmax; of two channels of maps as a sigmoid of their differences, where that is faster.

    ONNX Runtime brings the channels last and back for its own: a tenth of the time of P-Net.
    """
    if not (out.for_cpu and out.rank(data) == 4 and axis % 4 == 1 and out.shape(data)[1] == 2):
        return out.emit("Softmax", [data], axis=axis)
    differences = np.array([[1, -1], [-1, 1]], np.float32)
    node = out.nodes[-1] if out.nodes else None
    if node is None or node.op_type != "Conv" or node.output[0] != data or not _is_fixed(out, node):
        maps = out.emit("Conv", [data, out.constant(differences[..., None, None])], kernel_shape=[1, 1])
    else:
        # The convolution before it computes the differences at once.
        arrays = [out.constant(np.tensordot(differences, out.array(name), 1)) for name in node.input[1:]]
        how = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        maps = out.emit("Conv", [node.input[0], *arrays], **how)
    return out.emit("Sigmoid", [maps])


def _is_fixed(out: Emitter, node: NodeProto) -> bool:
    """Whether a convolution is in one group, with weights that are known."""
    groups = [each.i for each in node.attribute if each.name == "group"]
    return groups in ([], [1]) and all(name in out.initializers for name in node.input[1:])


def l2_normalization(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Divide by the Euclidean norm of a row (``instance``), of a pixel's channels or of a channel's pixels."""
    mode = attrs.choice("mode", ("instance", "channel", "spatial"), "instance")
    data, rank = inputs[0], out.rank(inputs[0])
    axes = [1] if mode == "channel" else list(range({"instance": 1, "spatial": 2}[mode], rank))
    squares = out.emit("ReduceSumSquare", [data], axes=axes, keepdims=1)
    total = out.emit("Add", [squares, out.scalar(attrs.real("eps", 1e-10), data)])
    return out.emit("Div", [data, out.emit("Sqrt", [total])])


def instance_norm(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Normalise every map of every image on its own."""
    return out.emit("InstanceNormalization", inputs, epsilon=attrs.real("eps", 1e-3))


def layer_norm(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Normalise along one axis."""
    data, *rest = inputs
    rank = out.rank(data)
    axis = attrs.integer("axis", -1) % rank
    order = [place for place in range(rank) if place != axis] + [axis]
    moved = order != list(range(rank))
    data = out.transpose(data, order) if moved else data
    result = out.emit("LayerNormalization", [data, *rest], axis=-1, epsilon=attrs.real("eps", 1e-5))
    return out.transpose(result, np.argsort(order).tolist()) if moved else result


def lrn(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Normalise by the squares of neighbouring channels (AlexNet)."""
    return out.emit(
        "LRN",
        inputs,
        size=attrs.integer("nsize"),
        alpha=attrs.real("alpha", 1e-4),
        beta=attrs.real("beta", 0.75),
        bias=attrs.real("knorm", 2.0),
    )


def upsampling(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Repeat pixels; several inputs are brought to the size of the first, and concatenated or added."""
    attrs.choice("sample_type", ("nearest",))
    scale = attrs.integer("scale")
    added = attrs.choice("multi_input_mode", ("concat", "sum"), "concat") == "sum"
    maps = [_enlarged(out, inputs[0], (scale, scale))]
    for data in inputs[1:]:
        sides = [(out.size(maps[0], axis), out.size(data, axis)) for axis in (2, 3)]
        if any(wanted % there for wanted, there in sides):
            raise GraphError(f"node {attrs.name!r} ({attrs.op}): {sides} are no multiples")
        maps.append(_enlarged(out, data, tuple(wanted // there for wanted, there in sides)))
    if len(maps) == 1:
        return maps[0]
    return out.emit("Sum", maps) if added else out.emit("Concat", maps, axis=1)


def _enlarged(out: Emitter, data: str, scales: Sequence[int]) -> str:
    factors = out.constant([1, 1, *scales])
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return out.emit("Resize", [data, "", factors], **how)


LAYERS: dict[str, Writer] = {
    **dict.fromkeys(NORMS, batch_norm),
    "Convolution": convolution,
    "Convolution_v1": convolution,
    "Deconvolution": deconvolution,
    "FullyConnected": fully_connected,
    "Activation": activation,
    "LeakyReLU": leaky_relu,
    "Pooling": pooling,
    "Pooling_v1": pooling_v1,
    "Dropout": dropout,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "SoftmaxActivation": softmax_activation,
    "L2Normalization": l2_normalization,
    "InstanceNorm": instance_norm,
    "LayerNorm": layer_norm,
    "LRN": lrn,
    "UpSampling": upsampling,
}
