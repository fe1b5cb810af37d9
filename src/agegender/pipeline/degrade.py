"""What cameras and messengers do to photographs, done to training faces: less detail, blur, noise, dusk, gray."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

SMALL, BLUR, NOISE, DARK, GRAY = range(5)
KINDS = 5
# The mildest and the strongest of each: shares of the side that are kept, sigma in shares of the side, sigma in levels
# of 255, exponents of the levels.
_SMALL = (0.6, 0.15)
_BLUR = (0.003, 0.02)
_NOISE = (2.0, 20.0)
_DARK = (1.2, 2.5)


def degrade(image: Image, kind: int, level: float, *, seed: int) -> Image:
    """Return ``image`` (h, w, 3) uint8 RGB degraded by ``kind``, from mild (``level`` 0) to strong (1).

    ``seed`` draws the noise. Training on such images is what makes nets keep their answers on them (Hendrycks and
    Dietterich, ICLR 2019; Rusak et al., ECCV 2020, for noise).
    """
    height, width = image.shape[:2]
    if kind == SMALL:
        share = _between(_SMALL, level)
        size = max(1, round(width * share)), max(1, round(height * share))
        less = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(less, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if kind == BLUR:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), _between(_BLUR, level) * width), np.uint8)
    if kind == NOISE:
        noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
        return np.asarray(np.clip(np.rint(image + _between(_NOISE, level) * noise), 0, 255), np.uint8)
    if kind == DARK:
        table = np.rint(255 * (np.arange(256) / 255) ** _between(_DARK, level)).astype(np.uint8)
        return np.asarray(cv2.LUT(image, table), np.uint8)
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def _between(ends: tuple[float, float], level: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * level
