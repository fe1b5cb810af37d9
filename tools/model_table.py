"""What tools/models.py prints, as data: rows for networks, for shipped models and for the nodes of one graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agegender.errors import CheckpointError, UsageError
from agegender.executor.costs import GraphCost, graph_cost
from agegender.graph import Graph, builtin_defaults, builtin_json, builtin_names, load_checkpoint, read_info
from agegender.graph.checkpoint import params_path, symbol_path
from agegender.graph.learned import learned_graph
from agegender.graph.lookup import find_model
from agegender.graph.params import params_size

# The windows that MTCNN's networks look through.
WINDOWS = {"mtcnn_pnet": (3, 12, 12), "mtcnn_rnet": (3, 24, 24), "mtcnn_onet": (3, 48, 48)}
FIGURES = ("MAE", "CUM_5", "acc", "bin_acc")

Row = dict[str, Any]


def network_rows() -> list[Row]:
    """Return a row per network and head, the network's own head first."""
    rows: list[Row] = []
    for name, defaults in builtin_defaults().items():
        own = defaults["head"]
        for head in (own, *(each for each in defaults["heads"] if each != own)):
            rows.append(_network_row(name, head, defaults))
    return rows


def _network_row(name: str, head: str, defaults: dict[str, Any]) -> Row:
    full = name if head == defaults["head"] else f"{name}-{head}"
    row: Row = {"name": full, "network": name, "head": head, "input": list(defaults["data_shape"])}
    row["embedding"] = defaults["embedding"]
    row |= _totals(graph_cost(Graph.from_json(builtin_json(full)), defaults["data_shape"]))
    compared = head == (defaults["paper_head"] or defaults["head"])
    said = {"parameters": defaults["paper_params"], "macs": defaults["paper_macs"], "note": defaults["paper_note"]}
    row["paper"] = said if compared and any(said.values()) else None
    return row


def _totals(cost: GraphCost) -> Row:
    return {
        "parameters": cost.parameters,
        "states": cost.states,
        "macs": cost.macs,
        "file_size": cost.file_size,
    }


def shipped_rows(folder: Path) -> list[Row]:
    """Return a row per model of ``folder`` (FOLDER/NAME/NAME-symbol.json) that says what it is: size and scores on val.

    Raises CheckpointError for a damaged one.
    """
    rows: list[Row] = []
    for path in sorted(folder.glob("*/*-symbol.json")):
        prefix = path.with_name(path.name.removesuffix("-symbol.json"))
        info = read_info(prefix)
        if info is None or info.data_shape is None or info.best is None:
            continue
        cost = graph_cost(Graph.from_json(symbol_path(prefix)).inference(), info.data_shape)
        file = params_path(prefix, info.best)
        if not file.is_file():
            raise CheckpointError(f"{file} does not exist, and {prefix}.json says that it is the best")
        scores = info.metrics.get(str(info.best), {})
        rows.append(
            {
                "name": prefix.name,
                "epoch": info.best,
                "network": info.network,
                "head": info.head,
                "input": list(info.data_shape),
                **_totals(cost),
                "file_size": file.stat().st_size,
                "val": {name: scores[name] for name in FIGURES if scores.get(name) is not None},
            }
        )
    return rows


def node_rows(name: str, *, shape: Sequence[int] | None = None, task: str = "both", every: bool = False) -> Row:
    """Return one graph: its name, input, totals, and ``nodes`` (those that cost something, or ``every`` one).

    ``task`` age or gender leaves out what the other one alone needs, as training for that task does.
    ``name`` is a built-in graph, else a checkpoint as ``find_model`` takes it. Raises UsageError for another name, and
    for a checkpoint that doesn't say what its input is where ``shape`` doesn't either, or that doesn't fit ``shape``.
    """
    graph, own, given = _open(name)
    wanted = own if shape is None else tuple(shape)
    if wanted is None:
        raise UsageError(f"{name} doesn't say what its input is; --data_shape channels,height,width does")
    graph = Graph.from_json(learned_graph(graph.to_json(), task))
    cost = graph_cost(graph, wanted, given=given)
    if given and params_size({key: given[key] for key in graph.parameters()}) != cost.file_size:
        raise UsageError(
            f"{name} was trained for another input than {','.join(map(str, wanted))}: its layers don't fit"
        )
    nodes = [
        {
            "name": node.name,
            "op": node.op,
            "shape": list(node.shape[1:]),
            "parameters": node.parameters,
            "states": node.states,
            "macs": node.macs,
        }
        for node in cost.nodes
        if every or node.parameters or node.macs
    ]
    return {"name": name, "input": list(wanted), **_totals(cost), "nodes": nodes}


def _open(name: str) -> tuple[Graph, tuple[int, ...] | None, dict[str, tuple[int, ...]]]:
    """Return graph, input and shapes of the parameters (of a checkpoint)."""
    if name in builtin_names():
        return Graph.from_json(builtin_json(name)), WINDOWS.get(name) or builtin_shape(name), {}
    try:
        model = find_model(name)
    except UsageError as error:
        raise UsageError(f"{error}; built-in networks: {', '.join(builtin_names())}") from None
    checkpoint = load_checkpoint(model.prefix, model.epoch)
    shape = checkpoint.info.data_shape if checkpoint.info else None
    return checkpoint.graph, shape, {key: array.shape for key, array in checkpoint.params.items()}


def builtin_shape(name: str) -> tuple[int, ...]:
    """Return the input of a network of ``builtin_names()``, with whichever head."""
    shape: tuple[int, ...] = builtin_defaults()[name.partition("-")[0]]["data_shape"]
    return shape
