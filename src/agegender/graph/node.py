"""One node of a graph, and the order that nodes stand in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

VARIABLE = "null"
# (position of a node, which of its outputs)
Entry = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Node:
    """One operator (or, with op ``null``, one variable). ``inputs`` are (position of the node, output index) pairs."""

    op: str
    name: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Entry, ...] = ()

    @property
    def is_variable(self) -> bool:
        """Whether this is an input, a parameter or a state rather than a computation."""
        return self.op == VARIABLE


def needed(nodes: Sequence[Node], heads: Iterable[Entry]) -> tuple[tuple[Node, ...], tuple[Entry, ...]]:
    """Return the nodes that ``heads`` need, inputs before their users, in MXNet's depth-first order, and the heads."""
    heads = list(heads)
    place: dict[int, int] = {}
    ordered: list[Node] = []
    for head, _ in heads:
        stack = [(head, iter(nodes[head].inputs))] if head not in place else []
        while stack:
            position, sources = stack[-1]
            source = next((s for s, _ in sources if s not in place), None)
            if source is not None:
                stack.append((source, iter(nodes[source].inputs)))
                continue
            stack.pop()
            node = nodes[position]
            place[position] = len(ordered)
            ordered.append(Node(node.op, node.name, node.attrs, tuple((place[s], index) for s, index in node.inputs)))
    return tuple(ordered), tuple((place[h], index) for h, index in heads)
