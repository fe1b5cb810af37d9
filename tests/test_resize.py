"""The one resize: sizes, averaging, and no work where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.resize import resize_crop

pytestmark = pytest.mark.quick


def test_the_same_size_is_the_same_array() -> None:
    crop = np.zeros((5, 7, 3), np.uint8)
    assert resize_crop(crop, (5, 7)) is crop


def test_shrinking_averages() -> None:
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (resize_crop(stripes, (2, 2)) == 100).all()


@pytest.mark.parametrize("size", [(3, 9), (20, 4), (16, 16), (1, 1)])
def test_size_is_height_and_width(size: tuple[int, int]) -> None:
    resized = resize_crop(np.full((10, 12, 3), 77, np.uint8), size)
    assert resized.shape == (*size, 3)
    assert resized.dtype == np.uint8
    assert (resized == 77).all()
