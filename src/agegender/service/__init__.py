"""The HTTP service: photos in, faces out, for many clients at once."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "ServiceConfig": "config",
    "Analyzer": "analyzer",
    "Service": "service",
    "create_app": "api",
    "run_server": "server",
}
__all__ = [  # noqa: PLE0604 -- the names are those of the table
    *_HOMES
]


def __getattr__(name: str) -> Any:
    """Load a name's module on first use, so that the command line starts without the web framework."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
