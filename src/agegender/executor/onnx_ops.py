"""The operators that can be written as ONNX: arithmetic here, layers and array operators in files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from onnx import TensorProto

from agegender.errors import GraphError
from agegender.executor.attributes import Attributes
from agegender.executor.node_checks import check_nodes
from agegender.executor.onnx_arrays import ARRAYS
from agegender.executor.onnx_emitter import Emitter, Writer
from agegender.executor.onnx_layers import LAYERS
from agegender.executor.operator_names import ELEMENTWISE_NAMES, REDUCTION_NAMES, broadcast_names, scalar_names
from agegender.graph.node import Node


def check_operators(nodes: Sequence[Node]) -> None:
    """Raise GraphError for operators that can't be written, all of them at once, and for missing inputs."""
    check_nodes(nodes, OPERATORS, table="ONNX export")


def _two(out: Emitter, attrs: Attributes, inputs: Sequence[str], *, op: str) -> str:
    """Combine two arrays; comparisons give 0 and 1 in the type of what is compared."""
    return _compared(out, inputs[0], out.emit(op, inputs))


def _two_alike(out: Emitter, attrs: Attributes, inputs: Sequence[str], *, op: str) -> str:
    """Combine two arrays of the same shape; unlike ``broadcast_...``, MXNet takes no others."""
    left, right = (out.shape(name) for name in inputs)
    pairs = [pair for pair in zip(left, right) if None not in pair]
    if len(left) != len(right) or any(one != other for one, other in pairs):
        raise GraphError(f"node {attrs.name!r} ({attrs.op}): shapes {left} and {right} differ")
    return _two(out, attrs, inputs, op=op)


def _with_scalar(out: Emitter, attrs: Attributes, inputs: Sequence[str], *, op: str, reverse: bool = False) -> str:
    pair = [inputs[0], out.scalar(attrs.real("scalar", 1.0), inputs[0])]
    return _compared(out, inputs[0], out.emit(op, pair[::-1] if reverse else pair))


def _compared(out: Emitter, like: str, result: str) -> str:
    return out.cast(result, out.elem_type(like))


