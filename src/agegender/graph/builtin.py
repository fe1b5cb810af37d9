"""The symbol JSON of every built-in network, so that nothing has to be built where MXNet is missing."""

from __future__ import annotations

from importlib.resources import files

from agegender.errors import UsageError, did_you_mean


def builtin_names() -> list[str]:
    """Return the names of the built-in networks, sorted."""
    entries = files("agegender.graph").joinpath("builtin").iterdir()
    return sorted(entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json"))


def builtin_json(name: str) -> str:
    """Return the symbol JSON of the built-in network ``name``. Raises UsageError, with the names there are."""
    names = builtin_names()
    if name not in names:
        hint = did_you_mean(name, names)
        raise UsageError(f"unknown network {name!r}{hint} ({', '.join(names)})")
    return files("agegender.graph").joinpath("builtin", f"{name}.json").read_text(encoding="utf-8")
