"""Expected age and interval from a distribution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agegender.metrics import age_interval, expected_age

pytestmark = pytest.mark.quick


def one_age(age: int) -> npt.NDArray[np.float64]:
    distribution = np.zeros((1, 101))
    distribution[0, age] = 1
    return distribution


@pytest.mark.parametrize(("age", "ends"), [(30, (29.6, 30.4)), (0, (0.0, 0.4)), (100, (99.6, 100.0))])
def test_a_certain_age(age: int, ends: tuple[float, float]) -> None:
    assert age_interval(one_age(age))[0] == pytest.approx(ends)
    assert expected_age(one_age(age))[0] == age


def test_an_even_decade() -> None:
    distribution = np.zeros((1, 101))
    distribution[0, 20:30] = 0.1
    assert age_interval(distribution, share=0.8)[0] == pytest.approx((20.5, 28.5))
    assert age_interval(distribution, share=0.5)[0] == pytest.approx((22.0, 27.0))


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(np.float64, (3, 101), elements=st.floats(0, 1)), st.floats(0.05, 0.95))
def test_the_interval_holds_its_share(mass: npt.NDArray[np.float64], share: float) -> None:
    mass[:, 40] += 0.01
    distribution = mass / mass.sum(axis=1, keepdims=True)
    for (low, high), row in zip(age_interval(distribution, share=share), distribution):
        assert 0 <= low <= high <= 100
        # The mass between the ends, each whole age spread over its year; half years are cut off at 0 and 100.
        overlap = np.clip(np.minimum(np.arange(101) + 0.5, high) - np.maximum(np.arange(101) - 0.5, low), 0, 1)
        cut = (row[0] if low == 0 else 0) + (row[100] if high == 100 else 0)
        inside = float(overlap @ row)
        assert share - cut - 1e-6 <= inside <= share + 1e-6


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        age_interval(one_age(30), share=share)
