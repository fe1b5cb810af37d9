"""Photos from files: any format, upright, 8-bit RGB. Damaged or huge ones are refused in one line."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from agegender.errors import ImageError
from agegender.face.header import JpegHeader, read_jpeg_header, read_png_size
from agegender.files import atomic_path

# A 200-megapixel phone photo passes (0.6 GB decoded); what is larger is a map, a scan or an attack.
MAX_PIXELS = 210_000_000
_Pixels = npt.NDArray[np.uint8]
_TRANSPOSE: dict[int, Callable[[_Pixels], _Pixels]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}


def read_photo(source: Path | str | bytes, *, name: str | None = None) -> npt.NDArray[np.uint8]:
    """Return a photo as (H, W, 3) uint8 RGB, contiguous, turned upright as its EXIF orientation says.

    ``source`` is a path or the bytes of a file; ``name`` is what errors call it. CMYK, grayscale, 16-bit and palette
    pictures are converted, alpha is laid on white, an animation gives its first frame. The size is read from the
    header first. Raises ImageError where the file can't be read, is no picture, is cut off, or has more than
    ``MAX_PIXELS`` pixels.
    """
    data = source if isinstance(source, bytes) else _read_file(Path(source))
    name = name or ("photo" if isinstance(source, bytes) else str(source))
    if not data:
        raise ImageError(f"{name}: the file is empty")
    size = read_png_size(data)
    if size is not None:
        _check_size(*size, name)
    header = read_jpeg_header(data)
    if header is not None:
        _check_size(header.width, header.height, name)
        if header.components in (1, 3):
            return _upright(decode_jpeg(data, name=name), header.orientation)
    return _read_other(data, name, header)


def decode_jpeg(data: bytes, *, name: str = "photo") -> npt.NDArray[np.uint8]:
    """Return a grayscale or YCbCr JPEG as (H, W, 3) uint8 RGB, not turned. Raises ImageError where it is damaged."""
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB"), np.uint8)
    except (ValueError, RuntimeError) as error:
        raise ImageError(f"{name}: damaged JPEG ({_one_line(error)})") from error


def encode_jpeg(image: npt.NDArray[np.uint8], quality: int = 95) -> bytes:
    """Return ``image`` (H, W, 3) uint8 RGB as JPEG bytes; the same pixels and quality give the same bytes."""
    # 4:4:4: a face crop is small, and halved colour would cost more than the bytes are worth.
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "444"))


def write_photo(path: Path | str, image: npt.NDArray[np.uint8]) -> None:
    """Write ``image`` (H, W, 3) uint8 RGB as JPEG where the name ends in .jpg or .jpeg, else as PNG, atomically."""
    if Path(path).suffix.lower() in (".jpg", ".jpeg"):
        data = encode_jpeg(image)
    else:
        stream = io.BytesIO()
        # Level 1: a third of the time of the default for a few percent of the size.
        Image.fromarray(image).save(stream, "PNG", compress_level=1)
        data = stream.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: can't be read ({error.strerror or error})") from error


def _read_other(data: bytes, name: str, header: JpegHeader | None) -> npt.NDArray[np.uint8]:
    """Decode with Pillow what isn't a plain JPEG."""
    try:
        with _pillow_limit(), Image.open(io.BytesIO(data)) as picture:
            _check_size(picture.width, picture.height, name)
            image = _to_rgb(picture)
            # Asked after decoding: Pillow turns a TIFF itself, and then takes the tag away.
            orientation = header.orientation if header else picture.getexif().get(0x0112, 1)
            return _upright(image, orientation)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: too large a picture ({_one_line(error)})") from error
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not a picture in a format that can be read") from None
    # Pillow's decoders raise whatever their format's parser trips over.
    except Exception as error:
        raise ImageError(f"{name}: damaged picture ({_one_line(error)})") from error


@contextmanager
def _pillow_limit() -> Iterator[None]:
    """Keep Pillow from warning of pictures that we allow; what it refuses, twice that size, stays refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _to_rgb(picture: Image.Image) -> npt.NDArray[np.uint8]:
    if picture.mode.startswith("I;16"):
        deep = np.asarray(picture).astype(np.uint32)
        return np.repeat((deep // 257).astype(np.uint8)[..., None], 3, axis=2)
    if picture.mode in ("I", "F"):
        gray = np.clip(np.asarray(picture), 0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return np.array(Image.alpha_composite(white, layer).convert("RGB"))
    return np.array(picture.convert("RGB"))


def _upright(image: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    turn = _TRANSPOSE.get(orientation)
    return image if turn is None else np.ascontiguousarray(turn(image))


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        millions = width * height / 1e6
        raise ImageError(
            f"{name}: {width}x{height} is {millions:,.0f} megapixels; at most {MAX_PIXELS // 10**6} are read"
        )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
