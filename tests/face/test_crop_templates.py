"""Templates: names, pixels, and what is stored with sets and models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agegender.errors import UsageError
from agegender.face.templates import TEMPLATES, Template, get_template

pytestmark = pytest.mark.quick


def test_arcface_is_insightfaces_alignment() -> None:
    expected = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    np.testing.assert_allclose(get_template("arcface").pixels(112), expected)


@pytest.mark.parametrize("name", TEMPLATES)
def test_points_are_a_face(name: str) -> None:
    left_eye, right_eye, nose, left_mouth, right_mouth = get_template(name).points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pytest.mark.parametrize("name", TEMPLATES)
def test_stored_and_read_back(name: str) -> None:
    stored = get_template(name).to_json(112)
    assert stored["size"] == [112, 112]
    assert Template.from_json(stored) == (get_template(name), 112)


@pytest.mark.parametrize(
    ("name", "hint"), [("arcfase", "did you mean 'arcface'? (arcface, utkface)"), ("xyz", "(arcface, utkface)")]
)
def test_unknown_name(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        get_template(name)
    assert str(error.value).startswith(f"unknown crop template {name!r};")
    assert str(error.value).endswith(hint)


POINTS = [[0.1, 0.2]] * 5


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({}, "is not understood (KeyError('name'))"),
        ({"name": "a", "points": "abc", "size": [1, 1]}, "is not understood"),
        ({"name": "a", "points": POINTS, "size": 3}, "is not understood"),
        ({"name": "a", "points": POINTS[:4], "size": [9, 9]}, "has 4 points and size [9, 9]"),
        ({"name": "a", "points": POINTS, "size": [9, 8]}, "has 5 points and size [9, 8]; 5 and a square are needed"),
        ({"name": "a", "points": POINTS, "size": [0, 0]}, "5 and a square are needed"),
    ],
)
def test_damaged_store(stored: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Template.from_json(stored)
    assert message in str(error.value)
