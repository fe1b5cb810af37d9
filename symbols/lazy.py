"""MXNet on first use, so that the table of networks can be read (for defaults, for lists) without loading it."""

from __future__ import annotations

import importlib
from typing import Any


class _Lazy:
    """Stands for the module ``mxnet``: every attribute comes from there, and the first one loads it."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module("mxnet"), name)
        # The next look-up doesn't come here any more.
        setattr(self, name, value)
        return value


mx: Any = _Lazy()
