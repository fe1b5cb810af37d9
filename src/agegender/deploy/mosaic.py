"""An image pyramid as one picture, so that a fully convolutional network sees all its levels in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Level:
    """One level of the pyramid: ``scale`` to the photo, and its place (top, left) and size in the mosaic."""

    scale: float
    top: int
    left: int
    height: int
    width: int


def scales(shape: tuple[int, ...], *, min_face: float, factor: float, window: int) -> list[float]:
    """Return the scales at which a face of ``min_face`` pixels and ever larger ones fill ``window`` pixels.

    ``shape`` is the photo's (height, width, ...). Empty where the photo is smaller than ``min_face``.
    """
    scale = window / min_face
    found = []
    while min(shape[:2]) * scale >= window:
        found.append(scale)
        scale *= factor
    return found


def build_mosaic(
    image: npt.NDArray[np.uint8],
    levels: Sequence[float],
    *,
    each: Callable[[Callable[[Level], None], list[Level]], object] | None = None,
) -> tuple[npt.NDArray[np.uint8], list[Level]]:
    """Return the mosaic (H, W, 3) uint8 of ``image`` at all scales ``levels`` (largest first), and where each lies.

    Levels touch each other: a network without padding sees them apart as long as windows across borders are dropped.
    Places are even, for networks of stride 2. ``each`` calls what it is given on all of a list, several at once if it
    has threads, and returns when all are done; without it the levels are resized in turn.
    """
    sizes = [(round(image.shape[0] * scale), round(image.shape[1] * scale)) for scale in levels]
    places, (height, width) = _pack([(_even(h), _even(w)) for h, w in sizes])
    mosaic = np.zeros((height, width, 3), np.uint8)
    found = [Level(scale, *place, *size) for scale, place, size in zip(levels, places, sizes, strict=True)]

    def fill(level: Level) -> None:
        target = mosaic[level.top : level.top + level.height, level.left : level.left + level.width]
        cv2.resize(image, (level.width, level.height), dst=target, interpolation=cv2.INTER_AREA)

    if each is None:
        for level in found:
            fill(level)
    else:
        each(fill, found)
    return mosaic, found


def _pack(sizes: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Place rectangles (height, width), the highest first, in columns; return their places and the size of it all.

    Each takes the smallest free space that it fits into and leaves the rest of that, cut in two, free; where none
    fits, a new column begins. A pyramid at factor 0.709 fills nine tenths of the result.
    """
    total = sizes[0][0]
    right = 0
    free: list[tuple[int, int, int, int]] = []
    places = []
    for height, width in sizes:
        fitting = [space for space in free if space[2] >= height and space[3] >= width]
        if fitting:
            space = min(fitting, key=lambda space: space[2] * space[3])
            free.remove(space)
        else:
            space = (0, right, total, width)
            right += width
        top, left, space_height, space_width = space
        places.append((top, left))
        free.append((top, left + width, height, space_width - width))
        free.append((top + height, left, space_height - height, space_width))
    return places, (total, right)


def _even(size: int) -> int:
    return size + size % 2
