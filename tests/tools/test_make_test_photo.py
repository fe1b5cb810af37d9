"""test.jpg can be made again from what the dependencies bring."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agegender.face.photo import read_photo
from tools.make_test_photo import make_photo


def test_the_photo_is_the_one_that_lies_in_the_checkout(root: Path) -> None:
    made, there = make_photo(), read_photo(root / "test.jpg")
    assert made.shape == there.shape
    assert np.abs(made.astype(int) - there).mean() < 2
