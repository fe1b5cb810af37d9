"""Taking what is constant out of a graph: ranges and what is computed from parameters alone become parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.executor.onnx_emitter import Emitter
from agegender.executor.onnx_executor import open_session, run_session
from agegender.executor.onnx_graph import check_exportable, finish_model, write_nodes
from agegender.executor.onnx_runtime import choose_providers
from agegender.graph.node import VARIABLE, Entry, Node, needed
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
    varying = [node for position, node in enumerate(graph.nodes) if position not in constant]
    used = {entry for node in varying for entry in node.inputs} | set(graph.heads)
    wanted = sorted(entry for entry in used if entry[0] in constant and not graph.nodes[entry[0]].is_variable)
    folded, made = _replace(graph, _compute(graph, params, wanted))
    kept = {*folded.parameters(graph.input_name())}
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
    part = Graph(*needed(graph.nodes, wanted), graph.version)
    out = Emitter()
    names = write_nodes(out, part, params, data=None)
    outputs = [out.emit("Identity", [names[entry]]) for entry in part.heads]
    model = finish_model(out, outputs, inputs=[], name="constants")
    session = open_session(model.SerializeToString(), providers=choose_providers("cpu"))
    results = run_session(session, {})
    return {entry: results[name] for entry, name in zip(wanted, outputs, strict=True)}


def _replace(graph: Graph, values: Mapping[Entry, Any]) -> tuple[Graph, Arrays]:
    """Return the graph with parameters in the place of ``values``, and those parameters."""
    nodes = list(graph.nodes)
    places: dict[Entry, Entry] = {}
    made: Arrays = {}
    for entry, value in values.items():
        array, (source, index) = np.asarray(value), entry
        name = graph.nodes[source].name + (str(index) if index else "")
        places[entry] = (len(nodes), 0)
        # Nothing else tells MXNet the shape of what is broadcast.
        nodes.append(Node(VARIABLE, name, {"__shape__": str(array.shape)}))
        made[f"arg:{name}"] = array

    def moved(entries: Iterable[Entry]) -> tuple[Entry, ...]:
        return tuple(places.get(entry, entry) for entry in entries)

    nodes = [Node(node.op, node.name, node.attrs, moved(node.inputs)) for node in nodes]
    return Graph(*needed(nodes, moved(graph.heads)), graph.version), made
