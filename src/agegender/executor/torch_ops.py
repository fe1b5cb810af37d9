"""The operators that the torch executor knows: arithmetic here, layers and array operators in files of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor

from agegender.errors import GraphError
from agegender.executor.attributes import Attributes
from agegender.executor.node_checks import check_nodes
from agegender.executor.operator_names import ELEMENTWISE_NAMES, REDUCTION_NAMES, broadcast_names, scalar_names
from agegender.executor.torch_arrays import ARRAYS
from agegender.executor.torch_layers import LAYERS
from agegender.executor.torch_types import Builder, Operator
from agegender.graph.node import Node

Binary = Callable[[Tensor, Tensor], Tensor]
Unary = Callable[[Tensor], Tensor]
Reduce = Callable[..., Tensor]


def build_operators(nodes: Sequence[Node]) -> list[Operator]:
    """Return what computes each of ``nodes``.

    Raises GraphError for operators that are not known, all of them at once, and for attributes that make no sense.
    """
    check_nodes(nodes, OPERATORS, table="PyTorch")
    return [OPERATORS[node.op](Attributes(node)) for node in nodes]


def output_count(node: Node) -> int:
    """Return how many outputs ``build_operators`` computes for a node."""
    return Attributes(node).integer("num_outputs") if node.op in ("SliceChannel", "split") else 1


def _elementwise(attrs: Attributes, *, compute: Binary) -> Operator:
    """Combine two arrays of the same shape; unlike ``broadcast_...``, MXNet takes no others."""

    def run(left: Tensor, right: Tensor) -> Tensor:
        if left.shape != right.shape:
            raise GraphError(
                f"node {attrs.name!r} ({attrs.op}): shapes {tuple(left.shape)} and {tuple(right.shape)} differ"
            )
        return compute(left, right)

    return run


def _broadcast(attrs: Attributes, *, compute: Binary) -> Operator:
    return compute


def _with_scalar(attrs: Attributes, *, compute: Callable[[Tensor, float], Tensor]) -> Operator:
    scalar = attrs.real("scalar", 1.0)
    return lambda data: compute(data, scalar)


def _unary(attrs: Attributes, *, compute: Unary) -> Operator:
    return compute


def _same_type(compare: Binary) -> Binary:
    """Return 0 and 1 in the type of what is compared."""
    return lambda left, right: compare(left, right).to(left.dtype)


def _add_n(attrs: Attributes) -> Operator:
    """Add any number of arrays."""

    def run(*inputs: Tensor) -> Tensor:
        total = inputs[0]
        for other in inputs[1:]:
            total = total + other
        return total

    return run


def _reduction(attrs: Attributes, *, compute: Reduce) -> Operator:
    """Reduce along axes, or with ``exclude`` along all others; all values together give one value in one axis."""
    axes = attrs.numbers("axis", ())
    keep, exclude = attrs.boolean("keepdims", False), attrs.boolean("exclude", False)

    def run(data: Tensor) -> Tensor:
        chosen = {axis % data.dim() for axis in axes} or set(range(data.dim()))
        if exclude and axes:
            chosen = set(range(data.dim())) - chosen
        return _at_least_one_axis(compute(data, dim=sorted(chosen), keepdim=keep))

    return run


def _norm(attrs: Attributes) -> Operator:
    order = attrs.integer("ord", 2)
    if order not in (1, 2):
        raise attrs.error("ord", "neither 1 nor 2")
    return _reduction(attrs, compute=partial(torch.linalg.vector_norm, ord=order))


def _argmax(attrs: Attributes) -> Operator:
    """Return the place of the largest value as a float, as MXNet does."""
    axis, keep = attrs.optional_integer("axis"), attrs.boolean("keepdims", False)
    return lambda data: _at_least_one_axis(data.argmax(dim=axis, keepdim=keep)).to(torch.float32)


def _at_least_one_axis(data: Tensor) -> Tensor:
    return data if data.dim() else data.reshape(1)


def _dot(attrs: Attributes) -> Operator:
    """Multiply along the last axis of the first and the first axis of the second array."""
    first = 0 if attrs.boolean("transpose_a", False) else -1
    second = -1 if attrs.boolean("transpose_b", False) else 0

    def run(left: Tensor, right: Tensor) -> Tensor:
        kind = torch.promote_types(left.dtype, right.dtype)
        # Ages are expectations, sum of i * p_i, and keep float32; the meta device knows no autocast.
        there = torch.amp.is_autocast_available(left.device.type)
        with torch.autocast(left.device.type, enabled=False) if there else nullcontext():
            return _at_least_one_axis(torch.tensordot(left.to(kind), right.to(kind), dims=([first], [second])))

    return run


def _batch_dot(attrs: Attributes) -> Operator:
    """Multiply matrix by matrix."""
    first, second = attrs.boolean("transpose_a", False), attrs.boolean("transpose_b", False)
    return lambda left, right: (left.mT if first else left) @ (right.mT if second else right)


def _clip(attrs: Attributes) -> Operator:
    low, high = attrs.real("a_min"), attrs.real("a_max")
    return lambda data: data.clamp(low, high)


def _hard_sigmoid(attrs: Attributes) -> Operator:
    alpha, beta = attrs.real("alpha", 0.2), attrs.real("beta", 0.5)
    return lambda data: (alpha * data + beta).clamp(0, 1)


_BINARY: dict[str, Binary] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "power": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "equal": _same_type(torch.eq),
    "not_equal": _same_type(torch.ne),
    "greater": _same_type(torch.gt),
    "greater_equal": _same_type(torch.ge),
    "lesser": _same_type(torch.lt),
    "lesser_equal": _same_type(torch.le),
}
_SCALAR: dict[str, Callable[[Tensor, float], Tensor]] = {
    "plus": lambda data, scalar: data + scalar,
    "minus": lambda data, scalar: data - scalar,
    "rminus": lambda data, scalar: scalar - data,
    "mul": lambda data, scalar: data * scalar,
    "div": lambda data, scalar: data / scalar,
    "rdiv": lambda data, scalar: scalar / data,
    "power": lambda data, scalar: data**scalar,
    "rpower": lambda data, scalar: scalar**data,
    "maximum": lambda data, scalar: data.clamp(min=scalar),
    "minimum": lambda data, scalar: data.clamp(max=scalar),
    "equal": lambda data, scalar: (data == scalar).to(data.dtype),
    "not_equal": lambda data, scalar: (data != scalar).to(data.dtype),
    "greater": lambda data, scalar: (data > scalar).to(data.dtype),
    "greater_equal": lambda data, scalar: (data >= scalar).to(data.dtype),
    "lesser": lambda data, scalar: (data < scalar).to(data.dtype),
    "lesser_equal": lambda data, scalar: (data <= scalar).to(data.dtype),
}
_UNARY: dict[str, Unary] = {
    "abs": torch.abs,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "square": torch.square,
    "reciprocal": torch.reciprocal,
    "negative": torch.neg,
    "sign": torch.sign,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "erf": torch.erf,
}
_REDUCTIONS: dict[str, Reduce] = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}


def _arithmetic() -> dict[str, Builder]:
    table: dict[str, Builder] = {}
    for name, compute in _BINARY.items():
        table.update(dict.fromkeys(ELEMENTWISE_NAMES[name], partial(_elementwise, compute=compute)))
        table.update(dict.fromkeys(broadcast_names(name), partial(_broadcast, compute=compute)))
    for name, with_scalar in _SCALAR.items():
        table.update(dict.fromkeys(scalar_names(name), partial(_with_scalar, compute=with_scalar)))
    for name, unary in _UNARY.items():
        table[name] = partial(_unary, compute=unary)
    for name, reduce in _REDUCTIONS.items():
        table.update(dict.fromkeys(REDUCTION_NAMES[name], partial(_reduction, compute=reduce)))
    return table


OPERATORS: dict[str, Builder] = {
    **ARRAYS,
    **LAYERS,
    **_arithmetic(),
    **dict.fromkeys(("add_n", "ElementWiseSum", "_sum"), _add_n),
    "norm": _norm,
    "argmax": _argmax,
    "dot": _dot,
    "batch_dot": _batch_dot,
    "clip": _clip,
    "hard_sigmoid": _hard_sigmoid,
}
