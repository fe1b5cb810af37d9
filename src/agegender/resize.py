"""The one way an image changes its size: training, scoring and deployment must see the same pixels."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def resize_crop(crop: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return ``crop`` (h, w, 3) uint8 at ``size`` = (height, width); the same array where it already fits.

    Shrinking averages the pixels under each target pixel (INTER_AREA), enlarging is bilinear: nothing aliases.
    """
    height, width = size
    if crop.shape[:2] == (height, width):
        return crop
    shrinks = height <= crop.shape[0] and width <= crop.shape[1]
    resized = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
