"""Annotated photos: nothing leaves the picture, nothing else changes, everything is readable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.deploy.draw import COLOURS, INKS, draw_faces, labels
from agegender.deploy.face import Face

pytestmark = pytest.mark.quick


def face(
    *box: float,
    gender: str | None = "male",
    age: float | None = 34.4,
    interval: tuple[float, float] | None = None,
) -> Face:
    probability = None if gender is None else 0.9
    return Face(np.array(box, np.float32), np.zeros((5, 2), np.float32), 0.99, gender, probability, age, interval, None)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(axis=2)


@pytest.mark.parametrize(
    ("gender", "age", "interval", "lang", "expected"),
    [
        ("female", 34.4, (29.4, 41.0), "en", ["female 34 (29-41)", "female 34", "F 34"]),
        ("male", 99.6, None, "en", ["male 100", "M 100"]),
        ("female", 0.2, (0, 2.6), "zh", ["女 0 (0-3)", "女 0"]),
        ("male", None, None, "zh", ["男"]),
        (None, 7.0, (5, 9), "en", ["7 (5-9)", "7"]),
        ("male", None, (5, 9), "en", ["male", "M"]),
        (None, None, None, "en", [""]),
    ],
)
def test_words(
    gender: str | None, age: float | None, interval: tuple[float, float] | None, lang: str, expected: list[str]
) -> None:
    assert labels(face(0, 0, 9, 9, gender=gender, age=age, interval=interval), lang) == expected


def test_the_photo_itself_stays_as_it_is() -> None:
    photo = np.full((200, 300, 3), 60, np.uint8)
    picture = draw_faces(photo, [face(100, 80, 160, 150)])
    assert (photo == 60).all()
    assert picture.shape == photo.shape
    assert picture.dtype == np.uint8
    # Inside the box, below the label, the face is untouched.
    assert not changed(photo, picture)[90:145, 105:155].any()
    np.testing.assert_array_equal(draw_faces(photo, []), photo)


@pytest.mark.parametrize("gender", ["male", "female", None])
def test_box_and_label_have_the_genders_colour(gender: str | None) -> None:
    picture = draw_faces(np.full((200, 300, 3), 60, np.uint8), [face(100, 80, 160, 150, gender=gender)])
    assert tuple(picture[120, 100]) == COLOURS[gender]
    rows, columns = np.nonzero((picture == COLOURS[gender]).all(axis=2))
    assert rows.min() < 80 - 8
    assert columns.min() >= 99


def luminance(colour: tuple[int, ...]) -> float:
    """Relative luminance as the web's contrast rule has it (WCAG 2)."""
    shares = np.array(colour) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("gender", ["male", "female"])
def test_letters_contrast_with_their_ground(gender: str) -> None:
    bright, dark = sorted((luminance(COLOURS[gender]), luminance(INKS[gender])), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) > 4.5


def test_chinese_letters_are_there() -> None:
    photo = np.zeros((400, 400, 3), np.uint8)
    pictures = [
        draw_faces(photo, [face(100, 100, 300, 300, gender=gender)], lang="zh") for gender in ("male", "female")
    ]
    inks = [np.count_nonzero(changed(photo, picture)) for picture in pictures]
    assert inks[0] == pytest.approx(inks[1], rel=0.05)
    # 男 and 女 are different shapes, so not both the box of a missing letter.
    masks = [(picture[:100] != COLOURS[gender]).any(axis=2) for picture, gender in zip(pictures, ("male", "female"))]
    assert (masks[0] != masks[1]).sum() > 50


def test_labels_avoid_faces_and_each_other() -> None:
    photo = np.zeros((300, 400, 3), np.uint8)
    upper, lower = face(100, 60, 160, 140), face(100, 145, 160, 225, gender="female")
    picture = draw_faces(photo, [upper, lower])
    assert not picture[62:138, 104:156].any()
    assert not picture[148:222, 104:156].any()


SIZES = [(320, 240), (240, 320), (500, 375), (1280, 720), (1920, 1080), (4000, 6000), (7680, 4320), (4000, 400)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_letters_can_be_read(width: int, height: int, share: float) -> None:
    """Digits are 1.5% to 4% of the picture's height, and never below 10 pixels."""
    photo = np.zeros((height, width, 3), np.uint8)
    side = share * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2 + 0.08 * height
    picture = draw_faces(photo, [face(left, top, left + side, top + side, gender=None, age=88.0)])
    # The gray ground, and white ink on it: rows where a digit has more ink than ground.
    ink = (picture > 182).all(axis=2)
    rows = np.nonzero(ink.any(axis=1))[0]
    digits = rows.max() - rows.min() + 1
    assert digits >= 10
    assert digits == 10 or 0.015 * height <= digits <= max(0.04 * height, 11)


@pytest.mark.parametrize("gender", ["male", "female"])
def test_a_large_face_has_the_whole_label_and_a_small_one_the_short(gender: str) -> None:
    widths = []
    for side in (150, 40, 20):
        photo = np.full((400, 600, 3), 60, np.uint8)
        picture = draw_faces(photo, [face(300, 100, 300 + side, 100 + side, gender=gender, interval=(29, 41))])
        rows, columns = np.nonzero(changed(photo[:97], picture[:97]))
        widths.append(columns.max() - columns.min() + 1)
        assert rows.size
    whole, middle, short = widths
    assert whole > 1.5 * middle
    assert middle > 1.3 * short


def test_labels_of_a_crowd_hide_no_face() -> None:
    """Faces in two close rows, as on a school photo: labels get shorter, and find their places."""
    boxes = [
        (40 + 80 * column, 60 + 80 * row, 85 + 80 * column, 115 + 80 * row) for row in (0, 1) for column in range(6)
    ]
    faces = [face(*box, gender=("male", "female")[number % 2], interval=(20, 50)) for number, box in enumerate(boxes)]
    photo = np.zeros((280, 560, 3), np.uint8)
    picture = draw_faces(photo, faces)
    for left, top, right, bottom in boxes:
        assert not picture[top + 3 : bottom - 3, left + 3 : right - 3].any()
    # Each label stands for itself: as many grounds as faces, above or below each other or apart.
    inside = np.zeros(photo.shape[:2], bool)
    for left, top, right, bottom in boxes:
        inside[top - 2 : bottom + 2, left - 2 : right + 2] = True
    outside = np.where(inside[..., None], 0, picture)
    assert outside.any(axis=2).sum() > len(boxes) * 24 * 14


def test_letters_grow_with_the_picture() -> None:
    heights = []
    for scale in (2, 8):
        photo = np.zeros((300 * scale, 400 * scale, 3), np.uint8)
        picture = draw_faces(photo, [face(*(np.array([100, 100, 250, 280]) * scale))])
        rows = np.nonzero(picture.any(axis=(1, 2)))[0]
        heights.append(100 * scale - rows.min())
    assert heights[1] == pytest.approx(4 * heights[0], rel=0.1)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    boxes=st.lists(st.tuples(*[st.floats(-200, 300)] * 4), min_size=1, max_size=4),
    lang=st.sampled_from(["en", "zh"]),
)
def test_any_box_in_any_picture(size: tuple[int, int], boxes: list[tuple[float, ...]], lang: str) -> None:
    photo = np.full((*size, 3), 7, np.uint8)
    picture = draw_faces(photo, [face(*box) for box in boxes], lang=lang)
    assert picture.shape == photo.shape
