"""What a face detector is and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Detection:
    """One face: ``box`` (4,) float32 x1, y1, x2, y2 and ``landmarks`` (5, 2) float32 x, y in pixels; ``score`` 0..1.

    The landmarks come in the order of ``face.templates``. Both may lie outside the photo where the face is cut off.
    """

    box: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32]
    score: float


class Detector(Protocol):
    """Anything that finds faces in a photo."""

    def detect(self, image: npt.NDArray[np.uint8], *, min_face: float | None = None) -> list[Detection]:
        """Return the faces of ``image`` (H, W, 3) uint8 RGB, best score first.

        ``min_face`` is the side in pixels of the smallest face to look for, the detector's own where it is None.
        """
        ...


def intersection_over_union(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Return the shared part of two boxes (4,) x1, y1, x2, y2, 0..1."""
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.maximum(sides, 0).prod())
    whole = float((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod()) - shared
    return shared / whole if whole > 0 else 0.0


def largest_central(detections: Sequence[Detection], shape: tuple[int, ...]) -> Detection | None:
    """Return the face that a portrait is of: large and near the centre; None where there is no face.

    ``shape`` is the photo's (height, width, ...). A face is worth its side, less in proportion to how far it lies from
    the centre (nothing in a corner): of two alike the central one wins, and no speck beats the person of the portrait.
    """
    if not detections:
        return None
    centre = np.array([shape[1], shape[0]]) / 2

    def worth(detection: Detection) -> float:
        low, high = detection.box[:2], detection.box[2:]
        side = float(np.sqrt(np.maximum(high - low, 0).prod()))
        return side * (1 - float(np.linalg.norm((low + high) / 2 - centre) / np.linalg.norm(centre)))

    return max(detections, key=worth)
