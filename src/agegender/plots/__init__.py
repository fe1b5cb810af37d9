"""Figures: returned, never shown. Each is loaded on first use, since matplotlib takes long to."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "contact_sheet": "contact",
    "draw_balance": "balance",
    "draw_curves": "curves",
    "draw_folds": "folds",
    "draw_scatter": "scatter",
    "plot_ages": "ages",
    "save_curves": "curves",
}
__all__ = [*_HOMES]  # noqa: PLE0604 - the names are those of the table


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
