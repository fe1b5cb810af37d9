"""Turn the body of a record into an image."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from agegender.errors import ImageError
from agegender.npy import NPY_MAGIC

JPEG_START = b"\xff\xd8"
# A record holds a crop. A header that claims more than this is damaged, and would cost gigabytes.
MOST_PIXELS = 50_000_000

Image = npt.NDArray[np.uint8]


class Decoder:
    """Decode bodies into memory that is kept from one image to the next. One per thread.

    ``fast`` takes libjpeg's simpler upsampling of subsampled colour: 8% faster, about half a level of 255 away.
    Without it the pixels are those of OpenCV's decoder, to the last bit.
    """

    def __init__(self, *, fast: bool = False) -> None:
        self._fast = fast
        # Of the last image; the next one is most likely the same.
        self.shape: tuple[int, ...] = ()
        self._memory = np.empty(112 * 112 * 3, np.uint8)

    def decode(self, body: bytes | memoryview) -> Image:
        """Return the image, uint8 (h, w, 3) RGB; it is overwritten by the next call.

        JPEG goes through simplejpeg (which releases the GIL), anything else, and CMYK, through OpenCV. Raises
        ImageError saying what is wrong with the body.
        """
        try:
            image: Image = simplejpeg.decode_jpeg(body, fastupsample=self._fast, buffer=self._memory)
        except ValueError:
            image = self._decode_unusual(body)
        self.shape = image.shape
        return image

    def decode_into(self, body: bytes | memoryview, out: Image) -> Image | None:
        """Decode straight into ``out``, uint8 (h, w, 3) and contiguous; return None where the image has its size.

        One of another size is returned as by ``decode``, and ``out`` is left with anything in it.
        """
        try:
            image: Image = simplejpeg.decode_jpeg(body, fastupsample=self._fast, buffer=out)
        except ValueError:
            return self.decode(body)
        return None if image.shape == out.shape else image.copy()

    def _decode_unusual(self, body: bytes | memoryview) -> Image:
        """Decode a JPEG that is larger than the memory so far, what simplejpeg refuses, and other formats."""
        if body[:2] != JPEG_START:
            return _decode_other(body)
        try:
            height, width, space, _ = simplejpeg.decode_jpeg_header(body)
            _check_pixels(height, width)
            if space == "CMYK":
                return _decode_other(body)
            if height * width * 3 > self._memory.size:
                self._memory = np.empty(height * width * 3, np.uint8)
            image: Image = simplejpeg.decode_jpeg(body, fastupsample=self._fast, buffer=self._memory)
        except ValueError as error:
            raise ImageError(f"damaged JPEG ({str(error).strip().rstrip('.')})") from None
        return image


def _decode_other(body: bytes | memoryview) -> Image:
    if len(body) == 0:
        raise ImageError("empty body")
    if body[: len(NPY_MAGIC)] == NPY_MAGIC:
        raise ImageError("the body is an embedding, no image")
    try:
        # Orientation is ignored, as the JPEG path does: a crop is stored upright.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image: Any = cv2.imdecode(np.frombuffer(body, np.uint8), flags)
    except cv2.error:
        image = None  # raised, rather than None returned, for sizes over OpenCV's own limit
    if image is None:
        raise ImageError(f"body of {len(body)} bytes is no image (it starts with {bytes(body[:4]).hex(' ')})")
    _check_pixels(*image.shape[:2])
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _check_pixels(height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise ImageError(f"image of {width}x{height} pixels is too large for a record (at most {MOST_PIXELS:,})")
