"""Symbol JSON: the text form of a graph in MXNet 0.8 to 1.9, upgraded on reading, written as 1.9 does.

``nodes`` holds ``op``, ``name``, ``inputs`` ([node, output, version], 0.8: without version) and ``attrs`` (1.0 and
later), ``attr`` (0.9 to 0.12) or ``param`` (0.8, beside ``attr`` for what the user set). What changed between versions
is brought up to date in the order of MXNet's own src/nnvm/legacy_json_util.cc.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agegender.errors import GraphError
from agegender.graph.node import VARIABLE, Entry, Node, needed
from agegender.graph.operators import default_initializer, input_names, state_positions

# The MXNet version whose JSON we write, as major * 10000 + minor * 100 + patch.
WRITTEN_VERSION = 10901
# What a JSON without mxnet_version was written by.
_UNVERSIONED = 800
# Attributes that MXNet keeps as __lr_mult__; old files have them bare, or as weight_lr_mult on the operator.
_HIDDEN_KEYS = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage")


@dataclass
class _Draft:
    """A node while it is being upgraded."""

    op: str
    name: str
    attrs: dict[str, str] = field(default_factory=dict)
    inputs: list[Entry] = field(default_factory=list)


Parsed = tuple[tuple[Node, ...], tuple[Entry, ...], int]


def parse(source: Path | str) -> Parsed:
    """Read nodes, outputs and version from a file (a Path) or text. Raises GraphError, which names file and node."""
    where = str(source) if isinstance(source, Path) else "symbol JSON"
    try:
        text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        document = json.loads(text)
    except FileNotFoundError:
        raise GraphError(f"{where} does not exist") from None
    except (ValueError, RecursionError) as error:
        raise GraphError(f"{where} is not JSON: {error}") from error
    try:
        return _graph(document)
    except GraphError as error:
        raise GraphError(f"{where}: {error}") from None


def write(nodes: Sequence[Node], heads: Sequence[Entry], *, version: int) -> str:
    """Return a graph's JSON as MXNet 1.9 writes it, but for the redundant ``node_row_ptr``."""
    changes = [0] * len(nodes)
    entries = []
    for node in nodes:
        # MXNet counts how often a state was changed; the operator that changes it already sees the new number.
        for place in state_positions(node.op):
            if place < len(node.inputs):
                changes[node.inputs[place][0]] += 1
        entry: dict[str, Any] = {"op": node.op, "name": node.name}
        if node.attrs:
            entry["attrs"] = dict(node.attrs)
        entry["inputs"] = [[source, index, changes[source]] for source, index in node.inputs]
        entries.append(entry)
    document = {
        "nodes": entries,
        "arg_nodes": [position for position, node in enumerate(nodes) if node.is_variable],
        "heads": [[position, index, 0] for position, index in heads],
        "attrs": {"mxnet_version": ["int", version]},
    }
    return json.dumps(document, indent=2)


def _graph(document: Any) -> Parsed:
    if not isinstance(document, dict) or not isinstance(document.get("nodes"), list):
        raise GraphError("it has no list of nodes: not a symbol JSON")
    version = _version(document)
    drafts = [_draft(entry, position) for position, entry in enumerate(document["nodes"])]
    heads = [_entry(head, limit=len(drafts), where="heads") for head in _list(document.get("heads"), "heads")]
    if not heads:
        raise GraphError("it has no outputs (heads)")
    if version < WRITTEN_VERSION:
        _move_hidden_keys(drafts)
    if version < 900:
        _add_missing_variables(drafts)
    if version < 904:
        _add_initializers(drafts)
    if version < 905:
        _drop_default_axis(drafts)
    nodes = tuple(Node(draft.op, draft.name, draft.attrs, tuple(draft.inputs)) for draft in drafts)
    return (*needed(nodes, heads), max(version, WRITTEN_VERSION))


def _version(document: dict[str, Any]) -> int:
    attrs = document.get("attrs")
    stated = attrs.get("mxnet_version") if isinstance(attrs, dict) else None
    if stated is None:
        return _UNVERSIONED
    if isinstance(stated, list) and len(stated) == 2 and isinstance(stated[1], int):
        return stated[1]
    raise GraphError(f"mxnet_version is {stated!r}, not ['int', number]")


