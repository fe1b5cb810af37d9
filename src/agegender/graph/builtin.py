"""The symbol JSON of every built-in network, so that nothing has to be built where MXNet is missing."""

from __future__ import annotations

import difflib
from importlib.resources import files

from agegender.errors import UsageError


def builtin_names() -> list[str]:
    """Return the names of the built-in networks, sorted."""
    entries = files("agegender.graph").joinpath("builtin").iterdir()
    return sorted(entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json"))


def builtin_json(name: str) -> str:
    """Return the symbol JSON of the built-in network ``name``. Raises UsageError, with the names there are."""
    names = builtin_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"unknown network {name!r}{hint} ({', '.join(names)})")
    return files("agegender.graph").joinpath("builtin", f"{name}.json").read_text(encoding="utf-8")
