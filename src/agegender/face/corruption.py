"""Corruptions of aligned crops: what goes wrong between the camera and a crop, in fixed amounts, to be scored under.

The idea is that of ImageNet-C and ImageNet-P (Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", ICLR 2019): a fixed list of damages, applied to the test set alone. Theirs are
blur, JPEG, darkness, noise, and small turns, shifts and zooms. Each has one usual amount, that of the model cards, and
five severities from 1 (hardly seen) to 5 (a face that people still make out). Blur, JPEG and noise go through the
severities by ImageNet-C's own amounts (Gaussian blur at 224 pixels, as a share of the side); the others are ours, as
ImageNet-C has none for crops of faces. ``mirror`` has no amount, and so no severities.

Every function takes an image (h, w, 3) uint8 RGB, a generator and an amount, and returns a new array of that shape; it
leaves the image as it was, and only ``shift``, ``rotate`` and ``noise`` draw anything. Places and blur are shares of
the side, so that sets of another crop size are damaged alike; noise is per pixel, so that a larger crop loses more of
it when it is reduced.
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

GAMMA = 2.2
SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Corruption:
    """A way in which a crop is spoilt: ``function`` does it, ``summary`` says briefly what the usual amount does.

    ``amount`` is the usual one, ``amounts`` those of the severities 1 to 5, none where there is nothing to grade;
    ``unit`` says what they count.
    """

    function: Callable[[Image, np.random.Generator, float], Image]
    summary: str
    amount: float = 0.0
    amounts: tuple[float, ...] = ()
    unit: str = ""


def corrupt(image: Image, name: str, *, seed: int, number: int, severity: int | None = None) -> Image:
    """Return ``image`` (h, w, 3) uint8 RGB under the corruption ``name`` of ``CORRUPTIONS``, as a new array.

    By its usual amount, or that of ``severity`` 1..5. What is drawn depends on (``seed``, ``number`` of the face,
    ``name``) alone, both from 0 on: not on the severity, the other corruptions, the order of the faces, or how many
    there are. Raises ValueError for a severity that the corruption doesn't have.
    """
    corruption = CORRUPTIONS[name]
    amount = corruption.amount
    if severity is not None:
        if not 1 <= severity <= len(corruption.amounts):
            raise ValueError(f"{name} has {len(corruption.amounts)} severities, so none of number {severity}")
        amount = corruption.amounts[severity - 1]
    rng = np.random.default_rng([seed, number, zlib.crc32(name.encode())])
    return corruption.function(image, rng, amount)


def shift(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Move the face by this share of the side in a direction drawn from the whole circle; the border is mirrored.

    By whole pixels, so that it doesn't blur as well.
    """
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    right, down = round(amount * width * np.cos(angle)), round(amount * height * np.sin(angle))
    sides = (max(down, 0), max(-down, 0), max(right, 0), max(-right, 0))
    wide = cv2.copyMakeBorder(image, *sides, cv2.BORDER_REFLECT_101)
    top, left = max(-down, 0), max(-right, 0)
    return np.asarray(wide[top : top + height, left : left + width], np.uint8).copy()


def loose(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Crop so many times larger: the face becomes 1 / ``amount`` of its size, in the middle; the border is mirrored."""
    return _turned(image, degrees=0, scale=1 / amount)


def tight(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Make the face so many times its size, around the middle: what lay on the edges is cut off."""
    return _turned(image, degrees=0, scale=amount)


def rotate(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Turn the face around the middle by so many degrees, either way, as drawn; the border is mirrored."""
    return _turned(image, degrees=amount if rng.random() < 0.5 else -amount, scale=1)


def small(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Reduce the crop to so many pixels on its shorter side, averaging, and enlarge it, bilinear: a distant face.

    A crop of as many pixels or fewer stays as it is.
    """
    height, width = image.shape[:2]
    share = amount / min(height, width)
    if share >= 1:
        return image.copy()
    return resize_crop(resize_crop(image, (round(share * height), round(share * width))), (height, width))


def blur(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Blur by a Gaussian whose sigma is this share of the side: out of focus."""
    height, width = image.shape[:2]
    blurred = cv2.GaussianBlur(image, (0, 0), sigmaX=amount * width, sigmaY=amount * height)
    return np.asarray(blurred, np.uint8)


def jpeg(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Compress as JPEG of this quality, colour halved (4:2:0)."""
    body = simplejpeg.encode_jpeg(np.ascontiguousarray(image), round(amount), "RGB", "420")
    return np.asarray(simplejpeg.decode_jpeg(body), np.uint8)


def gray(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Take this share of the colour out; at 1 all channels are the luma of BT.601 (0.299 R + 0.587 G + 0.114 B)."""
    luma = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(luma if amount == 1 else cv2.addWeighted(luma, amount, image, 1 - amount, 0), np.uint8)


def dark(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Leave this share of the light: at gamma 2.2 every value times ``amount`` ** (1 / 2.2), for a quarter 0.533."""
    # value ** 2.2 is the light; a share of it, turned back into a value, is a factor on the value itself.
    return np.asarray(np.rint(image * np.float32(amount ** (1 / GAMMA))), np.uint8)


def noise(image: Image, rng: np.random.Generator, amount: float) -> Image:
    """Add Gaussian noise of this sigma (of 255) to every value by itself."""
    noisy = image + np.float32(amount) * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.rint(np.clip(noisy, 0, 255)), np.uint8)


def mirror(image: Image, rng: np.random.Generator, amount: float) -> Image:
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
    "shift": Corruption(
        shift, "crop off by 10% of the side, in any direction", 0.1, (0.025, 0.05, 0.1, 0.15, 0.2), "of the side"
    ),
    "loose": Corruption(
        loose, "crop 10% larger, its border mirrored", 1.1, (1.05, 1.1, 1.2, 1.3, 1.4), "times as wide a crop"
    ),
    "tight": Corruption(
        tight, "face 10% larger, its edges cut off", 1.1, (1.05, 1.1, 1.2, 1.3, 1.4), "times as large a face"
    ),
    "rotate": Corruption(rotate, "turned by 10 degrees, either way", 10, (5, 10, 15, 20, 30), "degrees"),
    "small": Corruption(small, "reduced to 24 pixels and enlarged again", 24, (48, 32, 24, 16, 12), "pixels"),
    "blur": Corruption(
        blur,
        "Gaussian blur, sigma 2 pixels at 112",
        2 / 112,
        tuple(pixels / 224 for pixels in (1, 2, 3, 4, 6)),
        "of the side",
    ),
    "jpeg": Corruption(jpeg, "JPEG of quality 10", 10, (25, 18, 15, 10, 7), "quality"),
    "gray": Corruption(gray, "without colour", 1, (0.2, 0.4, 0.6, 0.8, 1), "of the colour gone"),
    "dark": Corruption(dark, "a quarter of the light", 0.25, (0.5, 0.35, 0.25, 0.12, 0.06), "of the light"),
    "noise": Corruption(
        noise,
        "Gaussian noise, sigma 15 of 255",
        15,
        tuple(255 * share for share in (0.08, 0.12, 0.18, 0.26, 0.38)),
        "sigma",
    ),
    "mirror": Corruption(mirror, "left and right exchanged"),
}