def _draft(entry: Any, position: int) -> _Draft:
    if not isinstance(entry, dict) or not isinstance(entry.get("op"), str) or not isinstance(entry.get("name"), str):
        raise GraphError(f"node {position} has no op and name")
    where = f"node {entry['name']!r}"
    if entry.get("subgraphs"):
        raise GraphError(f"{where} ({entry['op']}) holds a graph of its own (control flow), which is not supported")
    attrs: dict[str, str] = {}
    # Where two of them hold the same key, the operator's own (param) must not hide what came first, as in MXNet.
    for key in ("attrs", "attr", "param"):
        given = entry.get(key, {})
        if not isinstance(given, dict):
            raise GraphError(f"{where}: {key} is {type(given).__name__}, not a set of attributes")
        attrs = {**{name: str(value) for name, value in given.items()}, **attrs}
    inputs = [
        # An input always comes before its user, so a graph can't have a ring.
        _entry(item, limit=position, where=where)
        for item in _list(entry.get("inputs"), where)
    ]
    if inputs and entry["op"] == VARIABLE:
        raise GraphError(f"{where} is a variable with inputs")
    return _Draft(entry["op"], entry["name"], attrs, inputs)


def _entry(item: Any, *, limit: int, where: str) -> Entry:
    if not isinstance(item, list) or len(item) not in (2, 3) or not all(type(number) is int for number in item):
        raise GraphError(f"{where}: {item!r} is not [node, output, version]")
    source, index = item[:2]
    if not 0 <= source < limit or index < 0:
        raise GraphError(f"{where}: input {item!r} does not point to an earlier node")
    return source, index


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise GraphError(f"{where}: a list is missing")
    return value


def _move_hidden_keys(drafts: list[_Draft]) -> None:
    """Write ``lr_mult`` as ``__lr_mult__``, and ``weight_lr_mult`` of an operator to the variable it means."""
    for draft in drafts:
        for key, value in list(draft.attrs.items()):
            hidden = next((h for h in _HIDDEN_KEYS if key == h or key.endswith(f"_{h}")), None)
            if hidden is None:
                continue
            del draft.attrs[key]
            target = None if key == hidden else _input_variable(drafts, draft, key.removesuffix(f"_{hidden}"))
            if target is not None:
                target.attrs[f"__{hidden}__"] = value
            else:
                # One that names no input means nothing; left as it is, the operator would refuse it (MXNet's does).
                draft.attrs[f"__{key}__"] = value


def _input_variable(drafts: list[_Draft], draft: _Draft, name: str) -> _Draft | None:
    names = input_names(draft.op, draft.attrs)
    if name not in names or names.index(name) >= len(draft.inputs):
        return None
    variable = drafts[draft.inputs[names.index(name)][0]]
    return variable if variable.op == VARIABLE else None


def _add_missing_variables(drafts: list[_Draft]) -> None:
    """Give operators the inputs that 0.8 left out (states of BatchNorm), named after the operator."""
    added: list[_Draft] = []
    for draft in drafts:
        for name in input_names(draft.op, draft.attrs)[len(draft.inputs) :]:
            draft.inputs.append((len(drafts) + len(added), 0))
            variable = f"{draft.name}_{name}" if draft.name else name
            added.append(_Draft(VARIABLE, variable, dict(draft.attrs)))
    drafts.extend(added)


def _add_initializers(drafts: list[_Draft]) -> None:
    for draft in drafts:
        for position, (source, _) in enumerate(draft.inputs):
            initializer = default_initializer(draft.op, draft.attrs, position)
            if initializer is not None and drafts[source].op == VARIABLE:
                drafts[source].attrs.setdefault("__init__", initializer)


def _drop_default_axis(drafts: Iterable[_Draft]) -> None:
    """``axis=-1`` of argmin and argmax once meant: over everything."""
    for draft in drafts:
        if draft.op in ("argmin", "argmax") and draft.attrs.get("axis") == "-1":
            del draft.attrs["axis"]
