"""Photos of every kind arrive upright in 8-bit RGB; what can't be read is one clear line."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from agegender.errors import ImageError
from agegender.face.header import exif_orientation, read_jpeg_header
from agegender.face.photo import encode_jpeg, read_photo, write_photo

RED, GREEN, BLUE, GRAY = (220, 30, 30), (30, 200, 40), (30, 40, 210), (128, 128, 128)


def corners() -> np.ndarray:
    """A photo of 48 x 64 with a colour in each corner: red, green / blue, gray."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32], image[24:, 32:] = RED, GREEN, BLUE, GRAY
    return image


def encoded(image: np.ndarray, kind: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def assert_corners(image: np.ndarray, *, within: int) -> None:
    assert image.dtype == np.uint8
    assert image.shape == (48, 64, 3)
    assert image.flags.c_contiguous
    for (y, x), colour in zip([(8, 8), (8, 56), (40, 8), (40, 56)], (RED, GREEN, BLUE, GRAY), strict=True):
        assert np.abs(image[y, x].astype(int) - colour).max() <= within, (y, x)


@pytest.mark.parametrize(
    ("kind", "mode", "options", "within"),
    [
        ("JPEG", "RGB", {"quality": 95}, 6),
        ("JPEG", "RGB", {"quality": 95, "progressive": True}, 6),
        ("JPEG", "CMYK", {"quality": 95}, 8),
        ("PNG", "RGB", {}, 0),
        ("PNG", "RGBA", {}, 0),
        ("PNG", "P", {}, 30),
        ("BMP", "RGB", {}, 0),
        ("GIF", "RGB", {}, 30),
        ("WEBP", "RGB", {"lossless": True}, 0),
        ("TIFF", "RGB", {}, 0),
        ("TIFF", "CMYK", {}, 0),
        ("PPM", "RGB", {}, 0),
    ],
)
def test_formats(kind: str, mode: str, options: dict[str, object], within: int) -> None:
    assert_corners(read_photo(encoded(corners(), kind, mode, **options)), within=within)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_grayscale(kind: str) -> None:
    image = read_photo(encoded(corners(), kind, "L"))
    assert image.shape == (48, 64, 3)
    assert (image[..., 0] == image[..., 2]).all()
    assert abs(int(image[40, 56, 0]) - 128) <= 2


def test_sixteen_bits() -> None:
    ramp = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)
    for depth in (ramp, np.repeat(ramp[..., None], 3, axis=2)):
        ok, data = cv2.imencode(".png", depth)
        assert ok
        image = read_photo(data.tobytes())
        assert image.shape == (48, 64, 3)
        assert np.abs(image[..., 0].astype(float) - ramp / 257).max() <= 1


def test_one_bit() -> None:
    image = read_photo(encoded(corners(), "PNG", "1"))
    assert set(np.unique(image)) <= {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_lies_on_white(mode: str) -> None:
    layered = np.zeros((10, 10, 4), np.uint8)
    layered[:, :5, 3] = 255
    stream = io.BytesIO()
    Image.fromarray(layered).convert(mode).save(stream, "PNG")
    image = read_photo(stream.getvalue())
    assert (image[:, :5] == 0).all()
    assert (image[:, 5:] == 255).all()


def test_transparent_palette_lies_on_white() -> None:
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((0, 0), 1)
    stream = io.BytesIO()
    picture.save(stream, "PNG", transparency=0)
    image = read_photo(stream.getvalue())
    assert tuple(image[0, 0]) == (200, 100, 50)
    assert tuple(image[3, 3]) == (255, 255, 255)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    assert tuple(read_photo(stream.getvalue())[4, 4]) == (255, 0, 0)


ORIENTED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: lambda image: np.rot90(image, -1),
}


