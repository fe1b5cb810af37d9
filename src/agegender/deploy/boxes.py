"""Boxes as arrays: (n, 4) float32 x1, y1, x2, y2 in pixels, the far edges exclusive."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_Rows = npt.NDArray[np.intp]
# Boxes that are compared with all others at once: one at a time, most of the time goes into calling NumPy.
_BLOCK = 64


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
        head, left = left[:_BLOCK], left[_BLOCK:]
        clash = _clash(corners, areas, head, head, overlap=overlap, over=over)
        alive = np.ones(len(head), bool)
        for row in range(len(head)):
            if alive[row]:
                alive[row + 1 :] &= ~clash[row, row + 1 :]
        kept.append(head[alive])
        left = left[~_clash(corners, areas, head[alive], left, overlap=overlap, over=over).any(axis=0)]
    return np.asarray(order[np.concatenate(kept)] if kept else order, np.intp)


def _clash(
    corners: Floats, areas: Floats, one: _Rows, other: _Rows, *, overlap: float, over: str
) -> npt.NDArray[np.bool_]:
    """Tell which rows ``one`` (n,) and ``other`` (m,) of ``corners`` (4, boxes) share too much: (n, m)."""
    a, b = corners[:, one, None], corners[:, None, other]
    shared = np.maximum(np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]), 0)
    shared *= np.maximum(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]), 0)
    mine, their = areas[one][:, None], areas[other]
    whole = mine + their - shared if over == "union" else np.minimum(mine, their)
    return np.asarray(~(shared <= overlap * whole))


def refine(boxes: Floats, offsets: Floats) -> Floats:
    """Return ``boxes`` moved by a network's ``offsets`` (n, 4), which are shares of each box's width and height."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.asarray(boxes + offsets * np.tile(sides, 2), np.float32)


def square(boxes: Floats) -> Floats:
    """Return ``boxes`` grown around their centres to squares as wide as their longer side."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.asarray(np.concatenate([centres - half, centres + half], axis=1), np.float32)
