"""Corruptions of aligned crops: what goes wrong between the camera and a crop, in fixed amounts, to be scored under.

The idea is that of ImageNet-C and ImageNet-P (Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", ICLR 2019): a fixed list of damages, applied to the test set alone. Theirs are
blur, JPEG, darkness, noise, and small turns, shifts and zooms; the amounts here are ours, one for each.

Every function takes an image (h, w, 3) uint8 RGB and a generator, and returns a new array of that shape; it leaves the
image as it was, and only ``shift``, ``rotate`` and ``noise`` draw anything. Places and blur are shares of the side, so
that sets of another crop size are damaged alike; noise is per pixel, so that a larger crop loses more of it when it is
reduced.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from agegender.resize import resize_crop

Image = npt.NDArray[np.uint8]

SHIFT = 0.1
ZOOM = 1.1
DEGREES = 10.0
SMALL_SIDE = 24
BLUR_SIGMA = 2 / 112
JPEG_QUALITY = 10
LIGHT = 0.25
GAMMA = 2.2
NOISE_SIGMA = 15.0


@dataclass(frozen=True, slots=True)
class Corruption:
    """A way in which a crop is spoilt: ``function`` does it, ``summary`` says what it does in a few words."""

    function: Callable[[Image, np.random.Generator], Image]
    summary: str


def corrupt(image: Image, name: str, *, seed: int, number: int) -> Image:
    """Return ``image`` (h, w, 3) uint8 RGB under the corruption ``name`` of ``CORRUPTIONS``, as a new array.

    What is drawn depends on (``seed``, ``number`` of the face, ``name``) alone, both from 0 on: not on the other
    corruptions, the order of the faces, or how many there are.
    """
    rng = np.random.default_rng([seed, number, zlib.crc32(name.encode())])
    return CORRUPTIONS[name].function(image, rng)


def shift(image: Image, rng: np.random.Generator) -> Image:
    """Move the face by 10% of the side in a direction drawn from the whole circle; the border is mirrored.

    By whole pixels, so that it doesn't blur as well.
    """
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    right, down = round(SHIFT * width * np.cos(angle)), round(SHIFT * height * np.sin(angle))
    sides = (max(down, 0), max(-down, 0), max(right, 0), max(-right, 0))
    wide = cv2.copyMakeBorder(image, *sides, cv2.BORDER_REFLECT_101)
    top, left = max(-down, 0), max(-right, 0)
    return np.asarray(wide[top : top + height, left : left + width], np.uint8).copy()


def loose(image: Image, rng: np.random.Generator) -> Image:
    """Crop 10% larger, so that the face is 1 / 1.1 of its size, in the middle; the border is mirrored."""
    return _turned(image, degrees=0, scale=1 / ZOOM)


def tight(image: Image, rng: np.random.Generator) -> Image:
    """Make the face 1.1 times its size, around the middle: what lay on the edges is cut off."""
    return _turned(image, degrees=0, scale=ZOOM)


def rotate(image: Image, rng: np.random.Generator) -> Image:
    """Turn the face around the middle by 10 degrees, either way, as drawn; the border is mirrored."""
    return _turned(image, degrees=DEGREES if rng.random() < 0.5 else -DEGREES, scale=1)


def small(image: Image, rng: np.random.Generator) -> Image:
    """Reduce the crop to 24 pixels on its shorter side, averaging, and enlarge it again, bilinear: a distant face.

    A crop of 24 pixels or fewer stays as it is.
    """
    height, width = image.shape[:2]
    share = SMALL_SIDE / min(height, width)
    if share >= 1:
        return image.copy()
    return resize_crop(resize_crop(image, (round(share * height), round(share * width))), (height, width))


def blur(image: Image, rng: np.random.Generator) -> Image:
    """Blur by a Gaussian whose sigma is 2/112 of the side (2 pixels at 112): out of focus."""
    height, width = image.shape[:2]
    blurred = cv2.GaussianBlur(image, (0, 0), sigmaX=BLUR_SIGMA * width, sigmaY=BLUR_SIGMA * height)
    return np.asarray(blurred, np.uint8)


def jpeg(image: Image, rng: np.random.Generator) -> Image:
    """Compress as JPEG of quality 10, colour halved (4:2:0). ImageNet-C goes from 25 to 7 in five steps."""
    body = simplejpeg.encode_jpeg(np.ascontiguousarray(image), JPEG_QUALITY, "RGB", "420")
    return np.asarray(simplejpeg.decode_jpeg(body), np.uint8)


def gray(image: Image, rng: np.random.Generator) -> Image:
    """Take the colour out: all three channels become the luma of ITU-R BT.601 (0.299 R + 0.587 G + 0.114 B)."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def dark(image: Image, rng: np.random.Generator) -> Image:
    """Leave a quarter of the light, two stops: at gamma 2.2 every value times 0.25 ** (1 / 2.2) = 0.533."""
    # value ** 2.2 is the light; a quarter of it, turned back into a value, is a factor on the value itself.
    return np.asarray(np.rint(image * np.float32(LIGHT ** (1 / GAMMA))), np.uint8)


def noise(image: Image, rng: np.random.Generator) -> Image:
    """Add Gaussian noise of sigma 15 (of 255) to every value by itself. ImageNet-C goes from 20 to 97 in five steps."""
    noisy = image + NOISE_SIGMA * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.rint(np.clip(noisy, 0, 255)), np.uint8)


def mirror(image: Image, rng: np.random.Generator) -> Image:
    """Exchange left and right, which a net should hardly notice: faces have no preferred side."""
    return np.asarray(image[:, ::-1], np.uint8).copy()


def _turned(image: Image, *, degrees: float, scale: float) -> Image:
    """Turn counter-clockwise and scale around the middle, the border mirrored."""
    height, width = image.shape[:2]
    # Coordinates are pixel centres, so the middle of w pixels is (w - 1) / 2.
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    # Cubic keeps nearly all the sharpness: it is the place that shall be wrong, nothing else.
    warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


CORRUPTIONS: dict[str, Corruption] = {
    "shift": Corruption(shift, "crop off by 10% of the side, in any direction"),
    "loose": Corruption(loose, "crop 10% larger, its border mirrored"),
    "tight": Corruption(tight, "face 10% larger, its edges cut off"),
    "rotate": Corruption(rotate, "turned by 10 degrees, either way"),
    "small": Corruption(small, "reduced to 24 pixels and enlarged again"),
    "blur": Corruption(blur, "Gaussian blur, sigma 2 pixels at 112"),
    "jpeg": Corruption(jpeg, "JPEG of quality 10"),
    "gray": Corruption(gray, "without colour"),
    "dark": Corruption(dark, "a quarter of the light"),
    "noise": Corruption(noise, "Gaussian noise, sigma 15 of 255"),
    "mirror": Corruption(mirror, "left and right exchanged"),
}
