"""A photo with many small faces, made of the two people of test.jpg."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402

FACES = 15


def crowd() -> npt.NDArray[np.uint8]:
    """Return a photo (432, 1024, 3) uint8 RGB: the two people of test.jpg, 15 times, 20 to 80 pixels wide."""
    from agegender.face.photo import read_photo

    people = read_photo(ROOT / "test.jpg")
    # x, y and half the width of each face's box.
    heads = ((738, 193, 75), (225, 117, 44))
    ground = np.random.default_rng(0).integers(40, 90, (27, 64, 3), np.uint8)
    image = np.asarray(cv2.resize(ground, (1024, 432), interpolation=cv2.INTER_CUBIC), np.uint8)
    for number, width in enumerate(np.linspace(80, 20, FACES)):
        x, y, half = heads[number % 2]
        reach = round(half * 1.5)
        head = people[max(y - reach, 0) : y + reach, x - reach : x + reach]
        side = round(width * 1.5)
        small = cv2.resize(head, (side, round(side * head.shape[0] / head.shape[1])), interpolation=cv2.INTER_AREA)
        left, top = 30 + number % 5 * 200, 20 + number // 5 * 140
        image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return image
