"""One face to its record body: passed through, resized, warped, or skipped with a reason."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from agegender.dataset.crop import (
    NO_FACE,
    OTHER_TEMPLATE,
    UNREADABLE,
    CropSettings,
    crop_face,
    find_face,
    is_finished,
)
from agegender.dataset.face_record import FaceSample
from agegender.face import decode_jpeg, encode_jpeg, get_template
from agegender.face.detector import Detection
from agegender.resize import resize_crop

SIZE = 64
Pixels = npt.NDArray[np.uint8]


class Points:
    """A detector that reports one face with the template's own landmarks, scaled to the image, where it may be seen."""

    def __init__(self, *, share: float = 1.0) -> None:
        self.share = share
        self.asked: list[float | None] = []

    def detect(self, image: Pixels, *, min_face: float | None = None) -> list[Detection]:
        self.asked.append(min_face)
        side = self.share * min(image.shape[:2])
        if min_face is None or side < min_face:
            return []
        box = np.array([0, 0, side, side], np.float32)
        points = np.asarray(get_template("utkface").pixels(1) * side, np.float32)
        return [Detection(box, points, 0.98765)]


def settings(**changes: object) -> CropSettings:
    values: dict[str, object] = {"size": SIZE, "quality": 95, "border": "black", "min_face": 12, "seed": 0}
    values["template"] = get_template("utkface")
    return CropSettings(**{**values, **changes})  # type: ignore[arg-type]


def picture(height: int = SIZE, width: int = SIZE) -> Pixels:
    rng = np.random.default_rng(height)
    small = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def saved(image: Pixels, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, **{"format": "JPEG", "quality": 95, **options})  # type: ignore[arg-type]
    return file.getvalue()


def sample(path: Path, data: bytes, *, template: str | None = "utkface") -> FaceSample:
    path.write_bytes(data)
    return FaceSample(path, 1, 30, "here", template=template)


def rotated_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    ("data", "finished"),
    [
        (encode_jpeg(picture()), True),
        (saved(picture()), True),
        (saved(picture(), progressive=True), False),
        (saved(picture()[..., 0]), False),
        (saved(picture(), exif=rotated_exif()), False),
        (encode_jpeg(picture(SIZE, SIZE + 8)), False),
        (encode_jpeg(picture(SIZE * 2, SIZE * 2)), False),
        (encode_jpeg(picture())[:-2], False),
        (saved(picture(), format="PNG"), False),
        (b"", False),
        (b"\xff\xd8\xff\xd9", False),
        (b"\xff\xd8\xff\xe0\x00\x00" + bytes(20) + b"\xff\xd9", False),
    ],
    ids=["ours", "pillow", "prog", "gray", "rotated", "wide", "large", "cut", "png", "empty", "bare", "damaged"],
)
def test_only_whole_upright_colour_jpegs_of_the_size_pass_through(data: bytes, finished: bool) -> None:
    assert is_finished(data, SIZE) is finished


def test_finished_file_passes_byte_for_byte(tmp_path: Path) -> None:
    data = saved(picture(), quality=61)
    crop = crop_face(sample(tmp_path / "a.jpg", data), 0, settings=settings(), detector=None)
    assert crop.body == data
    assert crop.score is None


