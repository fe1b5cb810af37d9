"""Rank correlation and the area under the ROC curve, against counting pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.metrics.ranks import area_under_roc, rank_correlation

pytestmark = pytest.mark.quick

SMALL = st.integers(0, 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SMALL, st.booleans()), min_size=2, max_size=30))
def test_the_area_counts_pairs(drawn: list[tuple[int, bool]]) -> None:
    above = [value for value, positive in drawn if positive]
    below = [value for value, positive in drawn if not positive]
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in above for b in below]
    found = area_under_roc([value for value, _ in drawn], [positive for _, positive in drawn])
    assert math.isnan(found) if not pairs else found == pytest.approx(sum(pairs) / len(pairs))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SMALL, SMALL), min_size=2, max_size=30))
def test_ties_share_their_rank(drawn: list[tuple[int, int]]) -> None:
    a, b = zip(*drawn)
    found = rank_correlation(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(scipy.stats.spearmanr(a, b).statistic, abs=1e-12)


def test_without_ties_it_is_the_formula_of_differences() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.permutation(50), rng.permutation(50)
    expected = 1 - 6 * np.square(a - b).sum() / (50 * (50**2 - 1))
    # Order alone counts.
    assert rank_correlation(np.exp(a / 10), b) == pytest.approx(expected)
    assert rank_correlation(a, -a) == pytest.approx(-1)


@pytest.mark.parametrize("figure", [area_under_roc, rank_correlation])
def test_lengths_have_to_be_alike(figure: object) -> None:
    with pytest.raises(ValueError, match="3 values beside 2"):
        figure([1, 2, 3], [True, False])  # type: ignore[operator]
    assert math.isnan(figure([], []))  # type: ignore[operator]
