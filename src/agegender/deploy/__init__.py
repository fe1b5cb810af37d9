"""Deployment: find the faces of a photo, tell age and gender, draw the result."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "MTCNN": "mtcnn",
    "open_mtcnn": "mtcnn",
    "DETECTORS": "detectors",
    "open_detector": "detectors",
    "RetinaFace": "retinaface",
    "InsightDetector": "insight_detector",
    "AgeGenderTask": "insightface_task",
    "Face": "face",
    "Predictor": "predict",
    "draw_faces": "draw",
    "VectorNet": "vector_net",
    "open_vector_net": "vector_net",
}
__all__ = [  # noqa: PLE0604 -- the names are those of the table
    *_HOMES
]


def __getattr__(name: str) -> Any:
    """Load a name's module on first use, so that the command line starts without cv2 and scikit-image."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
