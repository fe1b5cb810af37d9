"""The contact sheet: faces in rows, labels and names below them, memory bounded."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.deploy.draw import COLOURS, font_size, render_text
from agegender.deploy.face import Face
from agegender.deploy.sheet import _DIGITS, _GAP, TILE, ContactSheet

pytestmark = pytest.mark.quick


def face(*box: float, gender: str | None = "male") -> Face:
    return Face(np.array(box, np.float32), np.zeros((5, 2), np.float32), 0.9, gender, 0.9, 100.0, (88.0, 100.0), None)


def tile(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    """The face of a place of the sheet, without what stands below it."""
    high = tile_height()
    top, left = _GAP + row * (high + _GAP), _GAP + column * (TILE + _GAP)
    return picture[top : top + TILE, left : left + TILE]


def tile_height() -> int:
    sheet = ContactSheet()
    sheet.add(np.zeros((9, 9, 3), np.uint8), face(0, 0, 9, 9), name="x")
    return sheet.picture().shape[0] - 2 * _GAP


def test_faces_come_in_order_in_rows() -> None:
    sheet = ContactSheet()
    for number in range(7):
        sheet.add(np.full((50, 50, 3), 10 * number, np.uint8), face(20, 20, 30, 30), name="a.jpg")
    picture = sheet.picture()
    columns = (picture.shape[1] - _GAP) // (TILE + _GAP)
    rows = (picture.shape[0] - _GAP) // (tile_height() + _GAP)
    assert columns * rows >= 7 > columns * (rows - 1)
    for number in range(7):
        assert (tile(picture, *divmod(number, columns)) == 10 * number).all()


@pytest.mark.parametrize("side", [8, 100, 1000])
def test_a_tile_is_the_square_around_the_box(side: int) -> None:
    """Blue left of the box's middle and red right of it, at any size; a half is cut at the middle of the tile."""
    photo = np.zeros((4 * side, 4 * side, 3), np.uint8)
    photo[:, : 2 * side, 2] = 255
    photo[:, 2 * side :, 0] = 255
    sheet = ContactSheet()
    sheet.add(photo, face(1.5 * side, 1.5 * side, 2.5 * side, 2.5 * side), name="a")
    seen = tile(sheet.picture(), 0, 0)
    blur = TILE // 16
    assert (seen[:, : TILE // 2 - blur] == (0, 0, 255)).all()
    assert (seen[:, TILE // 2 + blur :] == (255, 0, 0)).all()


def test_what_lies_outside_the_photo_is_gray() -> None:
    sheet = ContactSheet()
    sheet.add(np.zeros((40, 40, 3), np.uint8), face(-20, 0, 20, 40), name="a")
    seen = tile(sheet.picture(), 0, 0)
    assert (seen[:, : TILE // 4] == 225).all()
    assert (seen[TILE // 4 : -TILE // 4, TILE * 3 // 4 :] == 0).all()


@pytest.mark.parametrize("box", [(-500, -500, -400, -400), (90, 90, 400, 300), (3, 3, 3, 3), (5, 5, 2, 2)])
def test_any_box(box: tuple[float, ...]) -> None:
    sheet = ContactSheet()
    sheet.add(np.zeros((40, 60, 3), np.uint8), face(*box), name="a")
    assert tile(sheet.picture(), 0, 0).shape == (TILE, TILE, 3)


@pytest.mark.parametrize("gender", ["male", "female"])
def test_the_longest_label_fits_on_its_colour(gender: str) -> None:
    text = render_text(f"{gender} 100 (88-100)", font_size(_DIGITS), ink=(1, 1, 1), ground=COLOURS[gender])
    assert text.shape[1] <= TILE
    sheet = ContactSheet()
    sheet.add(np.zeros((40, 40, 3), np.uint8), face(5, 5, 30, 30, gender=gender), name="a")
    below = sheet.picture()[_GAP + TILE, _GAP : _GAP + TILE]
    assert (below == COLOURS[gender]).all()


@pytest.mark.parametrize("name", ["a.jpg", "x" * 300 + ".jpg", "女" * 100, "\udcff\udcfe.jpg", "", "a\nb.jpg"])
def test_any_name(name: str) -> None:
    sheet = ContactSheet()
    sheet.add(np.zeros((40, 40, 3), np.uint8), face(5, 5, 30, 30), name=name)
    assert sheet.picture().shape == (tile_height() + 2 * _GAP, TILE + 2 * _GAP, 3)


def test_only_the_first_faces_are_kept() -> None:
    sheet = ContactSheet(limit=5)
    for number in range(1000):
        sheet.add(np.full((20, 20, 3), number % 256, np.uint8), face(5, 5, 10, 10), name=f"{number}.jpg")
    assert (len(sheet), sheet.total) == (5, 1000)
    assert [int(tile(sheet.picture(), *divmod(number, 3))[9, 9, 0]) for number in range(5)] == [0, 1, 2, 3, 4]


def test_no_face_no_sheet() -> None:
    with pytest.raises(ValueError, match="a contact sheet of no face"):
        ContactSheet().picture()