def _not_equal(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    return _compared(out, inputs[0], out.emit("Not", [out.emit("Equal", inputs)]))


def _not_equal_scalar(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    return _not_equal(out, attrs, [inputs[0], out.scalar(attrs.real("scalar", 1.0), inputs[0])])


def _one(out: Emitter, attrs: Attributes, inputs: Sequence[str], *, op: str) -> str:
    return out.emit(op, inputs)


def _rsqrt(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    return out.emit("Reciprocal", [out.emit("Sqrt", inputs)])


def _square(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    return out.emit("Mul", [inputs[0], inputs[0]])


def _reduction(out: Emitter, attrs: Attributes, inputs: Sequence[str], *, op: str) -> str:
    """Reduce along axes, or with ``exclude`` along all others; all values together give one value in one axis."""
    rank = out.rank(inputs[0])
    chosen = {axis % rank for axis in attrs.numbers("axis", ())} or set(range(rank))
    if attrs.boolean("exclude", False) and attrs.numbers("axis", ()):
        chosen = set(range(rank)) - chosen
    keep = attrs.boolean("keepdims", False)
    axes = sorted(chosen)
    # The sum alone takes its axes as an input in opset 17.
    given, attributes = ([out.ints(axes)], {}) if op == "ReduceSum" else ([], {"axes": axes})
    result = out.emit(op, [inputs[0], *given], keepdims=int(keep), **attributes)
    return result if keep or len(axes) < rank else out.reshape(result, [1])


def _norm(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    order = attrs.integer("ord", 2)
    if order not in (1, 2):
        raise attrs.error("ord", "neither 1 nor 2")
    return _reduction(out, attrs, inputs, op=f"ReduceL{order}")


def _argmax(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Return the place of the largest value as a float, as MXNet does."""
    axis, keep = attrs.optional_integer("axis"), attrs.boolean("keepdims", False)
    data = inputs[0]
    if axis is None:
        rank = out.rank(data)
        place = out.emit("ArgMax", [out.reshape(data, [-1])], axis=0, keepdims=1)
        place = out.reshape(place, [1] * rank if keep else [1])
    else:
        place = out.emit("ArgMax", [data], axis=axis, keepdims=int(keep))
        if out.rank(place) == 0:
            place = out.reshape(place, [1])
    return out.cast(place, TensorProto.FLOAT)


def _dot(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Multiply along the last axis of the first and the first axis of the second array."""
    left, right = inputs
    if attrs.boolean("transpose_a", False):
        left = out.transpose(left, [*range(1, out.rank(left)), 0])
    if attrs.boolean("transpose_b", False):
        rank = out.rank(right)
        right = out.transpose(right, [rank - 1, *range(rank - 1)])
    if out.rank(right) > 2:
        rest = [out.size(right, axis) for axis in range(1, out.rank(right))]
        before = out.shape(left)[:-1]
        if any(size is None for size in before[1:]):
            raise GraphError(f"node {attrs.name!r} ({attrs.op}): needs a fixed image size")
        right = out.reshape(right, [out.size(right, 0), -1])
        product = out.emit("MatMul", [left, right])
        return out.reshape(product, [-1 if size is None else size for size in before] + rest)
    product = out.emit("MatMul", [left, right])
    return product if out.rank(product) else out.reshape(product, [1])


def _batch_dot(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Multiply matrix by matrix."""
    left, right = (
        out.transpose(name, (0, 2, 1)) if attrs.boolean(flag, False) else name
        for name, flag in zip(inputs, ("transpose_a", "transpose_b"), strict=True)
    )
    return out.emit("MatMul", [left, right])


def _clip(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    data = inputs[0]
    return out.emit("Clip", [data, *(out.scalar(attrs.real(key), data) for key in ("a_min", "a_max"))])


def _hard_sigmoid(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    return out.emit("HardSigmoid", inputs, alpha=attrs.real("alpha", 0.2), beta=attrs.real("beta", 0.5))


_BINARY = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "power": "Pow",
    "maximum": "Max",
    "minimum": "Min",
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "lesser": "Less",
    "lesser_equal": "LessOrEqual",
}
# name: (ONNX operator, whether the number comes first)
_SCALAR: dict[str, tuple[str, bool]] = {
    "plus": ("Add", False),
    "minus": ("Sub", False),
    "rminus": ("Sub", True),
    "mul": ("Mul", False),
    "div": ("Div", False),
    "rdiv": ("Div", True),
    "power": ("Pow", False),
    "rpower": ("Pow", True),
    "maximum": ("Max", False),
    "minimum": ("Min", False),
    "equal": ("Equal", False),
    "greater": ("Greater", False),
    "greater_equal": ("GreaterOrEqual", False),
    "lesser": ("Less", False),
    "lesser_equal": ("LessOrEqual", False),
}
_UNARY = {
    "abs": "Abs",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "reciprocal": "Reciprocal",
    "negative": "Neg",
    "sign": "Sign",
    "floor": "Floor",
    "ceil": "Ceil",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "erf": "Erf",
}
_REDUCTIONS = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}


def _arithmetic() -> dict[str, Writer]:
    table: dict[str, Writer] = {}
    for name, op in _BINARY.items():
        table.update(dict.fromkeys(ELEMENTWISE_NAMES[name], partial(_two_alike, op=op)))
        table.update(dict.fromkeys(broadcast_names(name), partial(_two, op=op)))
    for name, (op, reverse) in _SCALAR.items():
        table.update(dict.fromkeys(scalar_names(name), partial(_with_scalar, op=op, reverse=reverse)))
    for name, op in _UNARY.items():
        table[name] = partial(_one, op=op)
    for name, op in _REDUCTIONS.items():
        table.update(dict.fromkeys(REDUCTION_NAMES[name], partial(_reduction, op=op)))
    return table


def _add_n(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    return out.emit("Sum", inputs)


OPERATORS: dict[str, Writer] = {
    **ARRAYS,
    **LAYERS,
    **_arithmetic(),
    **dict.fromkeys((*ELEMENTWISE_NAMES["not_equal"], *broadcast_names("not_equal")), _not_equal),
    **dict.fromkeys(scalar_names("not_equal"), _not_equal_scalar),
    **dict.fromkeys(("add_n", "ElementWiseSum", "_sum"), _add_n),
    "rsqrt": _rsqrt,
    "square": _square,
    "norm": _norm,
    "argmax": _argmax,
    "dot": _dot,
    "batch_dot": _batch_dot,
    "clip": _clip,
    "hard_sigmoid": _hard_sigmoid,
}
