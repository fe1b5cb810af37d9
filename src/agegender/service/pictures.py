"""From the bytes of a client to a picture: hostile files are refused before they are decoded."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from agegender.errors import ImageError
from agegender.face.header import read_jpeg_header, read_png_size
from agegender.face.photo import encode_jpeg, read_photo
from agegender.service.refusal import RefusedError

Photo = npt.NDArray[np.uint8]
# Others are rare in photography, and some of their decoders start programs or write files.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png"}
# A camera writes ten. Each is a walk over the whole picture, so that a small file could cost minutes.
_MOST_SCANS = 100
_QUALITY = 90


def decode_picture(data: bytes, *, max_pixels: int) -> Photo:
    """Return the picture in ``data`` as (H, W, 3) uint8 RGB, upright.

    Raises RefusedError: 413 for one of more than ``max_pixels`` pixels, known from its header before anything is
    decoded, 422 for what is empty, damaged or no picture of ``FORMATS``.
    """
    if not data:
        raise RefusedError(422, "bad_image", "the image is empty (0 bytes)")
    width, height = _size(data)
    if width * height > max_pixels:
        raise RefusedError(
            413,
            "too_many_pixels",
            f"the image has {width}x{height} pixels, {width * height / 1e6:,.1f} million; "
            f"at most {max_pixels / 1e6:g} million are taken",
        )
    if data[:2] == b"\xff\xd8" and data.count(b"\xff\xda") > _MOST_SCANS:
        raise RefusedError(422, "bad_image", f"the image is a JPEG of more than {_MOST_SCANS} scans")
    try:
        return read_photo(data, name="the image")
    except ImageError as error:
        raise RefusedError(422, "bad_image", str(error)) from None


def encode_picture(image: Photo, kind: str) -> bytes:
    """Return ``image`` (H, W, 3) uint8 RGB as a file of ``kind``: jpeg or png."""
    if kind == "jpeg":
        return encode_jpeg(image, _QUALITY)
    written, data = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not written:
        raise ImageError("the annotated picture can't be written as PNG")
    return data.tobytes()


def _size(data: bytes) -> tuple[int, int]:
    header = read_jpeg_header(data)
    if header is not None:
        return header.width, header.height
    size = read_png_size(data)
    if size is not None:
        return size
    try:
        with warnings.catch_warnings():
            # Ours is the limit that counts.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                return picture.size
    except UnidentifiedImageError:
        raise RefusedError(422, "bad_image", f"the image is in none of the formats {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise RefusedError(413, "too_many_pixels", "the image has more pixels than are ever taken") from None
    # Pillow's parsers raise whatever they trip over.
    except Exception as error:
        raise RefusedError(422, "bad_image", f"the image is damaged ({type(error).__name__} in its header)") from None
