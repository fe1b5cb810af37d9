"""The loader: records in, shuffled and augmented uint8 batches out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agegender.pipeline.batch import Batch
    from agegender.pipeline.config import LoaderConfig
    from agegender.pipeline.loader import Loader
    from agegender.pipeline.sampling import balance_by_age
    from agegender.pipeline.set_info import SetInfo, read_set_info

__all__ = ["Batch", "Loader", "LoaderConfig", "SetInfo", "balance_by_age", "read_set_info"]

_HOMES = {
    "Batch": "batch",
    "Loader": "loader",
    "LoaderConfig": "config",
    "SetInfo": "set_info",
    "balance_by_age": "sampling",
    "read_set_info": "set_info",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that the command line can read LoaderConfig without loading OpenCV.
    if name in _HOMES:
        return getattr(importlib.import_module(f"agegender.pipeline.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
