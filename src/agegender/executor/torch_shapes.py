"""The shapes of a graph's parameters: what the attributes say of them, and what an image size makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from agegender.errors import CheckpointError, GraphError
from agegender.executor.attributes import Attributes
from agegender.executor.torch_batch_norm import NORMS
from agegender.executor.torch_ops import ELEMENTWISE, build_operators
from agegender.graph.node import Node
from agegender.graph.symbol import Graph

Shape = tuple[int, ...]
# A size that depends on the data is None as long as the data's shape is not known.
Wanted = tuple[int | None, ...]
Rule = Callable[[Attributes, Shape | None], Mapping[int, Wanted]]


def parameter_shapes(
    graph: Graph,
    image: Sequence[int],
    *,
    input_name: str | None = None,
    given: Mapping[str, Shape] | None = None,
) -> dict[str, Shape]:
    """Return the shapes of the parameters (``arg:...``, then ``aux:...``) for images of shape ``image`` (C, H, W).

    ``given`` are shapes of parameters on which no layer insists, by the same names. Computes with shapes alone, no
    numbers. Raises GraphError where the graph can't take such images, and for a parameter whose shape nothing tells.
    """
    return _Inference(graph, given or {}).run((1, *image), graph.input_name() if input_name is None else input_name)


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
            if shape is None or (_is_prelu(node) and shape == (1,)):
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


def _is_prelu(node: Node) -> bool:
    """Return whether a node has one learned slope per channel, or one for all."""
    return node.op == "LeakyReLU" and node.attrs.get("act_type") == "prelu"


class _Inference:
    """One pass over a graph on PyTorch's meta device, where tensors have shapes and no values."""

    def __init__(self, graph: Graph, given: Mapping[str, Shape]) -> None:
        self._graph = graph
        self._given = given
        states = set(graph.aux())
        self._keys = {
            node.name: f"aux:{node.name}" if node.name in states else f"arg:{node.name}"
            for node in graph.nodes
            if node.is_variable
        }
        self._values: dict[tuple[int, int], Tensor] = {}
        self._found: dict[str, Shape] = {}

    def run(self, data: Shape, input_name: str) -> dict[str, Shape]:
        nodes = self._graph.nodes
        computed = [node for node in nodes if not node.is_variable]
        operators = iter(build_operators(computed))
        for position, node in enumerate(nodes):
            if node.is_variable:
                if node.name == input_name:
                    self._values[position, 0] = torch.empty(data, device="meta")
                continue
            operator = next(operators)
            if isinstance(operator, nn.Module):
                operator.eval()
            inputs = self._inputs(node)
            try:
                with torch.no_grad():
                    results: Any = operator(*inputs)
            except (RuntimeError, ValueError, IndexError, GraphError) as error:
                problem = str(error) if isinstance(error, GraphError) else f"node {node.name!r} ({node.op}): {error}"
                problem = problem.partition("\n")[0]
                raise GraphError(f"the graph can't take images of shape {data[1:]}: {problem}") from error
            for index, result in enumerate(results if isinstance(results, tuple) else (results,)):
                self._values[position, index] = result.to("meta")
        names = [name for name in self._graph.arguments() if name != input_name] + self._graph.aux()
        return {self._keys[name]: self._found[self._keys[name]] for name in names if self._keys[name] in self._found}

    def _inputs(self, node: Node) -> list[Tensor]:
        known = [self._values.get(entry) for entry in node.inputs]
        shapes = [None if value is None else tuple(value.shape) for value in known]
        wanted = wanted_shapes(node, shapes[0]) if shapes else {}
        for place, entry in enumerate(node.inputs):
            if entry not in self._values:
                shape = self._parameter(node, place, wanted, shapes)
                self._found[self._keys[self._graph.nodes[entry[0]].name]] = shape
                self._values[entry] = torch.empty(shape, device="meta")
        return [self._values[entry] for entry in node.inputs]

    def _parameter(self, node: Node, place: int, wanted: Mapping[int, Wanted], shapes: Sequence[Shape | None]) -> Shape:
        variable = self._graph.nodes[node.inputs[place][0]]
        given = self._given.get(self._keys[variable.name])
        if place in wanted and None not in wanted[place]:
            # One slope for all channels is fine as well.
            if _is_prelu(node) and given == (1,):
                return given
            return tuple(size for size in wanted[place] if size is not None)
        stated = Attributes(variable).numbers("__shape__", ())
        if stated and min(stated) > 0:
            return stated
        if given is not None:
            return given
        others = [shape for shape in shapes if shape is not None]
        if node.op in ELEMENTWISE and others:
            return others[0]
        raise GraphError(f"nothing tells the shape of {variable.name!r}, an input of node {node.name!r} ({node.op})")


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
