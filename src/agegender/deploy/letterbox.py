"""What one-shot detectors share: a photo at the scale they want, on a canvas whose sides their strides divide, and the
choice among what they find."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from agegender.deploy.boxes import Floats, suppress
from agegender.errors import UsageError
from agegender.face.detector import Detection

# Of two boxes that share more than this of their union the less sure one is dropped.
OVERLAP = 0.4

# Sides in pixels at which the smallest wanted face may be seen: the smallest anchor of RetinaFace and SCRFD is 16, and
# at 32 their landmarks are as good as they get.
_SEEN = (16, 32)


@dataclass(frozen=True, eq=False)
class Letterbox:
    """``picture`` (H, W, 3) uint8 RGB: the photo in the upper left corner, black right of it and below.

    ``scale`` (2,) is x, y: how many pixels of the picture one of the photo takes.
    """

    picture: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.float64]


def letterbox(
    image: npt.NDArray[np.uint8], scale: float, *, multiple: int = 32, canvas: tuple[int, int] | None = None
) -> Letterbox:
    """Return ``image`` (h, w, 3) uint8 RGB scaled by ``scale`` on the smallest canvas of sides divided by ``multiple``.

    With ``canvas`` (width, height) the canvas is that one, and the photo is as large as fits; ``scale`` is ignored.
    """
    height, width = image.shape[:2]
    if canvas is not None:
        scale = min(canvas[0] / width, canvas[1] / height)
    inner = max(round(width * scale), 1), max(round(height * scale), 1)
    outer = canvas or (_rounded_up(inner[0], multiple), _rounded_up(inner[1], multiple))
    picture = np.zeros((outer[1], outer[0], 3), np.uint8)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = image if inner == (width, height) else cv2.resize(image, inner, interpolation=how)
    picture[: inner[1], : inner[0]] = resized
    return Letterbox(picture, np.array(inner) / (width, height))


def detection_scale(shape: tuple[int, ...], *, min_face: float, largest: int) -> float:
    """Return how much to scale a photo of ``shape`` (height, width, ...) for faces from ``min_face`` pixels up.

    Nothing as long as the smallest of them is 16 to 32 pixels wide; less where they are larger, which saves time, more
    where they are smaller. The longer side stays within ``largest``: what is then below 16 pixels may be overlooked.
    """
    low, high = (side / min_face for side in _SEEN)
    return min(max(min(1.0, high), low), largest / max(shape[:2]))


def checked_min_face(min_face: float) -> float:
    """Return ``min_face``. Raises UsageError where it is no side of a face."""
    if not 0 < min_face < math.inf:
        raise UsageError(f"smallest face {min_face} is no number of pixels above 0")
    return float(min_face)


def checked_threshold(threshold: float) -> float:
    """Return ``threshold``. Raises UsageError where it is no share."""
    if not 0 < threshold < 1:
        raise UsageError(f"detection threshold {threshold} is not between 0 and 1")
    return float(threshold)


def _rounded_up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def distinct_faces(boxes: Floats, points: Floats, scores: Floats, *, min_face: float) -> list[Detection]:
    """Return the faces whose longer side is at least ``min_face`` pixels, each once, best score first.

    ``boxes`` (n, 4), ``points`` (n, 5, 2), ``scores`` (n,).
    """
    wanted = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) >= min_face
    boxes, points, scores = boxes[wanted], points[wanted], scores[wanted]
    kept = suppress(boxes, scores, overlap=OVERLAP, over="union")
    return [Detection(boxes[i], points[i], float(scores[i])) for i in kept]
