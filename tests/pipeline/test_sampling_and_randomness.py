"""Draws that depend on their place alone, and orders balanced over ages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from agegender.pipeline.randomness import uniform
from agegender.pipeline.sampling import age_weights, balance_by_age

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
