"""Boxes as arrays: (n, 4) float32 x1, y1, x2, y2 in pixels, the far edges exclusive."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def suppress(
    boxes: Floats, scores: Floats, *, overlap: float, over: Literal["union", "smaller"]
) -> npt.NDArray[np.intp]:
    """Return the rows that survive greedy non-maximum suppression, best score first.

    Of two boxes whose intersection is more than ``overlap`` of their union (or of the smaller box), the one with the
    higher score stays. Equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")
    corners = np.ascontiguousarray(boxes[order].T)
    areas = (corners[2] - corners[0]) * (corners[3] - corners[1])
    kept = []
    left = np.arange(len(order))
    while left.size:
        first, left = left[0], left[1:]
        kept.append(first)
        low = np.maximum(corners[:2, left], corners[:2, first, None])
        high = np.minimum(corners[2:, left], corners[2:, first, None])
        shared = np.maximum(high - low, 0).prod(axis=0)
        whole = areas[left] + areas[first] - shared if over == "union" else np.minimum(areas[left], areas[first])
        left = left[shared <= overlap * whole]
    return np.asarray(order[kept], np.intp)


def refine(boxes: Floats, offsets: Floats) -> Floats:
    """Return ``boxes`` moved by a network's ``offsets`` (n, 4), which are shares of each box's width and height."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.asarray(boxes + offsets * np.tile(sides, 2), np.float32)


def square(boxes: Floats) -> Floats:
    """Return ``boxes`` grown around their centres to squares as wide as their longer side."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.asarray(np.concatenate([centres - half, centres + half], axis=1), np.float32)
