"""Corrections of confidence: what they do to probabilities and intervals, and how they are kept."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from agegender.age_distribution import age_interval, expected_age
from agegender.calibration import Calibration, check_min_confidence, is_confident, temper
from agegender.errors import CheckpointError, UsageError

pytestmark = pytest.mark.quick

FULL = {
    "epoch": 46,
    "gender_temperature": 1.5,
    "age_shifts": {"0.5": -0.25, "0.8": 1.0},
    "residual_ages": [10.0, 50.0],
    "residual_widths": {"0.5": [1.0, 3.0], "0.8": [2.0, 6.0]},
}


def bell(*middles: float, spread: float = 4.0) -> npt.NDArray[np.float64]:
    """Return distributions (n, 101) around ``middles``."""
    mass = np.exp(-0.5 * ((np.arange(101) - np.array(middles)[:, None]) / spread) ** 2)
    return np.asarray(mass / mass.sum(axis=1, keepdims=True))


def test_without_anything_stored_nothing_changes() -> None:
    nothing = Calibration.from_json({})
    assert nothing == Calibration()
    assert nothing.empty
    assert nothing.to_json() == {}
    genders = np.array([[0.3, 0.7], [1.0, 0.0]])
    np.testing.assert_array_equal(nothing.gender(genders), genders)
    ages = bell(3, 40, 99)
    for share in (0.5, 0.8):
        np.testing.assert_array_equal(nothing.interval(ages, share=share), age_interval(ages, share=share))
    # Far from the mode, where a corrected interval would be stretched to hold it.
    np.testing.assert_array_equal(nothing.interval(ages, age=[90, 90, 90]), age_interval(ages))
    assert nothing.interval(None, age=[30.0]) is None


def test_a_temperature_divides_the_logits() -> None:
    logits = np.array([[2.0, -1.0], [0.5, 3.0], [0.0, 0.0]])
    probabilities = softmax(logits, axis=1)
    for temperature in (0.5, 1.0, 2.5):
        found = Calibration(gender_temperature=temperature).gender(probabilities)
        np.testing.assert_allclose(found, softmax(logits / temperature, axis=1), atol=1e-12)
    certain = temper([[1.0, 0.0]], 2.0)
    assert certain[0, 0] == pytest.approx(1)
    assert 0 < certain[0, 1] < 1e-18


def test_both_ends_move_and_other_shares_lie_between() -> None:
    calibration = Calibration.from_json(FULL)
    ages = bell(40, 60)
    for share, shift in ((0.5, -0.25), (0.8, 1.0), (0.65, 0.375), (0.1, -0.25), (0.99, 1.0)):
        expected = age_interval(ages, share=share) + np.array([-shift, shift])
        np.testing.assert_allclose(calibration.interval(ages, share=share), expected, atol=1e-9)


def test_ends_at_the_edge_of_life_stay_and_the_age_is_held() -> None:
    inward = Calibration(age_shifts=((0.8, -3.0),))
    ages = bell(0, 100, 50, spread=1.0)
    raw = age_interval(ages)
    assert (raw[0, 0], raw[1, 1]) == (0, 100)
    found = inward.interval(ages)
    assert found is not None
    expected = expected_age(ages)
    # One end stays; the other would pass the age, and so does either of the narrow one in the middle.
    np.testing.assert_allclose(found, [[0, expected[0]], [expected[1], 100], [50, 50]], atol=1e-9)
    np.testing.assert_allclose(inward.interval(ages[2:], age=[57.0]), [[52 - 0.2177, 57]], atol=0.6)
    outward = Calibration(age_shifts=((0.8, 200.0),)).interval(bell(50))
    np.testing.assert_array_equal(outward, [[0, 100]])


def test_without_a_distribution_the_residuals_make_the_interval() -> None:
    calibration = Calibration.from_json(FULL)
    ages = np.array([[5.0], [30.0], [60.0]])  # (n, 1), as the net gives them
    np.testing.assert_allclose(calibration.interval(None, age=ages), [[3, 7], [26, 34], [54, 66]])
    np.testing.assert_allclose(calibration.interval(None, age=ages[1:2], share=0.5), [[28, 32]])
    np.testing.assert_allclose(calibration.interval(None, age=ages[1:2], share=0.65), [[27, 33]])
    np.testing.assert_allclose(calibration.interval(None, age=[0.5, 99.0]), [[0, 2.5], [93, 100]])


def test_what_an_interval_needs() -> None:
    with pytest.raises(ValueError, match="an interval needs a distribution or an age"):
        Calibration().interval(None)
    with pytest.raises(ValueError, match=r"share 1\.0 is not between 0 and 1"):
        Calibration.from_json(FULL).interval(None, age=[3.0], share=1.0)


def test_it_is_kept_as_json() -> None:
    calibration = Calibration.from_json(FULL)
    assert calibration.to_json() == FULL
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration
    assert not calibration.empty
    # What else was written down, such as the set, is no business of it.
    assert Calibration.from_json(FULL | {"fitted_on": {"data": "val.rec"}}) == calibration
    reordered = FULL | {"age_shifts": {"0.8": 1, "0.5": -0.25}}
    assert Calibration.from_json(reordered) == calibration


@pytest.mark.parametrize(("epoch", "kept"), [(46, True), (45, False), (None, True)])
def test_it_belongs_to_one_epoch(epoch: int | None, kept: bool) -> None:
    assert Calibration.from_json(FULL, epoch=epoch) == (Calibration.from_json(FULL) if kept else Calibration())
    without = {"gender_temperature": 2.0}
    assert Calibration.from_json(without, epoch=epoch).gender_temperature == 2


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"gender_temperature": "1.2"}, "gender_temperature is '1.2', not a number above 0"),
        ({"gender_temperature": 0}, "gender_temperature is 0, not a number above 0"),
        ({"gender_temperature": True}, "gender_temperature is True, not a number above 0"),
        ({"gender_temperature": float("nan")}, "gender_temperature is nan, not a number above 0"),
        ({"epoch": "46"}, "epoch is '46', not a whole number"),
        ({"age_shifts": [1.0]}, "age_shifts is [1.0], not an object with a member for each share"),
        ({"age_shifts": {"80": 1.0}}, "age_shifts.80 is '80', not a share between 0 and 1"),
        ({"age_shifts": {"most": 1.0}}, "age_shifts.most is 'most', not a share between 0 and 1"),
        ({"age_shifts": {"0.8": None}}, "age_shifts.0.8 is None, not a number of years"),
        ({"residual_ages": 3}, "residual_ages is 3, not a list of numbers"),
        ({"residual_ages": [30, 20]}, "residual_ages is [30.0, 20.0], not a list of rising ages"),
        ({"residual_widths": {"0.8": [1, "2"]}}, "residual_widths.0.8 is [1, '2'], not a list of numbers"),
        ({"residual_widths": {"0.8": [-1]}}, "residual_widths.0.8 is [-1], not a list of widths of at least 0"),
        ({"residual_widths": {"0.8": [1, 2]}}, "residual_widths.0.8 has 2 widths for 0 residual_ages"),
        ({"residual_widths": {"0.8": []}}, "residual_widths.0.8 has 0 widths for 0 residual_ages"),
    ],
)
def test_a_damaged_one_names_its_field(document: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        Calibration.from_json(document, where="m.json: calibration")
    assert str(caught.value) == f"m.json: calibration: {message}"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["0.5", "0.8", "1e999", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([*FULL, "other"]), VALUES, max_size=5))
def test_any_json_is_read_or_refused(document: dict[str, Any]) -> None:
    try:
        calibration = Calibration.from_json(document)
    except CheckpointError as error:
        assert str(error).startswith("calibration: ")
        return
    assert Calibration.from_json(calibration.to_json()).to_json() == calibration.to_json()
    found = calibration.interval(bell(2, 50))
    assert found is not None
    assert ((found[:, 0] >= 0) & (found[:, 0] <= found[:, 1]) & (found[:, 1] <= 100)).all()


def test_who_abstains() -> None:
    genders = [[0.6, 0.4], [0.2, 0.8], [0.5, 0.5]]
    assert is_confident(genders, 0.7).tolist() == [False, True, False]
    assert is_confident(genders, 0.8).tolist() == [False, True, False]
    assert is_confident(genders, 0.5).all()
    for value in (0, 0.5, 1):
        check_min_confidence(value)
    for value in (-0.1, 1.2, float("nan")):
        with pytest.raises(UsageError) as caught:
            check_min_confidence(value, name="--min_confidence")
        assert str(caught.value) == f"--min_confidence {value:g} is not within 0..1 (0: never abstain)"
