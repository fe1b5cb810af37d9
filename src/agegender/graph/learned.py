"""A network with one output only: the head of one task, and what that head needs."""

from __future__ import annotations

from agegender.errors import UsageError
from agegender.graph.symbol import Graph


def learned_graph(network_json: str, task: str) -> str:
    """Return the JSON of the part of a network that learns ``task``: both (all of it), age or gender.

    Outputs are told apart by their names (``age_output``, ``gender_softmax_output``: docs/formats.md), so that this
    does for every network. ``fc1`` and whatever else is no head stays an output where the head of ``task`` reads it; an
    embedding that no loss reaches would be no more than noise. Raises UsageError for a network without such a head.
    """
    if task == "both":
        return network_json
    graph = Graph.from_json(network_json)
    outputs = graph.outputs()
    heads = [name for name in outputs if name.startswith(f"{task}_")]
    if not heads:
        raise UsageError(f"task {task!r}: the network has no output {task}_... (its outputs: {', '.join(outputs)})")
    read = {f"{node.name}_output" for node in graph.select(heads).nodes}
    kept = [name for name in outputs if name in heads or name in read]
    return graph.select(kept).to_json()
