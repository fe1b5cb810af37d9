"""Alignment: bring a face from a photo into a crop template by a similarity transform."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from agegender.errors import ImageError, UsageError
from agegender.face.templates import Template
from agegender.resize import resize_crop

Border = Literal["black", "random"]
BORDERS: tuple[Border, ...] = ("black", "random")
# The share of squared distances that is nothing but rounding.
_ROUNDING = 1e-24


def similarity(landmarks: npt.ArrayLike, template: Template, size: int) -> npt.NDArray[np.float64]:
    """Return the (2, 3) matrix that brings ``landmarks`` (5, 2) x, y pixels closest to ``template`` at ``size`` pixels.

    Rotation, scale and shift only, least squares (Umeyama 1991). Raises ImageError where the points determine none,
    because they coincide or are not finite.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2):
        raise ValueError(f"landmarks have shape {points.shape}, not (5, 2)")
    target = template.pixels(size)
    here, there = points.mean(axis=0), target.mean(axis=0)
    # x' = a x - b y + c, y' = b x + a y + d: around the means, a and b are the least-squares solution in closed form.
    with np.errstate(over="ignore", invalid="ignore"):
        (x, y), (to_x, to_y) = (points - here).T, (target - there).T
        spread = float(x @ x + y @ y)
        # Points that coincide differ from their mean by rounding.
        apart = math.isfinite(spread) and spread > _ROUNDING * float((points * points).sum())
        a, b = (float(x @ to_x + y @ to_y) / spread, float(x @ to_y - y @ to_x) / spread) if apart else (0.0, 0.0)
    if not a * a + b * b > 0:
        raise ImageError(f"landmarks {points.round(1).tolist()} don't determine a crop")
    c, d = there[0] - a * here[0] + b * here[1], there[1] - b * here[0] - a * here[1]
    return np.array([[a, -b, c], [b, a, d]])


def warp(
    image: npt.NDArray[np.uint8],
    landmarks: npt.ArrayLike,
    template: Template,
    *,
    size: int,
    border: Border = "black",
    rng: np.random.Generator | None = None,
) -> npt.NDArray[np.uint8]:
    """Return the face of ``image`` (H, W, 3) uint8 RGB as a crop (size, size, 3) in ``template``.

    ``landmarks`` is (5, 2) x, y pixels in the template's order. What lies outside the photo is black, or one colour
    drawn from ``rng`` (border ``random``). A face larger than the crop is sampled at its own resolution and averaged,
    so that it doesn't alias. Raises ImageError where the landmarks determine no crop.
    """
    matrix = similarity(landmarks, template, size)
    scale = math.hypot(*matrix[:, 0])
    # Warp onto `samples` x `samples` points per target pixel, about one per pixel of the photo, then average them.
    samples = max(1, min(math.ceil(1 / scale - 0.01), 4096 // size))
    matrix = matrix * samples
    matrix[:, 2] += (samples - 1) / 2
    side = size * samples
    fill = _border_colour(border, rng)
    warped = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=fill)
    return resize_crop(np.asarray(warped, np.uint8), (size, size))


def _border_colour(border: str, rng: np.random.Generator | None) -> tuple[int, ...]:
    if border == "black":
        return (0, 0, 0)
    if border != "random":
        raise UsageError(f"unknown border {border!r} ({', '.join(BORDERS)})")
    if rng is None:
        raise ValueError("border 'random' needs rng")
    return tuple(int(value) for value in rng.integers(0, 256, 3))
