"""Bin accuracy and 1-off, against a plain count face by face."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agegender.dataset.sources.bins import ADIENCE_8
from agegender.metrics import ScoreKeeper

Scored = tuple[int, float, float]


def score(bins: list[tuple[float, float]], age: list[float]) -> ScoreKeeper:
    keeper = ScoreKeeper()
    labels = [[-1, (low + high) // 2, low, high, -1] for low, high in bins]
    keeper.update(labels=labels, age=age)
    return keeper


def plain(bins: list[tuple[int, int]], age: list[float]) -> Scored:
    """Count by looking for the nearest bin of a list without overlaps, the younger of two."""
    known = sorted(set(bins))
    right = near = 0
    for own, years in zip(bins, age):
        gaps = [max(low - years, years - high, 0) for low, high in known]
        found = gaps.index(min(gaps))
        right += known[found] == own
        near += abs(found - known.index(own)) <= 1
    return len(bins), right / len(bins), near / len(bins)


@pytest.mark.parametrize(
    ("age", "right", "near"),
    [(26.0, 1, 1), (25, 1, 1), (22.5, 0, 1), (22.51, 1, 1), (35.0, 1, 1), (35.01, 0, 1), (45.5, 0, 1), (45.51, 0, 0)],
)
def test_between_two_bins_the_nearer_one_counts(age: float, right: int, near: int) -> None:
    others = [(low, high) for low, high in ADIENCE_8 if (low, high) != (25, 32)]
    middles = [(low + high) / 2 for low, high in others]
    scores = score([(25, 32), *others], [age, *middles]).compute()
    assert (scores.n_bin, scores.bin_acc, scores.bin_1off) == (8, (7 + right) / 8, (7 + near) / 8)


@given(st.data())
def test_it_is_what_counting_face_by_face_gives(data: st.DataObject) -> None:
    bins = data.draw(st.lists(st.sampled_from(ADIENCE_8), min_size=1, max_size=40))
    age = [
        data.draw(st.one_of(st.floats(0, 100), st.integers(0, 200).map(lambda half: half / 2))) for _ in bins
    ]  # fmt: skip
    scores = score(list(bins), age).compute()
    assert (scores.n_bin, scores.bin_acc, scores.bin_1off) == plain(list(bins), age)


def test_faces_with_bins_are_in_no_figure_in_years() -> None:
    keeper = ScoreKeeper()
    labels = np.array([[0, 80, 60, 100, -1], [1, 30, -1, -1, -1], [1, 30, -1, -1, 4.0], [1, -1, -1, -1, -1]])
    keeper.update(labels=labels, age=[62, 33, 30, 50], gender_probability=[0.1, 0.9, 0.9, 0.1])
    scores = keeper.compute()
    assert (scores.n, scores.n_gender, scores.n_age, scores.n_bin) == (4, 4, 2, 1)
    assert (scores.mae, scores.acc, scores.bin_acc) == (1.5, 0.75, 1.0)
    assert scores.as_json()["n_bin"] == 1
    assert scores.as_json()["bin_1off"] == 1.0


def test_without_bins_nothing_is_said_of_them() -> None:
    keeper = ScoreKeeper()
    keeper.update(labels=[[0, 30]], age=[31])
    assert "bin_acc" not in keeper.compute().as_json()
    assert math.isnan(keeper.compute().bin_acc)


@pytest.mark.parametrize("age", [math.nan, math.inf, -math.inf])
def test_a_prediction_that_is_no_number_is_wrong(age: float) -> None:
    scores = score([(0, 2), (60, 100)], [age, 70]).compute()
    assert (scores.bin_acc, scores.bin_1off) == (0.5, 0.5)


def test_bins_of_two_sets_that_overlap_are_no_neighbours() -> None:
    # 25-32 of one set and 20-29, 30-39 of another: 31 is right for the first and the third, one off for the second.
    scores = score([(25, 32), (20, 29), (30, 39)], [31, 31, 31]).compute()
    assert (scores.bin_acc, scores.bin_1off) == (2 / 3, 1.0)


def test_keepers_add_up_and_forget() -> None:
    one, other = score([(0, 2), (4, 6)], [1, 1]), score([(4, 6), (8, 12)], [5, 100])
    one.merge(other)
    scores = one.compute()
    assert (scores.n_bin, scores.bin_acc, scores.bin_1off) == (4, 0.75, 1.0)
    one.reset()
    assert one.compute().n_bin == 0


def test_all_ages_of_a_bin_are_in_it() -> None:
    for low, high in ADIENCE_8:
        inside: npt.NDArray[np.float64] = np.arange(low, high + 0.25, 0.25)
        faces = [*[(low, high)] * len(inside), *ADIENCE_8]
        scores = score(list(faces), [*inside, *[sum(ages) / 2 for ages in ADIENCE_8]]).compute()
        assert scores.bin_acc == 1.0
