"""Bootstrap intervals: against closed forms, SciPy, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap, norm

from agegender.metrics.intervals import (
    bootstrap_sums,
    bootstrap_weights,
    mean_intervals,
    percentile_interval,
    unanimous_reach,
)

pytestmark = pytest.mark.quick


def test_of_a_mean_the_interval_is_about_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3, 2, (500, 1))
    found = percentile_interval(bootstrap_sums(values, resamples=4000)[:, 0] / 500)
    assert found is not None
    reach = norm.ppf(0.975) * values.std() / np.sqrt(500)
    assert found == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.02)


def test_intervals_hold_the_mean_about_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(0), 0
    for seed in range(200):
        found = percentile_interval(bootstrap_sums(rng.normal(3, 1, (80, 1)), resamples=200, seed=seed)[:, 0] / 80)
        assert found is not None
        held += found[0] <= 3 <= found[1]
    assert 0.9 <= held / 200 <= 0.98


def test_subjects_are_drawn_whole_so_that_their_likeness_widens_the_interval() -> None:
    # 40 people of 25 pictures that are all alike are no more than 40 observations.
    people = np.repeat(np.random.default_rng(1).normal(0, 1, 40), 25)[:, None]
    names = np.repeat([f"p{number}" for number in range(40)], 25)
    widths = []
    for clusters in (None, names):
        found = percentile_interval(bootstrap_sums(people, clusters=clusters)[:, 0] / 1000)
        assert found is not None
        widths.append(found[1] - found[0])
    assert widths[1] / widths[0] == pytest.approx(5, rel=0.1)  # the root of 25


def test_sums_are_of_whole_clusters_and_seeded() -> None:
    table = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 5.0]])
    sums = bootstrap_sums(table, clusters=["a", "a", "b"], resamples=50, seed=3)
    assert {tuple(row) for row in sums.tolist()} == {(4.0, 0.0), (2.0, 5.0), (0.0, 10.0)}
    assert np.array_equal(sums, bootstrap_sums(table, clusters=["a", "a", "b"], resamples=50, seed=3))
    assert not np.array_equal(sums, bootstrap_sums(table, clusters=["a", "a", "b"], resamples=50, seed=4))


def test_weights_say_how_often_each_row_is_drawn() -> None:
    drawn = list(bootstrap_weights(4, clusters=["a", "b", "a", "c"], resamples=20))
    assert len(drawn) == 20
    for weights in drawn:
        assert weights[0] == weights[2]
        assert weights[0] + weights[1] + weights[3] == 3
    assert [weights.sum() for weights in bootstrap_weights(6, resamples=5)] == [6] * 5
    assert list(bootstrap_weights(0)) == []


def test_clusters_of_another_length_are_refused() -> None:
    message = r"clusters of shape \(2,\) are not \(3,\)"
    with pytest.raises(ValueError, match=message):
        bootstrap_sums(np.ones((3, 1)), clusters=["a", "b"])
    with pytest.raises(ValueError, match=message):
        list(bootstrap_weights(3, clusters=["a", "b"]))


@given(count=st.integers(1, 5000), share=st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=30, deadline=None)
def test_the_reach_of_unanimous_faces_is_clopper_and_pearsons(count: int, share: float) -> None:
    exact = binomtest(0, count).proportion_ci(share, method="exact")
    assert unanimous_reach(count, share=share) == pytest.approx(exact.high)


def test_what_is_no_number_is_left_out() -> None:
    assert percentile_interval([1.0, np.nan]) is None
    assert percentile_interval([]) is None
    assert percentile_interval([np.nan, *np.linspace(0, 100, 101)], share=0.9) == pytest.approx((5, 95))
    assert bootstrap_sums(np.empty((0, 2)), resamples=7).tolist() == [[0.0, 0.0]] * 7


def test_means_of_columns_are_of_the_rows_that_are_known() -> None:
    values = np.random.default_rng(2).normal(3, 2, (60, 3))
    known = np.ones((60, 3), bool)
    known[20:, 1] = known[1:, 2] = False
    values[~known] = np.nan
    found = mean_intervals(values, known, resamples=3000)
    assert found[2] is None
    for column, n in ((0, 60), (1, 20)):
        sample = (values[:n, column],)
        ends = bootstrap(sample, np.mean, n_resamples=3000, method="percentile", rng=1).confidence_interval
        assert found[column] == pytest.approx(ends, abs=0.1 * (ends.high - ends.low))
    # The same rows are drawn for every column: two that differ by 1 do so at both ends.
    one, other = mean_intervals(np.stack([values[:, 0], values[:, 0] + 1], axis=1), known[:, :2] | True)
    assert one is not None and other is not None
    assert np.subtract(other, one) == pytest.approx([1, 1])
    values[3, 0] = np.nan
    assert mean_intervals(values, known)[0] is None
    with pytest.raises(ValueError, match=r"values of shape \(60, 3\) and known of shape \(60,\) are not one"):
        mean_intervals(values, known[:, 0])
