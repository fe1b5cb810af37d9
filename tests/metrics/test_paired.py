"""Paired differences against enumeration, scipy and simulated truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from agegender.metrics.paired import holm, mcnemar_p, mean_difference, sign_flip_p, verdict

pytestmark = pytest.mark.quick


def test_the_figures_are_the_means_and_their_roots() -> None:
    a, b = np.array([1.0, 4.0, 9.0, 2.0]), np.array([3.0, 3.0, 3.0, 7.0])
    plain, root = mean_difference(a, b), mean_difference(a, b, kind="root")
    assert (plain.a, plain.b, plain.difference, plain.n, plain.test) == (4.0, 4.0, 0.0, 4, "sign flip")
    assert (root.a, root.b, root.difference) == (2.0, 2.0, 0.0)
    assert plain.low is not None and plain.high is not None and plain.low < 0 < plain.high
    one = mean_difference([2.0], [5.0])
    assert (one.difference, one.low, one.high, one.p, one.n) == (3.0, None, None, None, 1)
    none = mean_difference([], [])
    assert math.isnan(none.difference) and none.n == 0 and none.p is None
    with pytest.raises(ValueError, match="2 values to compare with 1"):
        mean_difference([1], [1, 2])


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 9), (10, 10), (40, 20)])
def test_mcnemar_is_the_sum_of_binomial_terms(only_a: int, only_b: int) -> None:
    a = np.array([1] * only_a + [0] * only_b + [1, 1, 0], bool)
    b = np.array([0] * only_a + [1] * only_b + [1, 1, 0], bool)
    n, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    assert mcnemar_p(a, b) == pytest.approx(min(1.0, 2 * tail))
    if n:
        share = mean_difference(a, b, kind="share")
        assert (share.test, share.p) == ("McNemar", pytest.approx(min(1.0, 2 * tail)))


def test_the_flips_are_near_all_flips_enumerated() -> None:
    differences = np.random.default_rng(2).normal(0.6, 1, 11)
    sums = np.array([np.dot(signs, differences) for signs in itertools.product((-1, 1), repeat=11)])
    exact = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9)
    assert sign_flip_p(differences) == pytest.approx(exact, abs=0.012)
    other = stats.permutation_test(
        (differences, np.zeros(11)), lambda x, y: (x - y).mean(), permutation_type="samples", n_resamples=np.inf
    )
    assert other.pvalue == pytest.approx(exact)
    # No difference at all, and none in one direction: certain, and never 0.
    assert sign_flip_p(np.zeros(9)) == 1.0
    assert sign_flip_p(np.full(100, 0.5)) == pytest.approx(1 / 10_001)


def test_many_faces_are_taken_for_normal() -> None:
    differences = np.random.default_rng(3).exponential(1, 30_000) - 0.99
    assert sign_flip_p(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.005)
    fewer = differences[:19_000]
    assert sign_flip_p(fewer, flips=3000) == pytest.approx(stats.ttest_1samp(fewer, 0).pvalue, abs=0.03)


def test_faces_of_a_person_count_as_one() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(5, 1, 40), rng.normal(5.3, 1, 40)
    people = np.repeat([f"p{number}" for number in range(40)], 6)
    single = mean_difference(a, b)
    # Five copies of every face say nothing new.
    copied = mean_difference(np.repeat(a, 6), np.repeat(b, 6), clusters=people)
    naive = mean_difference(np.repeat(a, 6), np.repeat(b, 6))
    assert copied.p is not None and single.p is not None and naive.p is not None
    assert copied.p == pytest.approx(single.p, abs=0.02)
    assert naive.p < single.p / 3
    widths = [
        each.high - each.low for each in (single, copied, naive) if each.high is not None and each.low is not None
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    assert widths[2] < 0.55 * widths[0]
    # Shares of people aren't independent either: no McNemar.
    assert mean_difference(np.ones(12), np.ones(12), kind="share", clusters=people[:12]).test == "sign flip"


@pytest.mark.parametrize("kind", ["mean", "root"])
def test_the_interval_is_near_that_of_scipy(kind: str) -> None:
    rng = np.random.default_rng(5)
    common = rng.normal(0, 3, 300)
    a, b = np.square(common + rng.normal(0, 1, 300)), np.square(common + rng.normal(0.5, 1, 300))

    def statistic(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        shape = np.sqrt if kind == "root" else np.asarray
        return shape(y.mean(axis=axis)) - shape(x.mean(axis=axis))

    theirs = stats.bootstrap(
        (a, b), statistic, paired=True, n_resamples=3000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    ours = mean_difference(a, b, kind=kind)  # type: ignore[arg-type]
    wide = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.08 * wide)
    assert ours.high == pytest.approx(theirs.high, abs=0.08 * wide)


def test_intervals_hold_the_truth_and_false_alarms_are_few() -> None:
    """Two models whose errors go together: the true difference is known, 0 in every second run."""
    rng = np.random.default_rng(6)
    held, alarms, share_alarms, runs = 0, 0, 0, 240
    for run in range(runs):
        truth = 0.0 if run % 2 else 0.3
        hard = rng.gamma(2, 2, 120)
        a, b = hard + rng.normal(0, 1, 120), hard + truth + rng.normal(0, 1, 120)
        found = mean_difference(a, b, resamples=300, seed=run)
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
        if not truth:
            alarms += sign_flip_p(b - a, flips=1000, seed=run) < 0.05
            right = rng.random(120) < 0.9
            share_alarms += mcnemar_p(right ^ (rng.random(120) < 0.1), right ^ (rng.random(120) < 0.1)) < 0.05
    assert 0.91 <= held / runs <= 0.98
    # 120 runs: two standard deviations around 5%; the exact test is the more careful one.
    assert 0.013 <= alarms / (runs / 2) <= 0.09
    assert share_alarms / (runs / 2) <= 0.07


def test_holm_by_hand_and_its_false_alarms() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.001]) == [0.5, None, pytest.approx(0.002)]
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    tables = np.random.default_rng(7).random((1000, 20))
    # Of tables of twenty true hypotheses 5% raise an alarm; without the correction it would be 64%.
    assert np.mean([min(p for p in holm(row.tolist()) if p is not None) < 0.05 for row in tables]) < 0.07


@pytest.mark.parametrize(
    ("difference", "p", "lower", "word"),
    [
        (-0.2, 0.01, True, "better"),
        (0.2, 0.01, True, "worse"),
        (0.2, 0.01, False, "better"),
        (-0.2, 0.01, False, "worse"),
        (0.2, 0.05, False, "could be chance"),
        (0.0, 0.01, False, "could be chance"),
        (0.2, None, True, "too few"),
    ],
)
def test_verdicts(difference: float, p: float | None, lower: bool, word: str) -> None:
    assert verdict(difference, p, lower_is_better=lower) == word
