"""What every table of operators wants of a graph's nodes before it reads their attributes."""

from __future__ import annotations

from collections.abc import Container, Sequence

from agegender.errors import GraphError
from agegender.graph.node import Node
from agegender.graph.operators import input_names


def check_nodes(nodes: Sequence[Node], known: Container[str], *, table: str) -> None:
    """Raise GraphError for operators that are not ``known``, all of them at once, and for missing inputs.

    ``table`` is what the message calls those that know no more.
    """
    unknown = [f"node {node.name!r}: {table} has no operator {node.op!r}" for node in nodes if node.op not in known]
    if unknown:
        raise GraphError("; ".join(unknown))
    for node in nodes:
        names = input_names(node.op, node.attrs)
        if names and len(node.inputs) != len(names):
            raise GraphError(f"node {node.name!r} ({node.op}) has {len(node.inputs)} inputs, not {', '.join(names)}")
