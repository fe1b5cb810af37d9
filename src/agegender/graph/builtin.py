"""The symbol JSON of every built-in network, so that nothing has to be built where MXNet is missing.

Beside ``NAME.json`` lies ``NAME.defaults.json``: what ``symbols/`` says of the network besides its graph. Both are
written by tools/build_symbols.py.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from agegender.errors import UsageError, did_you_mean

GRAPH, DEFAULTS = ".json", ".defaults.json"


def builtin_names() -> list[str]:
    """Return the names of the built-in graphs, sorted: networks, those with another head (``ssrnet-ssr``), MTCNN's."""
    return sorted(name.removesuffix(GRAPH) for name in _names() if not name.endswith(DEFAULTS))


def builtin_json(name: str) -> str:
    """Return the symbol JSON of the built-in network ``name``. Raises UsageError, with the names there are."""
    names = builtin_names()
    if name not in names:
        hint = did_you_mean(name, names)
        raise UsageError(f"unknown network {name!r}{hint} ({', '.join(names)})")
    return files("agegender.graph").joinpath("builtin", f"{name}{GRAPH}").read_text(encoding="utf-8")


@cache
def builtin_defaults() -> dict[str, dict[str, Any]]:
    """Return the defaults of every built-in network that is trained, by its name, sorted.

    The keys are the fields of ``symbols.Network`` but ``name`` and ``builder``; lists are tuples.
    """
    folder = files("agegender.graph").joinpath("builtin")
    found: dict[str, dict[str, Any]] = {}
    for name in _names():
        if name.endswith(DEFAULTS):
            values = json.loads(folder.joinpath(name).read_text(encoding="utf-8"))
            found[name.removesuffix(DEFAULTS)] = _with_tuples(values)
    return found


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(each) for key, each in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _names() -> list[str]:
    entries = files("agegender.graph").joinpath("builtin").iterdir()
    return sorted(entry.name for entry in entries if entry.name.endswith(GRAPH))
