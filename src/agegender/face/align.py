"""Alignment: bring a face from a photo into a crop template by a similarity transform."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from skimage.transform import SimilarityTransform

from agegender.errors import ImageError, UsageError
from agegender.face.templates import Template
from agegender.resize import resize_crop

Border = Literal["black", "random"]
BORDERS: tuple[Border, ...] = ("black", "random")


def similarity(landmarks: npt.ArrayLike, template: Template, size: int) -> npt.NDArray[np.float64]:
    """Return the (2, 3) matrix that brings ``landmarks`` (5, 2) x, y pixels closest to ``template`` at ``size`` pixels.

    Rotation, scale and shift only, least squares (Umeyama 1991). Raises ImageError where the points determine none,
    because they coincide or are not finite.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2):
        raise ValueError(f"landmarks have shape {points.shape}, not (5, 2)")
    transform = SimilarityTransform.from_estimate(points, template.pixels(size)) if np.isfinite(points).all() else None
    if not transform or not np.isfinite(transform.params).all():
        raise ImageError(f"landmarks {points.round(1).tolist()} don't determine a crop")
    return np.asarray(transform.params[:2], np.float64)


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
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
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
