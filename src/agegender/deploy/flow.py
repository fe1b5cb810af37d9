"""How faces move from one frame to the next: the median of many small optical flows (MedianFlow)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Photo = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
_Points = npt.NDArray[np.float32]

# A face is followed at this size whatever its own, so that large ones cost no more; where that fails at the second,
# where a jump of the same length is half as far.
_FACE_SIDES = (56, 28)
# How much is looked at: as much again on each side of the face.
_WINDOW_SIDE = 168
_POINTS = 7
# The grid leaves out the corners of the box, which show what is behind the head.
_GRID_SHARE = 0.72
# A point that doesn't come back to within this many pixels was not followed.
_COMES_BACK = 1.0
_FEWEST_POINTS = 12
_MIDDLE = (_WINDOW_SIDE - 1) / 2
_FLOW: dict[str, Any] = {
    "winSize": (13, 13),
    "maxLevel": 3,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03),
}


def follow(before: Photo, now: Photo, box: npt.ArrayLike) -> Floats | None:
    """Return the (2, 3) matrix (scale and shift) that brings the face in ``box`` of ``before`` to where it is ``now``.

    Both frames are (H, W, 3) uint8 RGB of one size; ``box`` is x1, y1, x2, y2 in pixels. A grid of points is followed
    there and back by pyramidal Lucas-Kanade; of those that come back, the median shift and the median change of their
    distances count (Kalal et al., ICPR 2010). None where too few do: the face is covered, blurred, or has left.
    """
    corners = np.asarray(box, np.float64)
    for side in _FACE_SIDES:
        matrix = _follow(before, now, corners, side)
        if matrix is not None:
            return matrix
    return None


def move(matrix: Floats, points: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return ``points`` (n, 2) x, y, or a box (4,), as ``matrix`` (2, 3) moves them."""
    values = np.asarray(points, np.float64)
    moved = values.reshape(-1, 2) @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(moved.reshape(values.shape), np.float32)


def _follow(before: Photo, now: Photo, box: Floats, side: int) -> Floats | None:
    """``follow`` with the face ``side`` pixels wide."""
    centre, sides = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], 1)
    scale = side / float(np.sqrt(sides.prod()))
    old, new = _window(before, centre, scale), _window(now, centre, scale)
    start = _grid(sides * scale)
    there, seen = _flow(old, new, start)
    back, held = _flow(new, old, there)
    errors = np.linalg.norm(back - start, axis=1)
    good = seen & held & (errors <= _COMES_BACK)
    if good.sum() < _FEWEST_POINTS:
        return None
    # The better half: what was followed worse is mostly edge and background.
    good &= errors <= np.median(errors[good])
    old_points, new_points = (np.asarray(points[good], np.float64) - _MIDDLE for points in (start, there))
    growth = _growth(old_points, new_points)
    step = np.median(new_points - growth * old_points, axis=0) / scale
    x, y = centre + step - growth * centre
    return np.array([[growth, 0, x], [0, growth, y]], np.float64)


def _flow(before: Photo, now: Photo, points: _Points) -> tuple[_Points, npt.NDArray[np.bool_]]:
    """Return where ``points`` (n, 2) went, and which of them (n,) could be followed."""
    there, seen, _ = cv2.calcOpticalFlowPyrLK(before, now, points, points.copy(), **_FLOW)
    return np.asarray(there, np.float32), np.asarray(seen)[:, 0] == 1


def _window(frame: Photo, centre: Floats, scale: float) -> Photo:
    """Return the grey square around ``centre``, ``scale`` pixels to one of the frame's."""
    if scale < 0.5:
        # warpAffine samples single pixels; averaged first, a large face does not alias.
        step = int(1 / scale)
        half = round(_WINDOW_SIDE / scale / 2) + step
        left, top = (max(0, int(value) - half) for value in centre)
        part = frame[top : max(0, int(centre[1]) + half), left : max(0, int(centre[0]) + half)]
        if not part.size:
            return np.zeros((_WINDOW_SIDE, _WINDOW_SIDE), np.uint8)
        small = (max(1, part.shape[1] // step), max(1, part.shape[0] // step))
        frame = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA), np.uint8)
        ratio = np.array([part.shape[1] / small[0], part.shape[0] / small[1]])
        centre = (centre - (left, top) + 0.5) / ratio - 0.5
        across, down = scale * ratio
    else:
        across = down = scale
    matrix = np.array([[across, 0, _MIDDLE - across * centre[0]], [0, down, _MIDDLE - down * centre[1]]])
    window = cv2.warpAffine(
        frame, matrix, (_WINDOW_SIDE, _WINDOW_SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.cvtColor(window, cv2.COLOR_RGB2GRAY), np.uint8)


def _grid(sides: Floats) -> npt.NDArray[np.float32]:
    """Return (n, 2) points spread evenly over a face of ``sides`` (width, height) in the middle of its window."""
    ticks = np.linspace(-0.5, 0.5, _POINTS) * _GRID_SHARE
    x, y = np.meshgrid(ticks * sides[0], ticks * sides[1])
    return np.asarray(np.stack([x.ravel(), y.ravel()], axis=1) + _MIDDLE, np.float32)


def _growth(before: Floats, now: Floats) -> float:
    """Return by how much the distances between the points grew."""
    one, other = np.triu_indices(len(before), 1)
    distances = np.linalg.norm(before[one] - before[other], axis=1)
    return float(np.median(np.linalg.norm(now[one] - now[other], axis=1) / np.maximum(distances, 1e-6)))
