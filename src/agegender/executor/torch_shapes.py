"""The shapes of a graph's parameters: what the attributes say of them, and what an image size makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from agegender.errors import GraphError
from agegender.executor.attributes import Attributes
from agegender.executor.operator_names import ELEMENTWISE
from agegender.executor.parameter_rules import Shape, Wanted, is_prelu, wanted_shapes
from agegender.executor.torch_ops import build_operators
from agegender.graph.node import Entry, Node
from agegender.graph.symbol import Graph


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


def value_shapes(
    graph: Graph,
    image: Sequence[int],
    *,
    input_name: str | None = None,
    given: Mapping[str, Shape] | None = None,
) -> dict[Entry, Shape]:
    """Return the shapes of all values of a pass over one image, parameters included, by (position of node, output).

    Arguments and errors are those of ``parameter_shapes``.
    """
    inference = _Inference(graph, given or {})
    inference.run((1, *image), graph.input_name() if input_name is None else input_name)
    return inference.shapes()


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

    def shapes(self) -> dict[Entry, Shape]:
        """Return the shapes of what the pass has met."""
        return {entry: tuple(value.shape) for entry, value in self._values.items()}

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
            if is_prelu(node) and given == (1,):
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
