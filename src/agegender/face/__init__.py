"""What packing and deployment share about a face: photos, crop templates, alignment, the detector's interface."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Detection": "detector",
    "Detector": "detector",
    "largest_central": "detector",
    "TEMPLATES": "templates",
    "Template": "templates",
    "get_template": "templates",
    "BORDERS": "align",
    "similarity": "align",
    "warp": "align",
    "decode_jpeg": "photo",
    "encode_jpeg": "photo",
    "read_photo": "photo",
    "write_photo": "photo",
    "to_input": "preprocess",
}
__all__ = [  # noqa: PLE0604 -- the names are those of the table
    *_HOMES
]


def __getattr__(name: str) -> Any:
    """Load a name's module on first use, so that the command line starts without cv2 and scikit-image."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
