"""Draws that depend on their place alone, and orders balanced over ages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.pipeline.randomness import uniform
from agegender.pipeline.sampling import (
    age_shares,
    age_weights,
    balance_by_age,
    balance_effect,
    cell_weights,
    group_weights,
)

pytestmark = pytest.mark.quick


def test_draws_are_even_and_independent() -> None:
    draws = uniform(np.arange(20_000), seed=1, epoch=0, streams=(0, 1, 2, 3, 4)).T
    assert draws.min() >= 0 and draws.max() < 1
    for column in draws.T:
        counts = np.bincount((column * 20).astype(int), minlength=20)
        assert np.abs(counts - 1000).max() < 160
        assert abs(np.corrcoef(column[:-1], column[1:])[0, 1]) < 0.03
    assert np.abs(np.corrcoef(draws.T) - np.eye(5)).max() < 0.03


def test_draws_depend_on_seed_epoch_and_place_only() -> None:
    slots = np.arange(100)
    draws = uniform(slots, seed=1, epoch=2, streams=(0, 1, 2))
    np.testing.assert_array_equal(uniform(slots[40:50], seed=1, epoch=2, streams=(0, 1, 2)), draws[:, 40:50])
    np.testing.assert_array_equal(uniform(slots, seed=1, epoch=2, streams=(2, 0)), draws[[2, 0]])
    for seed, epoch in ((1, 3), (2, 2), (2, 1), (-1, 2)):
        assert not (uniform(slots, seed=seed, epoch=epoch, streams=(0, 1, 2)) == draws).any()


def labels_of(counts: dict[int, int]) -> npt.NDArray[np.float64]:
    ages = np.repeat(list(counts), list(counts.values()))
    return np.stack([np.zeros_like(ages), ages], axis=1)


def test_rare_ages_weigh_more_within_bounds() -> None:
    labels = labels_of({30: 4000, 70: 40, -1: 100})
    weights = age_weights(labels)
    common, rare, unknown = (weights[labels[:, 1] == age][0] for age in (30, 70, -1))
    assert rare == pytest.approx(10 * common)
    assert unknown == 1
    assert weights[labels[:, 1] >= 0].mean() == pytest.approx(1)


def test_balanced_order_follows_the_weights() -> None:
    labels = labels_of({20: 900, 60: 100})
    weights = age_weights(labels)
    order = balance_by_age(labels, seed=3, epoch=0)
    assert order.shape == (1000,) and order.dtype == np.int64
    times = np.bincount(order, minlength=1000)
    assert (times >= np.floor(weights * 0.999)).all() and (times <= np.ceil(weights * 1.001)).all()
    assert times[900:].sum() == pytest.approx(weights[900:].sum(), abs=30)


def test_balanced_order_repeats_and_moves_on() -> None:
    labels = labels_of({20: 90, 60: 10})
    np.testing.assert_array_equal(balance_by_age(labels, 1, 0), balance_by_age(labels, 1, 0))
    assert (balance_by_age(labels, 1, 0) != balance_by_age(labels, 1, 1)).any()


def test_unknown_ages_come_once_each() -> None:
    assert balance_by_age(labels_of({-1: 7}), 1, 0).tolist() == list(range(7))


def test_nothing_to_balance() -> None:
    with pytest.raises(ValueError, match="there are no labels to balance"):
        balance_by_age(np.empty((0, 2)), 1, 0)


@given(
    counts=st.dictionaries(st.integers(-1, 100), st.integers(1, 60), min_size=1, max_size=12),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_over_misses_none_and_under_repeats_none(counts: dict[int, int], seed: int, epoch: int) -> None:
    labels = labels_of(counts)
    for balance in ("over", "under", "age"):
        order = balance_by_age(labels, seed, epoch, balance=balance)
        times = np.bincount(order, minlength=len(labels))
        assert len(order) == len(balance_by_age(labels, seed, epoch + 1, balance=balance))
        if balance == "over":
            assert times.min() >= 1
        if balance == "under":
            assert times.max() <= 1


def test_over_and_under_are_the_halves_of_age() -> None:
    labels = labels_of({30: 4000, 70: 40, -1: 100})
    shares = {balance: age_shares(labels, balance=balance) for balance in ("age", "over", "under")}
    by_age = {
        balance: {age: share[labels[:, 1] == age][0] for age in (30, 70, -1)} for balance, share in shares.items()
    }
    assert by_age["over"][30] == 1 and by_age["over"][70] == by_age["age"][70] > 5
    assert by_age["under"][70] == 1 and by_age["under"][30] == by_age["age"][30] < 1
    assert {by_age[balance][-1] for balance in by_age} == {1}


def test_both_genders_come_equally_often_at_each_age() -> None:
    # Far apart, so that smoothing does not mix them: 3 women to a man at 20, a woman to 3 men at 70.
    labels = np.array([[0, 20]] * 300 + [[1, 20]] * 100 + [[0, 70]] * 25 + [[1, 70]] * 75, np.float64)
    weights = group_weights(labels, ["a"] * 500)
    sums = [weights[:300].sum(), weights[300:400].sum(), weights[400:425].sum(), weights[425:].sum()]
    # As many of each age as before.
    assert sums == pytest.approx([200, 200, 50, 50], rel=1e-6)


def test_rare_groups_weigh_more_within_bounds() -> None:
    labels = np.array([[0, 30], [1, 30]] * 404, np.float64)
    groups = ["a"] * 800 + ["b"] * 8
    weights = group_weights(labels, groups)
    assert weights.mean() == pytest.approx(1)
    assert weights[800] / weights[0] == pytest.approx(10)  # a hundredth of the faces
    groups = ["a"] * 804 + ["b"] * 4
    weights = group_weights(labels, groups)
    assert weights[-1] / weights[0] == pytest.approx(10)  # the bound


def test_faces_without_gender_age_or_group_weigh_one() -> None:
    labels = np.array([[0, 30]] * 30 + [[1, 30]] * 10 + [[-1, 30]] * 3 + [[0, -1]] * 3 + [[0, 30]] * 3, np.float64)
    groups = ["a"] * 46 + [""] * 3
    weights = group_weights(labels, groups)
    assert weights[40:].tolist() == [1] * 9
    order = balance_by_age(labels, 1, 0, balance="group", groups=groups)
    shares = age_shares(labels, balance="group", groups=groups)
    assert len(order) == 49 and (np.abs(np.bincount(order, minlength=49) - shares) < 1).all()
    assert shares.tolist() == weights.tolist()
    effect = balance_effect(labels, balance="group", groups=groups)
    assert effect.before[30] == 46 and effect.after[30] == pytest.approx(46, abs=1)


def test_cell_multiplies_age_and_the_rarity_of_gender_and_group() -> None:
    labels = np.array([[0, 30]] * 400 + [[1, 30]] * 100 + [[1, 80]] * 25 + [[0, 30]] * 5, np.float64)
    groups = ["a"] * 500 + ["b"] * 25 + [""] * 5
    weights = cell_weights(labels, groups)
    assert weights.mean() == pytest.approx(1)
    assert weights[400] / weights[0] == pytest.approx(2)  # a quarter as many faces
    by_age = age_weights(labels)
    # A sixteenth as many faces, and a rarer age; the bound is 10.
    assert weights[500] / weights[0] == pytest.approx(min(4 * by_age[500] / by_age[0], 10))
    order = balance_by_age(labels, 1, 0, balance="cell", groups=groups)
    assert len(order) == 530 and (np.abs(np.bincount(order, minlength=530) - weights) < 1).all()


def test_no_groups_to_balance() -> None:
    with pytest.raises(ValueError, match="no face has a gender, an age and a group"):
        balance_by_age(np.array([[0.0, 30.0]]), 1, 0, balance="group", groups=[""])
    with pytest.raises(ValueError, match="no face has a gender and a group"):
        balance_by_age(np.array([[0.0, 30.0]]), 1, 0, balance="cell", groups=[""])


def test_the_effect_counts_ages_before_and_after() -> None:
    labels = labels_of({25: 900, 29: 100, 71: 40, 100: 10, -1: 30})
    effect = balance_effect(labels, balance="over", seed=3)
    order = balance_by_age(labels, 3, 0, balance="over")
    assert effect.before.sum() == 1080 and effect.after.sum() == len(order)
    assert [row[:2] for row in effect.decades()] == [("20-29", 1000), ("70-79", 40), ("90-100", 10), ("unknown", 30)]
    drawn = labels[order, 1]
    assert effect.decades()[0][2] == (drawn // 10 == 2).sum()
    assert effect.decades()[1][2] == (drawn == 71).sum() > 40
    lines = effect.table()
    assert lines[0] == f"balance over: 1,080 faces, {len(order):,} per epoch"
    assert lines[1].startswith("  age   20-29      1,000 -> ")
    rows = [line.split(",") for line in effect.csv().splitlines()]
    assert rows[0] == ["age", "faces", "per_epoch"]
    assert [row[:2] for row in rows[1:]] == [["25", "900"], ["29", "100"], ["71", "40"], ["100", "10"], ["-1", "30"]]
    assert sum(int(row[2]) for row in rows[1:]) == len(order)
