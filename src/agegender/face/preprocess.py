"""From crops to what a network takes: the same in training-time scoring and in deployment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agegender.resize import resize_crop

__all__ = ["resize_crop", "to_input"]


def to_input(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return ``crops`` (n, h, w, 3) uint8 RGB as float32 (n, 3, h, w), still 0..255: graphs normalise inside."""
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)
