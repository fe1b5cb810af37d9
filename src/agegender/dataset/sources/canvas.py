"""A small drawing surface in unit coordinates: soft polygons and lines, with one pose for everything on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Colour = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
_SHIFT = 4  # cv2 takes coordinates as fixed-point numbers with this many fractional bits

_ANGLES = np.linspace(0.0, 2.0 * math.pi, 48, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_STEPS = np.linspace(0.0, 1.0, 8, endpoint=False)[:, None] ** np.arange(4)
_CATMULL_ROM = 0.5 * _STEPS @ np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], np.float64)


class Canvas:
    """A square picture, uint8 (size, size, 3) RGB, that is drawn on in coordinates 0..1 (x to the right, y down).

    ``pose`` = (roll in radians, scale, shift x, shift y) is applied round the middle to everything drawn.
    """

    def __init__(self, background: npt.NDArray[np.uint8], *, pose: tuple[float, float, float, float]) -> None:
        self.pixels = background
        self.size = background.shape[0]
        roll, scale, shift_x, shift_y = pose
        cos, sin = math.cos(roll) * scale, math.sin(roll) * scale
        self._turn = np.array([[cos, sin], [-sin, cos]]) * self.size
        self._origin = np.array([0.5 + shift_x, 0.5 + shift_y]) * self.size
        self._scale = scale * self.size

    def fill(self, points: Points, colour: Colour, *, alpha: float = 1.0, blur: float = 0.0) -> None:
        """Fill a polygon, points (n, 2). ``blur`` is the width of its soft edge."""
        self._draw(points, colour, alpha=alpha, blur=blur, width=None)

    def line(self, points: Points, colour: Colour, *, width: float, alpha: float = 1.0, blur: float = 0.0) -> None:
        """Draw an open line through ``points`` (n, 2)."""
        self._draw(points, colour, alpha=alpha, blur=blur, width=width)

    def _draw(self, points: Points, colour: Colour, *, alpha: float, blur: float, width: float | None) -> None:
        placed = (points - 0.5) @ self._turn + self._origin
        thick = 0 if width is None else max(1, round(width * self._scale))
        sigma = blur * self._scale
        margin = math.ceil(3 * sigma) + thick + 2
        left, top = (max(0, math.floor(low) - margin) for low in placed.min(axis=0))
        right, bottom = (min(self.size, math.ceil(high) + margin) for high in placed.max(axis=0))
        if alpha <= 0.0 or left >= right or top >= bottom:
            return
        if width is None and sigma <= 0.3 and alpha >= 1.0:
            fixed = np.round(placed * (1 << _SHIFT)).astype(np.int32)[None]
            shade = [float(part) for part in colour]
            cv2.fillPoly(self.pixels, fixed, shade, lineType=cv2.LINE_AA, shift=_SHIFT)
            return
        fixed = np.round((placed - (left, top)) * (1 << _SHIFT)).astype(np.int32)[None]
        mask = np.zeros((bottom - top, right - left), np.uint8)
        if width is None:
            cv2.fillPoly(mask, fixed, 255, lineType=cv2.LINE_AA, shift=_SHIFT)  # type: ignore[call-overload]
        else:
            cv2.polylines(mask, fixed, False, 255, thick, cv2.LINE_AA, _SHIFT)  # type: ignore[call-overload]
        weight = (_softened(mask, sigma).astype(np.float32) * np.float32(alpha / 255.0))[:, :, None]
        area = self.pixels[top:bottom, left:right]
        blended = colour - area
        blended *= weight
        blended += area
        np.copyto(area, blended, casting="unsafe")


def _softened(mask: npt.NDArray[np.uint8], sigma: float) -> npt.NDArray[np.uint8]:
    """Blur a mask; wide blurs are done on a smaller picture, which is quicker and looks the same."""
    if sigma <= 0.3:
        return mask
    height, width = mask.shape
    step = max(1, int(sigma / 1.5))
    if step == 1 or min(height, width) < 4 * step:
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.uint8)
    small = cv2.resize(mask, (width // step, height // step), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def ellipse(x: float, y: float, width: float, height: float, *, square: float = 1.0) -> Points:
    """Return the outline of an ellipse with these half axes; ``square`` below 1 makes its corners fuller."""
    circle = _CIRCLE if square == 1.0 else np.sign(_CIRCLE) * np.abs(_CIRCLE) ** square
    return np.asarray(circle * (width, height) + (x, y), np.float64)


def curve(*points: Sequence[float]) -> Points:
    """Return a smooth line through two, three or more points (Catmull-Rom)."""
    knots = np.asarray(points, np.float64)
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    # Four neighbours of every piece against the weights of its eight points.
    neighbours = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], axis=1)
    return np.concatenate([(_CATMULL_ROM @ neighbours).reshape(-1, 2), knots[-1:]])


def mirrored(points: Points, middle: float) -> Points:
    """Return the points reflected at the vertical line x = ``middle``."""
    return np.stack([2 * middle - points[:, 0], points[:, 1]], axis=1)
