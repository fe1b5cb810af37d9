"""In which order a graph is computed, where its values lie meanwhile, and when they are let go of."""

from __future__ import annotations

from dataclasses import dataclass

from agegender.errors import GraphError
from agegender.executor.torch_ops import build_operators, output_count
from agegender.executor.torch_types import Operator
from agegender.graph.node import Entry
from agegender.graph.symbol import Graph


@dataclass(frozen=True, slots=True)
class Step:
    """One computation: the slots of its inputs, those of its outputs, and those that nobody needs after it."""

    operator: Operator
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    freed: tuple[int, ...]


class Plan:
    """The steps that compute a graph, with one slot for every value.

    ``variables`` maps ``arg:fc1_weight`` and ``aux:bn0_moving_mean`` to their slots, ``outputs`` are names and slots.
    Raises GraphError for operators that PyTorch lacks (all of them at once) and for attributes that make no sense.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._slots = self._number_values()
        self.slots = len(self._slots)
        states = set(graph.aux())
        self.variables = {
            f"{'aux' if node.name in states else 'arg'}:{node.name}": self._slots[position, 0]
            for position, node in enumerate(graph.nodes)
            if node.is_variable
        }
        self.outputs = [(name, self._slot(entry)) for name, entry in zip(graph.outputs(), graph.heads, strict=True)]
        self.steps = self._order()

    def _number_values(self) -> dict[Entry, int]:
        entries = [
            (position, index)
            for position, node in enumerate(self._graph.nodes)
            for index in range(1 if node.is_variable else output_count(node))
        ]
        return {entry: slot for slot, entry in enumerate(entries)}

    def _slot(self, entry: Entry) -> int:
        if entry not in self._slots:
            node = self._graph.nodes[entry[0]]
            raise GraphError(f"node {node.name!r} ({node.op}): PyTorch does not compute its output {entry[1]}")
        return self._slots[entry]

    def _order(self) -> list[Step]:
        nodes = self._graph.nodes
        last_use = {entry: position for position, node in enumerate(nodes) for entry in node.inputs}
        last_use |= dict.fromkeys(self._graph.heads, len(nodes))
        computed = [position for position, node in enumerate(nodes) if not node.is_variable]
        operators = build_operators([nodes[position] for position in computed])
        steps = []
        for position, operator in zip(computed, operators, strict=True):
            node = nodes[position]
            outputs = [(position, index) for index in range(output_count(node))]
            touched = dict.fromkeys([*node.inputs, *outputs])
            freed = [entry for entry in touched if last_use.get(entry, position) == position]
            steps.append(Step(operator, *(tuple(map(self._slot, each)) for each in (node.inputs, outputs, freed))))
        return steps
