"""Training on MXNet's Module: losses, schedule, loop, checkpoints, run folder."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agegender.engine.config import TrainConfig
    from agegender.engine.trainer import TrainResult, train

__all__ = ["TrainConfig", "TrainResult", "train"]

_HOMES = {"TrainConfig": "config", "TrainResult": "trainer", "train": "trainer"}


def __getattr__(name: str) -> Any:
    # Lazy, so that the command line can read TrainConfig without loading the rest.
    if name in _HOMES:
        return getattr(importlib.import_module(f"agegender.engine.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
