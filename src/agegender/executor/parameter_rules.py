"""The shapes that layers want their parameters to have, as their attributes say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from agegender.errors import CheckpointError, GraphError
from agegender.executor.attributes import Attributes
from agegender.graph.node import Node
from agegender.graph.operators import NORMS
from agegender.graph.symbol import Graph

Shape = tuple[int, ...]
# A size that depends on the data is None as long as the data's shape is not known.
Wanted = tuple[int | None, ...]
Rule = Callable[[Attributes, Shape | None], Mapping[int, Wanted]]


def check_given_shapes(graph: Graph, given: Mapping[str, Shape]) -> None:
    """Compare the shapes of parameters with what the attributes say of them, whatever the images' size is.

    Raises CheckpointError, which names the parameter and its layer.
    """
    states = set(graph.aux())
    for node in graph.nodes:
        # What depends on the data is the same number in all parameters of a layer.
        depending: int | None = None
        for place, wanted in wanted_shapes(node, None).items():
            name = graph.nodes[node.inputs[place][0]].name
            shape = given.get(f"aux:{name}" if name in states else f"arg:{name}")
            if shape is None or (is_prelu(node) and shape == (1,)):
                continue
            if depending is None and None in wanted and len(shape) == len(wanted):
                depending = shape[wanted.index(None)]
            full = tuple(depending if size is None else size for size in wanted)
            if shape != full:
                shown = ", ".join("?" if size is None else str(size) for size in full)
                shown = f"({shown},)" if len(full) == 1 else f"({shown})"
                raise CheckpointError(f"{name} has shape {shape}, node {node.name!r} ({node.op}) wants {shown}")


def wanted_shapes(node: Node, data: Shape | None) -> Mapping[int, Wanted]:
    """Return the shapes of a node's parameters by input position, given the shape of its data or None."""
    rule = _RULES.get(node.op)
    if rule is None:
        return {}
    return {place: wanted for place, wanted in rule(Attributes(node), data).items() if place < len(node.inputs)}


def is_prelu(node: Node) -> bool:
    """Return whether a node has one learned slope per channel, or one for all."""
    return node.op == "LeakyReLU" and node.attrs.get("act_type") == "prelu"


def _channels(data: Shape | None, axis: int = 1) -> int | None:
    if data is None:
        return None
    if not -len(data) <= axis < len(data):
        raise GraphError(f"data of shape {data} has no axis {axis}")
    return data[axis]


def _convolution(attrs: Attributes, data: Shape | None) -> Mapping[int, Wanted]:
    filters, groups, kernel = attrs.integer("num_filter"), attrs.integer("num_group", 1), attrs.numbers("kernel")
    channels = _channels(data)
    return {1: (filters, None if channels is None else channels // groups, *kernel), 2: (filters,)}


def _deconvolution(attrs: Attributes, data: Shape | None) -> Mapping[int, Wanted]:
    filters, groups = attrs.integer("num_filter"), attrs.integer("num_group", 1)
    return {1: (_channels(data), filters // groups, *attrs.numbers("kernel")), 2: (filters,)}


def _fully_connected(attrs: Attributes, data: Shape | None) -> Mapping[int, Wanted]:
    units = attrs.integer("num_hidden")
    if data is None:
        return {1: (units, None), 2: (units,)}
    width = math.prod(data[1:]) if attrs.boolean("flatten", True) else data[-1]
    return {1: (units, width), 2: (units,)}


def _batch_norm(attrs: Attributes, data: Shape | None) -> Mapping[int, Wanted]:
    return dict.fromkeys((1, 2, 3, 4), (_channels(data, attrs.integer("axis", 1)),))


def _instance_norm(attrs: Attributes, data: Shape | None) -> Mapping[int, Wanted]:
    return dict.fromkeys((1, 2), (_channels(data),))


def _layer_norm(attrs: Attributes, data: Shape | None) -> Mapping[int, Wanted]:
    return dict.fromkeys((1, 2), (_channels(data, attrs.integer("axis", -1)),))


def _prelu(attrs: Attributes, data: Shape | None) -> Mapping[int, Wanted]:
    return {1: (_channels(data),)}


def _embedding(attrs: Attributes, data: Shape | None) -> Mapping[int, Wanted]:
    return {1: (attrs.integer("input_dim"), attrs.integer("output_dim"))}


_RULES: dict[str, Rule] = {
    "Convolution": _convolution,
    "Convolution_v1": _convolution,
    "Deconvolution": _deconvolution,
    "FullyConnected": _fully_connected,
    **dict.fromkeys(NORMS, _batch_norm),
    "InstanceNorm": _instance_norm,
    "LayerNorm": _layer_norm,
    "LeakyReLU": _prelu,
    "Embedding": _embedding,
}
