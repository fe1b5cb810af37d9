"""Scores by group and by decade."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.metrics import ScoreKeeper, decade_scores, group_scores

pytestmark = pytest.mark.quick


def test_groups_equal_a_keeper_per_group() -> None:
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(-1, 2, 200), rng.integers(-1, 101, 200)], axis=1)
    groups = rng.choice(["b", "a", "", "c"], 200)
    male, age = rng.random(200), rng.random(200) * 100
    found = group_scores(groups, labels=labels, gender_probability=male, age=age)
    assert list(found) == ["a", "b", "c", "unknown"]
    for name, scores in found.items():
        mask = groups == ("" if name == "unknown" else name)
        keeper = ScoreKeeper()
        keeper.update(labels=labels[mask], gender_probability=male[mask], age=age[mask])
        expected = keeper.compute().as_json()
        for figure, value in scores.as_json().items():
            assert value == pytest.approx(expected[figure], nan_ok=True), figure


def test_decades_are_named_by_the_true_age() -> None:
    labels = [[0, 100], [1, 9], [0, 10], [1, -1], [0, 99]]
    found = decade_scores(labels=labels, age=[90, 9, 12, 50, 99])
    assert list(found) == ["0-9", "10-19", "90-99", "100", "unknown"]
    assert found["100"].mae == 10
    assert found["10-19"].mae == 2
    assert found["unknown"].n == 1 and found["unknown"].n_age == 0


def test_no_faces_no_groups() -> None:
    assert group_scores(np.array([], str), labels=np.empty((0, 2)), age=np.empty(0)) == {}
