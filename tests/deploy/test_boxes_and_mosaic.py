"""Box arithmetic against the definitions, and the mosaic: levels in place, none lost."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agegender.deploy.boxes import refine, square, suppress
from agegender.deploy.mosaic import build_mosaic, scales

pytestmark = pytest.mark.quick


def suppress_by_definition(boxes: np.ndarray, scores: np.ndarray, overlap: float, over: str) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        area = (boxes[i, 2] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 1])
        for j in kept:
            other = (boxes[j, 2] - boxes[j, 0]) * (boxes[j, 3] - boxes[j, 1])
            width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            shared = max(width, 0) * max(height, 0)
            if shared > overlap * (area + other - shared if over == "union" else min(area, other)):
                break
        else:
            kept.append(i)
    return kept


@given(
    corners=hnp.arrays(np.int64, st.tuples(st.integers(0, 25), st.just(4)), elements=st.integers(0, 12)),
    seed=st.integers(0, 9),
    over=st.sampled_from(["union", "smaller"]),
)
def test_suppression_follows_the_definition(corners: np.ndarray, seed: int, over: Literal["union", "smaller"]) -> None:
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:] + 1], axis=1).astype(np.float32)
    scores = np.random.default_rng(seed).integers(0, 5, len(boxes)).astype(np.float32)
    # Halves are exact and 0.7071 is no share of small areas, so that rounding decides nothing.
    for overlap in (0.0, 0.5, 0.7071):
        kept = suppress(boxes, scores, overlap=overlap, over=over)
        assert kept.tolist() == suppress_by_definition(boxes, scores, overlap, over)


def test_refine_and_square() -> None:
    boxes = np.array([[10, 20, 30, 60]], np.float32)
    moved = refine(boxes, np.array([[0.1, -0.1, 0, 0.5]], np.float32))
    np.testing.assert_allclose(moved, [[12, 16, 30, 80]])
    np.testing.assert_allclose(square(boxes), [[0, 20, 40, 60]])
    assert square(boxes).dtype == refine(boxes, boxes).dtype == np.float32


def test_scales_reach_from_the_smallest_face_to_the_whole_photo() -> None:
    found = scales((100, 200, 3), min_face=20, factor=0.5, window=12)
    np.testing.assert_allclose(found, [0.6, 0.3, 0.15])
    assert scales((19, 400, 3), min_face=20, factor=0.5, window=12) == []
    np.testing.assert_allclose(scales((20, 20, 3), min_face=20, factor=0.5, window=12), [0.6])


@given(height=st.integers(20, 300), width=st.integers(20, 300), factor=st.floats(0.4, 0.9))
def test_levels_lie_apart_at_even_places(height: int, width: int, factor: float) -> None:
    image = np.full((height, width, 3), 9, np.uint8)
    mosaic, levels = build_mosaic(image, scales(image.shape, min_face=20, factor=factor, window=12))
    used = np.zeros(mosaic.shape[:2], int)
    for level in levels:
        assert level.top % 2 == level.left % 2 == 0
        used[level.top : level.top + level.height, level.left : level.left + level.width] += 1
    assert used.max() == 1
    assert used.sum() == sum(level.height * level.width for level in levels)
    np.testing.assert_array_equal(used == 1, mosaic[..., 0] == 9)


def test_little_is_wasted_at_the_usual_factor() -> None:
    image = np.zeros((1080, 1920, 3), np.uint8)
    mosaic, levels = build_mosaic(image, scales(image.shape, min_face=20, factor=0.709, window=12))
    assert sum(level.height * level.width for level in levels) > 0.85 * mosaic.shape[0] * mosaic.shape[1]


def test_levels_are_area_averages_of_the_photo() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    mosaic, levels = build_mosaic(image, [0.6, 0.3])
    for level in levels:
        part = mosaic[level.top : level.top + level.height, level.left : level.left + level.width]
        expected = cv2.resize(image, (level.width, level.height), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(part, expected)
