"""The graph of a network, read from MXNet's symbol JSON and written back to it, without MXNet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agegender.errors import GraphError
from agegender.graph import symbol_json
from agegender.graph.node import Entry, Node, needed
from agegender.graph.operators import LOSSES, is_true, output_name, state_positions


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can be computed (inputs before their users), and the outputs (``heads``)."""

    nodes: tuple[Node, ...]
    heads: tuple[Entry, ...]
    version: int = symbol_json.WRITTEN_VERSION

    @classmethod
    def from_json(cls, source: Path | str) -> Graph:
        """Read symbol JSON from a file (a Path) or from its text, of any MXNet since 0.8.

        Nodes that no output needs are left out, as MXNet does. Raises GraphError, which names file and node.
        """
        return cls(*symbol_json.parse(source))

    def to_json(self) -> str:
        """Return the graph as symbol JSON that ``mx.sym.load_json`` of MXNet 1.x reads."""
        return symbol_json.write(self.nodes, self.heads, version=self.version)

    def arguments(self) -> list[str]:
        """Return the names of the inputs and parameters, in ``list_arguments`` order."""
        states = self._states()
        return [node.name for i, node in enumerate(self.nodes) if node.is_variable and i not in states]

    def input_name(self) -> str:
        """Return the name of the graph's input: ``data``, else the first argument. Raises GraphError for none."""
        arguments = self.arguments()
        if not arguments:
            raise GraphError("the graph has no input")
        return "data" if "data" in arguments else arguments[0]

    def parameters(self, input_name: str | None = None) -> list[str]:
        """Return the names of all that has to be given besides the input: ``arg:...``, then ``aux:...``.

        ``input_name`` is the input where it is not ``input_name()``.
        """
        given = self.input_name() if input_name is None else input_name
        arguments = [f"arg:{name}" for name in self.arguments() if name != given]
        return [*arguments, *(f"aux:{name}" for name in self.aux())]

    def aux(self) -> list[str]:
        """Return the names of the auxiliary states (moving means and variances), in order."""
        states = self._states()
        return [node.name for i, node in enumerate(self.nodes) if node.is_variable and i in states]

    def outputs(self) -> list[str]:
        """Return the names of the outputs, such as ``fc1_output``."""
        return [self._entry_name(entry) for entry in self.heads]

    def operators(self) -> set[str]:
        """Return which operators the graph uses."""
        return {node.op for node in self.nodes if not node.is_variable}

    def select(self, names: Iterable[str]) -> Graph:
        """Return the part of the graph that computes the outputs or inner nodes ``names`` (``fc1_output``).

        Raises GraphError for a name that is not there.
        """
        wanted = list(names)
        found: dict[str, Entry] = {}
        for position, node in enumerate(self.nodes):
            found[self._entry_name((position, 0))] = (position, 0)
            for entry in node.inputs:
                found[self._entry_name(entry)] = entry
        found.update(zip(self.outputs(), self.heads, strict=True))
        for name in wanted:
            if name not in found:
                raise GraphError(f"the graph has no output {name!r} (its outputs: {', '.join(self.outputs())})")
        return Graph(*needed(self.nodes, [found[name] for name in wanted]), self.version)

    def inference(self) -> Graph:
        """Return the graph without its losses: what it computes from ``data`` alone.

        SoftmaxOutput becomes softmax, the regression outputs pass their input on (LogisticRegressionOutput: sigmoid),
        under the same names. Outputs that can't be computed without a label are dropped, and so are the labels.
        Raises GraphError where nothing is left.
        """
        labels = self._labels()
        nodes = tuple(_without_loss(node) for node in self.nodes)
        needs_label: set[int] = set()
        for position, node in enumerate(nodes):
            if position in labels or any(source in needs_label for source, _ in node.inputs):
                needs_label.add(position)
        heads = [entry for entry in self.heads if entry[0] not in needs_label]
        if not heads:
            raise GraphError(f"every output needs a label: {', '.join(self.outputs())}")
        return Graph(*needed(nodes, heads), self.version)

    def _labels(self) -> set[int]:
        """Return the positions of the label variables: what losses take as such, and what is called so."""
        labels = {
            position
            for position, node in enumerate(self.nodes)
            if node.is_variable and (node.name == "label" or node.name.endswith("_label"))
        }
        for node in self.nodes:
            if node.op in LOSSES:
                labels.update(source for source, _ in node.inputs[1:] if self.nodes[source].is_variable)
        return labels

    def _states(self) -> set[int]:
        return {
            node.inputs[place][0]
            for node in self.nodes
            for place in state_positions(node.op)
            if place < len(node.inputs) and self.nodes[node.inputs[place][0]].is_variable
        }

    def _entry_name(self, entry: Entry) -> str:
        node = self.nodes[entry[0]]
        return node.name if node.is_variable else output_name(node.op, node.name, entry[1])


def _without_loss(node: Node) -> Node:
    if node.op not in LOSSES:
        return node
    op, attrs = LOSSES[node.op]
    if op == "softmax" and is_true(node.attrs.get("multi_output")):
        attrs = {"axis": "1"}
    return Node(op, node.name, attrs, node.inputs[:1])
