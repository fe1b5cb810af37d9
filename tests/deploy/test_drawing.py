"""Annotated photos: nothing leaves the picture, nothing else changes, everything is readable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.deploy.draw import COLOURS, draw_faces, label
from agegender.deploy.face import Face

pytestmark = pytest.mark.quick


def face(*box: float, gender: str | None = "male", age: float | None = 34.4) -> Face:
    probability = None if gender is None else 0.9
    return Face(np.array(box, np.float32), np.zeros((5, 2), np.float32), 0.99, gender, probability, age, None, None)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(axis=2)


@pytest.mark.parametrize(
    ("gender", "age", "lang", "expected"),
    [
        ("male", 34.4, "en", "male 34"),
        ("female", 0.2, "en", "female 0"),
        ("female", 99.6, "zh", "女 100"),
        ("male", None, "zh", "男"),
        (None, 7.0, "en", "7"),
        (None, None, "en", ""),
    ],
)
def test_words(gender: str | None, age: float | None, lang: str, expected: str) -> None:
    assert label(face(0, 0, 9, 9, gender=gender, age=age), lang) == expected


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
    from agegender.deploy.draw import _INK

    bright, dark = sorted((luminance(COLOURS[gender]), luminance(_INK[gender])), reverse=True)
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


def test_letters_grow_with_the_picture() -> None:
    heights = []
    for scale in (1, 4):
        photo = np.zeros((300 * scale, 400 * scale, 3), np.uint8)
        picture = draw_faces(photo, [face(*(np.array([100, 100, 250, 280]) * scale))])
        rows = np.nonzero(picture.any(axis=(1, 2)))[0]
        heights.append(100 * scale - rows.min())
    assert heights[1] == pytest.approx(4 * heights[0], rel=0.2)


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