def test_large_file_passes_byte_for_byte(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    data = encode_jpeg(noise, 100)
    assert len(data) > 100_000
    crop = crop_face(sample(tmp_path / "a.jpg", data), 0, settings=settings(size=256), detector=None)
    assert crop.body == data


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": rotated_exif()}], ids=["size", "prog", "exif"])
def test_other_jpegs_of_the_template_are_decoded_and_resized(tmp_path: Path, options: dict[str, object]) -> None:
    image = picture(2 * SIZE, 2 * SIZE)
    data = saved(image, **options)
    crop = crop_face(sample(tmp_path / "a.jpg", data), 0, settings=settings(), detector=None)
    decoded = decode_jpeg(data)
    if "exif" in options:
        decoded = np.ascontiguousarray(np.rot90(decoded, -1))
    assert crop.body == encode_jpeg(resize_crop(decoded, (SIZE, SIZE)), 95)


def test_loose_photo_is_warped_with_box_and_score(tmp_path: Path) -> None:
    image = picture(2 * SIZE, 2 * SIZE)
    data = saved(image, format="PNG")
    crop = crop_face(sample(tmp_path / "a.png", data, template=None), 0, settings=settings(), detector=Points())
    assert crop.body is not None
    # The landmarks are the template's: the warp is a plain shrinking by two, give or take a quarter of a pixel.
    error = np.abs(decode_jpeg(crop.body).astype(int) - resize_crop(image, (SIZE, SIZE))).mean()
    assert error < 8
    assert crop.box == (0.0, 0.0, 128.0, 128.0)
    assert crop.score == 0.9877


@pytest.mark.parametrize(
    ("template", "reason", "detail"),
    [
        (None, NO_FACE, "in a photo of 100x80"),
        ("arcface", OTHER_TEMPLATE, "cropped as 'arcface', and no face is found to warp"),
    ],
)
def test_no_face_is_a_reason(tmp_path: Path, template: str | None, reason: str, detail: str) -> None:
    face = sample(tmp_path / "a.jpg", saved(picture(80, 100)), template=template)
    crop = crop_face(face, 0, settings=settings(), detector=Points(share=0.01))
    assert crop == (None, reason, detail, (), None)


def test_crop_of_another_template_is_warped(tmp_path: Path) -> None:
    face = sample(tmp_path / "a.jpg", saved(picture()), template="arcface")
    crop = crop_face(face, 0, settings=settings(), detector=Points())
    assert crop.body is not None and crop.score is not None


def test_border_colour_follows_seed_and_number(tmp_path: Path) -> None:
    face = sample(tmp_path / "a.jpg", saved(picture()), template=None)

    class Corner(Points):
        def detect(self, image: Pixels, *, min_face: float | None = None) -> list[Detection]:
            (found,) = super().detect(image, min_face=min_face)
            return [Detection(found.box, found.landmarks - SIZE / 2, found.score)]

    def corner(number: int, **changes: object) -> tuple[int, ...]:
        crop = crop_face(face, number, settings=settings(**changes), detector=Corner())
        assert crop.body is not None
        return tuple(decode_jpeg(crop.body)[2, 2].tolist())

    assert max(corner(0)) < 8
    assert corner(0, border="random") == corner(0, border="random")
    colours = {corner(number, border="random", seed=seed) for number in range(3) for seed in range(2)}
    assert len(colours) == 6


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"", "the file is empty"),
        (b"not a picture", "not a picture in a format that can be read"),
        (saved(picture(200, 200))[:900], "damaged JPEG"),
    ],
)
def test_unreadable_image_is_a_reason(tmp_path: Path, data: bytes, detail: str) -> None:
    crop = crop_face(sample(tmp_path / "a.jpg", data), 0, settings=settings(), detector=None)
    assert crop.body is None
    assert crop.reason == UNREADABLE
    assert detail in crop.detail
    assert str(tmp_path / "a.jpg") in crop.detail


def test_missing_file_is_unreadable(tmp_path: Path) -> None:
    face = FaceSample(tmp_path / "gone.jpg", 0, 1, "here", template="utkface")
    crop = crop_face(face, 0, settings=settings(), detector=None)
    assert (crop.reason, crop.detail) == (
        UNREADABLE,
        f"{tmp_path / 'gone.jpg'}: can't be read (No such file or directory)",
    )


@pytest.mark.parametrize(
    ("share", "min_face", "asked"),
    [
        (1.0, 20, [150.0]),
        (0.2, 20, [150.0, 50.0]),
        (0.01, 20, [150.0, 50.0]),
        (1.0, 100, [150.0]),
        (0.01, 200, [200.0]),
    ],
)
def test_large_faces_are_looked_for_first(share: float, min_face: float, asked: list[float]) -> None:
    detector = Points(share=share)
    found = find_face(np.zeros((500, 800, 3), np.uint8), detector, min_face=min_face)
    assert detector.asked == asked
    assert (found is None) == (share < 0.1)
