"""The loader: records in, shuffled and augmented uint8 batches out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agegender.pipeline.batch import Batch
    from agegender.pipeline.config import LoaderConfig
    from agegender.pipeline.loader import Loader
    from agegender.pipeline.sampling import BalanceEffect, balance_by_age, balance_effect
    from agegender.pipeline.set_info import SetInfo, read_set_info

__all__ = [
    "BalanceEffect",
    "Batch",
    "Loader",
    "LoaderConfig",
    "SetInfo",
    "balance_by_age",
    "balance_effect",
    "read_set_info",
]

_HOMES = {
    "BalanceEffect": "sampling",
    "Batch": "batch",
    "Loader": "loader",
    "LoaderConfig": "config",
    "SetInfo": "set_info",
    "balance_by_age": "sampling",
    "balance_effect": "sampling",
    "read_set_info": "set_info",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that the command line can read LoaderConfig without loading OpenCV.
    if name in _HOMES:
        return getattr(importlib.import_module(f"agegender.pipeline.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
