"""Which face a portrait is of; and what a network is given."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.face.detector import Detection, largest_central
from agegender.face.preprocess import to_input

pytestmark = pytest.mark.quick


def face(left: float, top: float, side: float, score: float = 0.9) -> Detection:
    box = np.array([left, top, left + side, top + side], np.float32)
    return Detection(box, np.zeros((5, 2), np.float32), score)


def test_no_face() -> None:
    assert largest_central([], (100, 100, 3)) is None


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        ([face(0, 0, 40), face(30, 30, 40)], 1),
        ([face(10, 10, 70), face(45, 45, 8, 0.99)], 0),
        ([face(30, 30, 40), face(0, 70, 30)], 0),
    ],
)
def test_large_and_near_the_centre(faces: list[Detection], expected: int) -> None:
    assert largest_central(faces, (100, 100, 3)) is faces[expected]


def test_network_input() -> None:
    crops = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    data = to_input(crops)
    assert data.shape == (2, 3, 4, 5)
    assert data.dtype == np.float32
    assert data.flags.c_contiguous
    assert data[1, 2, 3, 4] == crops[1, 3, 4, 2]
