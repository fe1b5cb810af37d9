"""Taking what is constant out of a graph: ranges and what is computed from parameters alone become parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.executor.onnx_emitter import Emitter
from agegender.executor.onnx_executor import open_session, run_session
from agegender.executor.onnx_graph import check_exportable, finish_model, write_nodes
from agegender.executor.onnx_runtime import choose_providers
from agegender.graph.node import VARIABLE, Entry, Node
from agegender.graph.symbol import Graph

Arrays = dict[str, npt.NDArray[Any]]


def fold_constants(graph: Graph, params: Mapping[str, npt.NDArray[Any]]) -> tuple[Graph, Arrays]:
    """Return a graph of the same outputs in which every node needs the data, and its parameters.

    A node that needs none (``arange``, or the reshape of a parameter) becomes a parameter of its name. Runtimes on
    phones have no ranges. Raises what ``to_onnx`` raises.
    """
    graph = graph.inference()
    check_exportable(graph, params)
    constant = _constant_nodes(graph)
    wanted = sorted(
        {
            entry
            for i, node in enumerate(graph.nodes)
            if i not in constant
            for entry in node.inputs
            if entry[0] in constant
        }
        | {entry for entry in graph.heads if entry[0] in constant}
    )
    wanted = [entry for entry in wanted if not graph.nodes[entry[0]].is_variable]
    values = _compute(graph, params, wanted)
    nodes, places, made = _rebuild(graph, constant, values)
    heads = tuple(places[entry] for entry in graph.heads)
    folded = Graph(tuple(nodes), heads, graph.version)
    kept = {f"arg:{name}" for name in folded.arguments()} | {f"aux:{name}" for name in folded.aux()}
    return folded, {name: array for name, array in {**params, **made}.items() if name in kept}


def _constant_nodes(graph: Graph) -> set[int]:
    """Return the positions of nodes that don't depend on the data; moving statistics count as depending."""
    data, states = graph.input_name(), set(graph.aux())
    found: set[int] = set()
    for position, node in enumerate(graph.nodes):
        if node.is_variable:
            if node.name != data and node.name not in states:
                found.add(position)
        elif all(source in found for source, _ in node.inputs):
            found.add(position)
    return found


def _compute(graph: Graph, params: Mapping[str, npt.NDArray[Any]], wanted: list[Entry]) -> dict[Entry, Any]:
    if not wanted:
        return {}
    # The positions of the part's heads are those of its own nodes.
    part = Graph(graph.nodes[: max(source for source, _ in wanted) + 1], tuple(wanted), graph.version)
    reached = _needed_positions(part, wanted)
    out = Emitter()
    names = write_nodes(out, part, params, data=None, only=reached)
    outputs = [out.emit("Identity", [names[entry]]) for entry in wanted]
    model = finish_model(out, outputs, inputs=[], name="constants")
    session = open_session(model.SerializeToString(), providers=choose_providers("cpu"))
    results = run_session(session, {})
    return {entry: results[name] for entry, name in zip(wanted, outputs, strict=True)}


def _needed_positions(graph: Graph, wanted: list[Entry]) -> set[int]:
    needed = {source for source, _ in wanted}
    for position in range(len(graph.nodes) - 1, -1, -1):
        if position in needed:
            needed.update(source for source, _ in graph.nodes[position].inputs)
    return needed


def _rebuild(
    graph: Graph, constant: set[int], values: Mapping[Entry, npt.NDArray[Any]]
) -> tuple[list[Node], dict[Entry, Entry], Arrays]:
    """Return the nodes that are left, where each old value lies among them, and the new parameters."""
    nodes: list[Node] = []
    places: dict[Entry, Entry] = {}
    made: Arrays = {}
    used = {entry for i, node in enumerate(graph.nodes) if i not in constant for entry in node.inputs} | set(
        graph.heads
    )
    for position, node in enumerate(graph.nodes):
        if position in constant and not node.is_variable:
            for entry in sorted(each for each in values if each[0] == position):
                name = node.name if entry[1] == 0 else f"{node.name}{entry[1]}"
                places[entry] = (len(nodes), 0)
                array = np.asarray(values[entry])
                # Nothing else tells MXNet the shape of what is broadcast.
                nodes.append(Node(VARIABLE, name, {"__shape__": str(array.shape)}))
                made[f"arg:{name}"] = array
            continue
        if node.is_variable and (position, 0) not in used:
            continue
        inputs = tuple(places[entry] for entry in node.inputs)
        for index in range(_outputs_used(graph, position) + 1):
            places[position, index] = (len(nodes), index)
        nodes.append(Node(node.op, node.name, node.attrs, inputs))
    return nodes, places, made


def _outputs_used(graph: Graph, position: int) -> int:
    """Return the highest output of a node that anything reads."""
    entries = [entry for node in graph.nodes for entry in node.inputs] + list(graph.heads)
    return max((index for source, index in entries if source == position), default=0)
