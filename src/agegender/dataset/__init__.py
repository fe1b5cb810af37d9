"""Faces before training: sources, split, duplicates, packing and statistics.

Import from the modules (``dataset.split``, ``dataset.sources`` ...); the names below load on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "FaceSample": "face_record",
    "Problems": "problems",
    "PackConfig": "config",
    "PackReport": "report",
    "AgeHistogram": "stats",
    "drop_duplicates": "duplicates",
    "find_sources": "sources",
    "list_source": "sources",
    "pack_samples": "pack",
    "read_list": "list_file",
    "split_samples": "split",
    "write_list": "list_file",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    # The modules split and pack would hide functions of their names.
    return getattr(module, name.removesuffix("_samples"))
