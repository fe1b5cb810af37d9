"""The score keeper against loops that follow the definitions word for word."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.metrics import LARGEST_CUM, ScoreKeeper, Scores

pytestmark = pytest.mark.quick
Floats = npt.NDArray[np.float64]


def scored(labels: npt.ArrayLike, *, gender: npt.ArrayLike | None = None, age: npt.ArrayLike | None = None) -> Scores:
    keeper = ScoreKeeper()
    keeper.update(labels=labels, gender_probability=gender, age=age)
    return keeper.compute()


def naive(rows: list[tuple[int, int, float, float]]) -> dict[str, float]:
    """Score (gender, age, probability of male, predicted age) one by one."""
    genders = [(truth, int(male > 0.5)) for truth, _, male, _ in rows if truth != -1]
    errors = [age - truth for _, truth, _, age in rows if truth != -1]
    rounded = [round(age) - truth for _, truth, _, age in rows if truth != -1]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values) if values else math.nan

    recalls = [mean([float(truth == guess) for truth, guess in genders if truth == kind]) for kind in (0, 1)]
    figures = {
        "acc": mean([float(truth == guess) for truth, guess in genders]),
        "balanced_acc": mean([recall for recall in recalls if not math.isnan(recall)]),
        "MAE": mean([abs(error) for error in errors]),
        "RMSE": math.sqrt(mean([error**2 for error in errors])) if errors else math.nan,
        "bias": mean(errors),
        "within3_rounded": mean([float(abs(error) <= 3) for error in rounded]),
    }
    for years in range(LARGEST_CUM + 1):
        figures[f"CUM_{years}"] = mean([float(abs(error) <= years) for error in errors])
    return figures


face = st.tuples(
    st.sampled_from([-1, 0, 1]),
    st.integers(-1, 100),
    st.floats(0, 1, allow_nan=False, width=32),
    # Halves and whole years, where <= and rounding matter, besides anything.
    st.one_of(st.integers(0, 200).map(lambda half: half / 2), st.floats(0, 100, width=32)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(face, min_size=1, max_size=40), st.integers(1, 7))
def test_scores_equal_the_naive_loop_in_any_batches(rows: list[tuple[int, int, float, float]], step: int) -> None:
    keeper = ScoreKeeper()
    for first in range(0, len(rows), step):
        part = np.array(rows[first : first + step], np.float64)
        keeper.update(labels=part[:, :2], gender_probability=part[:, 2], age=part[:, 3])
    found = keeper.compute().as_json()
    expected = naive(rows)
    for name, value in expected.items():
        if math.isnan(value):
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name
    assert found["n"] == len(rows)
    assert found["n_gender"] == sum(row[0] >= 0 for row in rows)
    assert found["n_age"] == sum(row[1] >= 0 for row in rows)


def test_figures_by_hand() -> None:
    scores = scored([[1, 30], [0, 20], [0, 50], [-1, -1]], gender=[0.9, 0.8, 0.1, 0.5], age=[35, 20.4, 33.6, 70])
    assert scores.acc == pytest.approx(2 / 3)
    assert scores.balanced_acc == pytest.approx(0.75)
    assert scores.mae == pytest.approx((5 + 0.4 + 16.4) / 3)
    assert scores.bias == pytest.approx((5 + 0.4 - 16.4) / 3)
    assert scores.cum[0] == 0
    assert scores.cum[4] == pytest.approx(1 / 3)
    assert scores.cum[5] == pytest.approx(2 / 3)
    assert scores.cum[15] == pytest.approx(2 / 3)
    assert scores.within3_rounded == pytest.approx(1 / 3)
    assert (scores.n, scores.n_gender, scores.n_age) == (4, 3, 3)


def test_older_convention_rounds_first() -> None:
    scores = scored([[0, 30]], age=[33.4])
    assert scores.within3_rounded == 1
    assert scores.cum[3] == 0


def test_two_columns_equal_one() -> None:
    male = np.array([0.2, 0.5, 0.7])
    labels = [[0, -1], [0, -1], [1, -1]]
    assert scored(labels, gender=male).acc == 1
    assert scored(labels, gender=np.stack([1 - male, male], axis=1)).acc == 1


def test_nothing_known_is_nan() -> None:
    scores = scored([[-1, -1]], gender=[0.9], age=[[30.0]])
    assert math.isnan(scores.acc) and math.isnan(scores.balanced_acc) and math.isnan(scores.mae)
    assert all(math.isnan(share) for share in scores.cum.values())
    assert scores.as_json()["CUM_5"] is None


def test_a_head_that_is_not_given_is_not_scored() -> None:
    scores = scored([[1, 30]], age=[30])
    assert math.isnan(scores.acc) and scores.mae == 0 and scores.n_gender == 0


def test_a_net_that_gives_nan_is_wrong() -> None:
    scores = scored([[0, 30], [1, 30]], gender=[math.nan, math.nan], age=[math.nan, 30])
    assert scores.acc == 0
    assert scores.cum[15] == 0.5
    assert math.isnan(scores.mae)


def test_reset_and_merge() -> None:
    one, other, both = ScoreKeeper(), ScoreKeeper(), ScoreKeeper()
    for keepers, labels, age in (((one, both), [[1, 30]], [33]), ((other, both), [[0, 40]], [41.5])):
        for keeper in keepers:
            keeper.update(labels=labels, gender_probability=[0.6], age=age)
    one.merge(other)
    assert one.compute() == both.compute()
    both.reset()
    assert both.compute().n == 0


@pytest.mark.parametrize(
    ("labels", "gender", "age", "message"),
    [
        ([1, 2], None, None, "labels of shape (2,) are not (n, 2): gender, age"),
        ([[1, 2]], None, [1, 2], "2 ages for 1 labels"),
        ([[1, 2]], [0.1, 0.2], None, "2 gender probabilities for 1 labels"),
        ([[1, 2]], [[0.1, 0.2, 0.7]], None, "gender probabilities of shape (1, 3) are neither (n,) nor (n, 2)"),
    ],
)
def test_shapes_that_do_not_fit(labels: list[int], gender: list[float], age: list[float], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        scored(labels, gender=gender, age=age)
    assert str(caught.value) == message
