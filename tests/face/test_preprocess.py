"""From crops to a net's input: our convention, and those of others."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from agegender.errors import UsageError
from agegender.face.preprocess import InputSpec, to_input

pytestmark = pytest.mark.quick

# One pixel of red 10, green 20, blue 30 beside one of 255, 0, 128.
CROP = np.array([[[[10, 20, 30], [255, 0, 128]]]], np.uint8)
OURS = {"shape": [3, 64, 48], "colour": "RGB", "range": [0, 255]}


def test_our_nets_take_the_crop_as_it_is() -> None:
    spec = InputSpec.from_info(OURS)
    assert spec == InputSpec((64, 48))
    assert spec.to_info() == OURS
    for data in (to_input(CROP), to_input(CROP, spec)):
        assert data.dtype == np.float32
        assert data.flags.c_contiguous
        assert data.tolist() == [[[[10, 255]], [[20, 0]], [[30, 128]]]]


def test_bgr_brought_to_minus_one_to_one() -> None:
    spec = InputSpec.from_info({"shape": [3, 1, 2], "colour": "BGR", "mean": 127.5, "scale": 1 / 127.5})
    data = to_input(CROP, spec)
    assert data.shape == (1, 3, 1, 2)
    assert data[0, 0, 0].tolist() == pytest.approx([30 / 127.5 - 1, 128 / 127.5 - 1])
    assert data[0, 2, 0].tolist() == pytest.approx([10 / 127.5 - 1, 1])


def test_means_come_in_the_nets_order_of_colours() -> None:
    """VGG's means, blue first."""
    spec = InputSpec.from_info({"shape": [3, 1, 2], "colour": "BGR", "mean": [104, 117, 123]})
    assert to_input(CROP, spec)[0, :, 0, 0].tolist() == [30 - 104, 20 - 117, 10 - 123]
    assert spec.to_info()["range"] == [-123, 151]


@pytest.mark.parametrize(("reach", "values"), [([0, 1], [10 / 255, 1]), ([-1, 1], [10 / 127.5 - 1, 1])])
def test_a_range_alone_says_it_too(reach: list[int], values: list[float]) -> None:
    spec = InputSpec.from_info({"shape": [3, 1, 2], "colour": "RGB", "range": reach})
    assert to_input(CROP, spec)[0, 0, 0].tolist() == pytest.approx(values, abs=1e-6)


def test_the_crop_is_left_alone() -> None:
    crop = CROP.copy()
    to_input(crop, InputSpec((1, 2), "BGR", (1.0, 2.0, 3.0), (2.0, 2.0, 2.0)))
    assert np.array_equal(crop, CROP)


def test_descriptions_survive_json() -> None:
    spec = InputSpec((112, 112), "BGR", (104.0, 117.5, 123.0), (0.0078125, 1.0, 2.0))
    assert InputSpec.from_info(json.loads(json.dumps(spec.to_info()))) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": None}, "input.shape is None, not [3, height, width]"),
        ({"shape": [3, 64]}, "input.shape is [3, 64], not [3, height, width]"),
        ({"shape": [1, 64, 64]}, "nets on 1 channels are not supported, only on 3"),
        ({"colour": "grey"}, "input.colour is 'grey' (RGB, BGR)"),
        ({"mean": "127.5"}, "input.mean is '127.5', neither a number nor three, one per channel"),
        ({"scale": [1, 2]}, "input.scale is [1, 2], neither a number nor three"),
        ({"scale": 0}, "input.scale is 0: with 0 nothing is left of a picture"),
        ({"range": [1]}, "input.range is [1], not [low, high]"),
        ({"range": [1, 0]}, "input.range is [1, 0]: the second number must be the larger one"),
    ],
)
def test_wrong_descriptions_name_the_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        InputSpec.from_info(OURS | change)
    assert message in str(error.value)
