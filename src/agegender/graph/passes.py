"""Several passes through a graph as one graph, in each of which dropout drops other values: Monte Carlo dropout."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agegender.errors import GraphError
from agegender.graph.node import VARIABLE, Entry, Node
from agegender.graph.symbol import Graph

Shape = tuple[int, ...]

_DROPOUT = "Dropout"
_USUAL_SHARE = "0.5"  # MXNet's p where a node states none


@dataclass(frozen=True, slots=True)
class Mask:
    """A parameter to be drawn: shape (1, passes, ...), by which what a Dropout of share ``dropped`` takes is scaled."""

    shape: Shape
    dropped: float


@dataclass(frozen=True, slots=True)
class Passes:
    """``graph`` computes all passes of ``masks`` (named ``arg:...``), which the original's parameters go with.

    Outputs stand in the original's order; those that dropout reaches, ``drawn``, are (n, passes, ...).
    """

    graph: Graph
    masks: dict[str, Mask]
    drawn: tuple[bool, ...]


class Rewriter:
    """Turns an inference graph into one of several passes. What comes before the first dropout is computed once.

    ``crossing`` are the values whose shapes ``rewrite`` has to know: what dropouts take, what else joins a value that
    was dropped from, and the outputs that were.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._varying: set[int] = set()
        self._drawn: set[int] = set()
        data = graph.input_name()
        for position, node in enumerate(graph.nodes):
            sources = {source for source, _ in node.inputs}
            if node.name == data or sources & self._varying:
                self._varying.add(position)
            if sources & self._drawn or (position in self._varying and _drops(node)):
                self._drawn.add(position)
        self.drawn = tuple(source in self._drawn for source, _ in graph.heads)
        self.crossing = tuple(dict.fromkeys(self._crossing()))

    def rewrite(self, passes: int, shapes: Mapping[Entry, Shape]) -> Passes:
        """Return the graph of ``passes`` passes; ``shapes`` has those of ``crossing``, computed for a single face.

        Each face is in their first axis a block of its own: it may have several rows (windows of a picture), but all of
        them before the next face's. Raises GraphError for an output that has several.
        """
        return _Writing(self._graph, self._varying, self._drawn, passes, shapes).result(self.drawn)

    def _crossing(self) -> Iterator[Entry]:
        for position in sorted(self._drawn):
            node = self._graph.nodes[position]
            for entry in node.inputs:
                apart = entry[0] in self._varying and entry[0] not in self._drawn
                if apart or _drops(node):
                    yield entry
        for entry in self._graph.heads:
            if entry[0] in self._drawn:
                yield entry


class _Writing:
    """The new graph as it grows. Values that were dropped from have passes times as many rows, a face's together."""

    def __init__(
        self, graph: Graph, varying: set[int], drawn: set[int], passes: int, shapes: Mapping[Entry, Shape]
    ) -> None:
        self._graph, self._varying, self._drawn = graph, varying, drawn
        self._passes, self._shapes = passes, shapes
        self._nodes: list[Node] = []
        self._places: dict[Entry, Entry] = {}
        self._repeated: dict[Entry, Entry] = {}
        self._masks: dict[str, Mask] = {}
        self._names = {node.name for node in graph.nodes}
        self._used = [{0} for _ in graph.nodes]
        for source, index in [*graph.heads, *(entry for node in graph.nodes for entry in node.inputs)]:
            self._used[source].add(index)

    def result(self, drawn: tuple[bool, ...]) -> Passes:
        for position, node in enumerate(self._graph.nodes):
            if position in self._drawn and _drops(node):
                self._places[position, 0] = self._drop(node)
                continue
            taken = self._repeat if position in self._drawn else self._places.__getitem__
            inputs = tuple(taken(entry) for entry in node.inputs)
            self._nodes.append(Node(node.op, node.name, node.attrs, inputs))
            here = len(self._nodes) - 1
            # Whatever outputs a node has: they are numbered alike.
            self._places |= {(position, index): (here, index) for index in self._used[position]}
        heads = tuple(
            self._output(entry) if changed else self._places[entry]
            for entry, changed in zip(self._graph.heads, drawn, strict=True)
        )
        return Passes(Graph(tuple(self._nodes), heads, self._graph.version), self._masks, drawn)

    def _drop(self, node: Node) -> Entry:
        """Scale what a dropout takes by a mask of its own in each pass."""
        entry = node.inputs[0]
        one = self._shapes[entry]
        share = {axis % len(one) for axis in _numbers(node.attrs.get("axes", "()"))}
        # In one row, unless values along some axes share their fate: not every library broadcasts many axes.
        row = one if share else (math.prod(one),)
        shape = tuple(1 if axis in share else size for axis, size in enumerate(row))
        name = self._name(f"{node.name}_mask")
        mask = Mask((1, self._passes, *shape), _share(node))
        self._masks[f"arg:{name}"] = mask
        # Nothing else tells MXNet the shape of what is broadcast.
        variable = self._add(VARIABLE, name, {"__shape__": str(mask.shape)})
        passes = self._passes if entry[0] in self._drawn else 1
        apart = self._reshape(self._places[entry], (-1, passes, *row), f"{node.name}_apart")
        scaled = self._add("broadcast_mul", self._name(f"{node.name}_scaled"), {}, apart, variable)
        return self._reshape(scaled, (-1, *one[1:]), node.name)

    def _repeat(self, entry: Entry) -> Entry:
        """Return a value for every pass: one that is the same in all of them is repeated for each face."""
        if entry[0] in self._drawn or entry[0] not in self._varying:
            return self._places[entry]
        if entry not in self._repeated:
            one, name = self._shapes[entry], f"{self._graph.nodes[entry[0]].name}_{entry[1]}"
            apart = self._reshape(self._places[entry], (-1, 1, math.prod(one)), f"{name}_apart")
            attrs = {"repeats": str(self._passes), "axis": "1"}
            each = self._add("repeat", self._name(f"{name}_each"), attrs, apart)
            self._repeated[entry] = self._reshape(each, (-1, *one[1:]), f"{name}_repeated")
        return self._repeated[entry]

    def _output(self, entry: Entry) -> Entry:
        one, name = self._shapes[entry], self._graph.nodes[entry[0]].name
        if one[0] != 1:
            raise GraphError(f"output {name!r} has {one[0]} rows for each face, so its passes can't be told apart")
        return self._reshape(self._places[entry], (-1, self._passes, *one[1:]), f"{name}_{entry[1]}_passes")

    def _reshape(self, entry: Entry, shape: Shape, name: str) -> Entry:
        return self._add("Reshape", self._name(name), {"shape": str(shape)}, entry)

    def _add(self, op: str, name: str, attrs: dict[str, str], *inputs: Entry) -> Entry:
        self._nodes.append(Node(op, name, attrs, inputs))
        return len(self._nodes) - 1, 0

    def _name(self, wanted: str) -> str:
        while wanted in self._names:
            wanted += "_"
        self._names.add(wanted)
        return wanted


def _drops(node: Node) -> bool:
    return node.op == _DROPOUT and _share(node) > 0


def _share(node: Node) -> float:
    text = node.attrs.get("p", _USUAL_SHARE)
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise GraphError(f"node {node.name!r} (Dropout): p is {text!r}, not within 0..1")
    return share


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.strip("()[] ").split(",") if word.strip()]
