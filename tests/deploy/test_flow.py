"""Where a face goes from frame to frame, on crops of a photograph that move by known paths."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from agegender.deploy.flow import follow, move
from agegender.deploy.tracks import intersection_over_union
from agegender.face.photo import read_photo

pytestmark = pytest.mark.quick
BOX = np.array([662, 95, 814, 291], np.float64)  # a face of test.jpg


@pytest.fixture(scope="module")
def people(root: Path) -> np.ndarray:
    return read_photo(root / "test.jpg")


def frame(people: np.ndarray, *, side: float, x: float, y: float, zoom: float = 1) -> tuple[np.ndarray, np.ndarray]:
    """The face at (x, y) of a noisy frame, and its true box."""
    scale = side / 172 * zoom
    matrix = np.array([[scale, 0, x - scale * 738], [0, scale, y - scale * 193]])
    blurred = cv2.GaussianBlur(people, (0, 0), max(0.1, 0.45 / scale))
    image = cv2.warpAffine(blurred, matrix, (480, 360)) + np.random.default_rng(int(x)).normal(0, 5, (360, 480, 3))
    return np.clip(image, 0, 255).astype(np.uint8), move(matrix, BOX)


@pytest.mark.parametrize("side", [25, 60, 200])
def test_a_turning_and_nearing_face_is_followed_where_a_constant_velocity_loses_it(
    people: np.ndarray, side: float
) -> None:
    path = [(240 + 90 * np.cos(t / 7), 180 + 60 * np.sin(t / 7), 1 + 0.02 * t) for t in range(12)]
    frames = [frame(people, side=side, x=x, y=y, zoom=zoom) for x, y, zoom in path]
    box = frames[0][1]
    for (before, _), (now, _) in itertools.pairwise(frames):
        motion = follow(before, now, box)
        assert motion is not None
        box = move(motion, box)
    truth = frames[-1][1]
    followed = intersection_over_union(box, truth)
    steady = frames[0][1] + 11 * (frames[1][1] - frames[0][1])
    print(f"{side} pixels: IoU {followed:.3f} followed, {intersection_over_union(steady, truth):.3f} by velocity")
    assert followed > 0.93
    assert intersection_over_union(steady, truth) < followed - 0.1


def test_landmarks_move_with_the_face(people: np.ndarray) -> None:
    (before, box), (now, _) = (frame(people, side=60, x=200 + step, y=150) for step in (0, 7))
    motion = follow(before, now, box)
    assert motion is not None
    np.testing.assert_allclose(move(motion, [[200, 150], [210, 160]]), [[207, 150], [217, 160]], atol=0.5)


def test_a_covered_face_is_lost(people: np.ndarray) -> None:
    before, box = frame(people, side=60, x=200, y=150)
    now = np.random.default_rng(1).integers(0, 256, before.shape, np.uint8)
    assert follow(before, now, box) is None


def test_a_box_outside_the_frame_is_lost_or_stays_finite(people: np.ndarray) -> None:
    before, box = frame(people, side=300, x=200, y=150)
    for shift in (-2000, 2000):
        motion = follow(before, before, box + shift)
        assert motion is None or np.isfinite(motion).all()
