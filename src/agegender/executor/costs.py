"""What a graph costs: numbers to learn, to keep and to store, and multiply-adds, node by node."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agegender.executor.attributes import Attributes
from agegender.graph.node import Node
from agegender.graph.params import params_size
from agegender.graph.symbol import Graph

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NodeCost:
    """One node: the shape of its first output for one image (with the batch of 1), and what it costs.

    A parameter that several nodes share counts for the first of them. ``macs`` are multiply-adds of convolutions, dense
    layers and products of matrices; everything else (norms, activations, pooling, sums) counts as nothing, as in
    the papers.
    """

    name: str
    op: str
    shape: Shape
    parameters: int
    states: int
    macs: int


@dataclass(frozen=True, slots=True)
class GraphCost:
    """A whole graph: ``parameters`` are all arguments but the input, ``states`` what BatchNorm keeps of the data.

    ``file_size``: bytes of its ``.params`` file in float32.
    """

    nodes: tuple[NodeCost, ...]
    parameters: int
    states: int
    macs: int
    file_size: int


def graph_cost(
    graph: Graph, image: Sequence[int], *, input_name: str | None = None, given: Mapping[str, Shape] | None = None
) -> GraphCost:
    """Return what ``graph`` costs for one image of shape ``image`` (C, H, W).

    ``given`` are shapes of parameters on which no layer insists (``arg:...``). Loads PyTorch, whose meta device works
    the shapes out; nothing is computed. Raises GraphError where the graph can't take such images.
    """
    from agegender.executor.torch_shapes import value_shapes

    source = graph.input_name() if input_name is None else input_name
    shapes = value_shapes(graph, image, input_name=source, given=given)
    states = set(graph.aux())
    keys = {
        position: f"aux:{node.name}" if node.name in states else f"arg:{node.name}"
        for position, node in enumerate(graph.nodes)
        if node.is_variable and node.name != source
    }
    stored: dict[str, Shape] = {}
    nodes: list[NodeCost] = []
    for position, node in enumerate(graph.nodes):
        if node.is_variable:
            continue
        new = {keys[entry[0]]: shapes[entry] for entry in node.inputs if entry[0] in keys}
        new = {key: shape for key, shape in new.items() if key not in stored}
        stored |= new
        learned, kept = (_numbers(new, kind) for kind in ("arg:", "aux:"))
        macs = _multiply_adds(node, [shapes[entry] for entry in node.inputs], shapes[position, 0])
        nodes.append(NodeCost(node.name, node.op, shapes[position, 0], learned, kept, macs))
    return GraphCost(
        tuple(nodes),
        parameters=_numbers(stored, "arg:"),
        states=_numbers(stored, "aux:"),
        macs=sum(node.macs for node in nodes),
        file_size=params_size(stored),
    )


def _numbers(shapes: Mapping[str, Shape], kind: str) -> int:
    return sum(math.prod(shape) for key, shape in shapes.items() if key.startswith(kind))


def _multiply_adds(node: Node, inputs: Sequence[Shape], output: Shape) -> int:
    rule = _RULES.get(node.op)
    return 0 if rule is None else rule(Attributes(node), inputs, output)


def _weighted(attrs: Attributes, inputs: Sequence[Shape], output: Shape) -> int:
    # Every place of the map uses every weight once; so does every row that a dense layer is given.
    weight = inputs[1]
    return math.prod(output) // weight[0] * math.prod(weight)


def _deconvolution(attrs: Attributes, inputs: Sequence[Shape], output: Shape) -> int:
    data, weight = inputs[:2]
    return math.prod(data) // weight[0] * math.prod(weight)


def _dot(attrs: Attributes, inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * inputs[0][0 if attrs.boolean("transpose_a", False) else -1]


def _batch_dot(attrs: Attributes, inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * inputs[0][-2 if attrs.boolean("transpose_a", False) else -1]


_RULES: dict[str, Callable[[Attributes, Sequence[Shape], Shape], int]] = {
    "Convolution": _weighted,
    "Convolution_v1": _weighted,
    "FullyConnected": _weighted,
    "Deconvolution": _deconvolution,
    "dot": _dot,
    "batch_dot": _batch_dot,
}