@pytest.mark.parametrize("kind", ["JPEG", "CMYK", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_turned_upright(kind: str, orientation: int) -> None:
    # The camera stores the scene turned, and says in the tag how to turn it back.
    stored = np.ascontiguousarray(ORIENTED[orientation](corners()))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind in ("JPEG", "CMYK") else {"lossless": True} if kind == "WEBP" else {}
    mode, kind = ("CMYK", "JPEG") if kind == "CMYK" else ("RGB", kind)
    assert_corners(read_photo(encoded(stored, kind, mode, exif=exif, **options)), within=8)


def test_turning_agrees_with_pillow() -> None:
    from PIL import ImageOps

    for orientation in ORIENTED:
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(corners(), "PNG", exif=exif)
        with Image.open(io.BytesIO(data)) as picture:
            np.testing.assert_array_equal(read_photo(data), np.asarray(ImageOps.exif_transpose(picture)))


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_in_both_byte_orders(order: str) -> None:
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, 6, 0)
    block = mark + struct.pack(f"{order}HIH", 42, 8, 1) + entry
    assert exif_orientation(block) == 6
    for end in range(len(block) - 2):
        assert exif_orientation(block[:end]) == 1


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg_header(width: int, height: int) -> bytes:
    """A JPEG whose frame was patched to promise another size."""
    data = bytearray(encoded(corners(), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def test_huge_jpeg_is_refused_by_its_header() -> None:
    with pytest.raises(ImageError) as error:
        read_photo(jpeg_header(30000, 30000), name="wall.jpg")
    assert str(error.value) == "wall.jpg: 30000x30000 is 900 megapixels; at most 210 are read"


def test_huge_png_is_refused_by_its_header() -> None:
    with pytest.raises(ImageError, match=r"^wall.png: 30000x30000 is 900 megapixels; at most 210 are read$"):
        read_photo(png_header(30000, 30000), name="wall.png")


def test_huge_bmp_is_refused_by_its_header() -> None:
    data = bytearray(encoded(corners(), "BMP"))
    data[18:26] = struct.pack("<ii", 30000, 30000)
    with pytest.raises(ImageError, match=r"^wall.bmp: too large a picture \("):
        read_photo(bytes(data), name="wall.bmp")


def test_a_100_megapixel_png_is_read_without_a_word() -> None:
    stream = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(stream, "PNG")
    assert read_photo(stream.getvalue()).shape == (10_000, 10_000, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.jpg: the file is empty"),
        (b"hello, I am a text file", "a.jpg: not a picture in a format that can be read"),
        (b"\xff\xd8\xff", "a.jpg: not a picture in a format that can be read"),
        (encoded(corners(), "JPEG")[:-400], "a.jpg: damaged JPEG ("),
        (encoded(corners(), "JPEG", "CMYK")[:-400], "a.jpg: damaged picture ("),
        (encoded(corners(), "PNG")[:-60], "a.jpg: damaged picture ("),
        (png_header(64, 48), "a.jpg: damaged picture ("),
    ],
)
def test_what_can_not_be_read_is_one_line(data: bytes, message: str) -> None:
    with pytest.raises(ImageError) as error:
        read_photo(data, name="a.jpg")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none.jpg: can't be read \(No such file or directory\)"):
        read_photo(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="can't be read"):
        read_photo(tmp_path)


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]),
    end=st.integers(0, 600),
    flips=st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 255)), max_size=4),
)
def test_damage_is_an_image_error_or_a_picture(kind: str, end: int, flips: list[tuple[int, int]]) -> None:
    data = bytearray(encoded(corners(), kind))
    for place, value in flips:
        data[place % len(data)] ^= value
    try:
        image = read_photo(bytes(data[: len(data) - end]))
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert image.ndim == 3
        assert image.shape[2] == 3


def test_header_of_jpegs() -> None:
    header = read_jpeg_header(encoded(corners(), "JPEG", "CMYK"))
    assert header is not None
    assert (header.width, header.height, header.components, header.orientation) == (64, 48, 4, 1)
    assert read_jpeg_header(b"\x89PNG\r\n\x1a\n") is None


def test_written_photos_read_back(tmp_path: Path) -> None:
    for name, within in (("a.png", 0), ("a.jpg", 6), ("A.JPEG", 6)):
        write_photo(tmp_path / name, corners())
        assert_corners(read_photo(tmp_path / name), within=within)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A.JPEG", "a.jpg", "a.png"]
    assert (tmp_path / "A.JPEG").read_bytes()[:2] == b"\xff\xd8"


def test_jpegs_are_the_same_bytes_each_time() -> None:
    assert encode_jpeg(corners()) == encode_jpeg(corners()[:, :].copy())
    assert len(encode_jpeg(corners(), 30)) < len(encode_jpeg(corners(), 95))
