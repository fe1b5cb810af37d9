"""How far confidence can be relied on: against hand-made tables, plain loops and data whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import norm

from agegender.age_distribution import age_interval
from agegender.calibration import Calibration, temper
from agegender.errors import DataError
from agegender.metrics.calibration import (
    conformal_quantile,
    expected_calibration_error,
    fit_gender_temperature,
    fit_intervals,
    fit_residuals,
    interval_coverage,
    interval_scores,
    negative_log_likelihood,
    reliability,
    risk_coverage,
)

pytestmark = pytest.mark.quick

Floats = npt.NDArray[np.float64]


def two(male: npt.ArrayLike) -> Floats:
    """Return probabilities (n, 2) of those of male."""
    values = np.asarray(male, np.float64)
    return np.stack([1 - values, values], axis=1)


def drawn(seed: int, count: int, *, temperature: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return probabilities that are too sure by ``temperature``, and genders drawn from the right ones."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, count)
    truth = (random.random(count) < expit(logits)).astype(np.int64)
    return two(expit(logits * temperature)), truth


def test_a_table_by_hand() -> None:
    # Of ten bins: two faces in 0.6..0.7 (one right), three in 0.9..1 (all right); the unknown one is left out.
    probabilities = two([0.65, 0.35, 0.95, 0.05, 1.0, 0.1])
    truth = [1, 1, 1, 0, 1, -1]
    rows = reliability(probabilities, truth, bins=10)
    assert [(round(row.low, 9), round(row.high, 9), row.n, row.acc) for row in rows] == [
        (0.6, 0.7, 2, 0.5),
        (0.9, 1.0, 3, 1.0),
    ]
    assert [row.confidence for row in rows] == pytest.approx([0.65, (0.95 + 0.95 + 1) / 3])
    assert expected_calibration_error(probabilities, truth, bins=10) == pytest.approx((2 * 0.15 + 0.1) / 5)
    mass = reliability(probabilities, truth, bins=2, binning="mass")
    assert [(row.low, row.high, row.n) for row in mass] == [
        (pytest.approx(0.65), pytest.approx(0.95), 3),
        (pytest.approx(0.95), 1.0, 2),
    ]
    found = expected_calibration_error(probabilities, truth, bins=2, binning="mass")
    assert found == pytest.approx((abs(0.65 + 0.65 + 0.95 - 2) + abs(0.95 + 1 - 2)) / 5)
    with pytest.raises(ValueError, match="bins of equal 'size' are neither of equal 'width' nor 'mass'"):
        reliability(probabilities, truth, binning="size")  # type: ignore[arg-type]


def test_bins_of_equal_width_are_those_of_a_plain_loop() -> None:
    probabilities, truth = drawn(1, 500, temperature=2)
    total = 0.0
    for index in range(15):
        inside = [
            (max(row), int(row[1] > row[0]) == gender)
            for row, gender in zip(probabilities.tolist(), truth.tolist())
            if index / 15 < max(row) <= (index + 1) / 15
        ]
        if inside:
            total += abs(sum(confidence for confidence, _ in inside) - sum(right for _, right in inside))
    assert expected_calibration_error(probabilities, truth) == pytest.approx(total / 500)


def test_without_labels_figures_are_nan_and_shapes_are_checked() -> None:
    nobody = two([0.2, 0.7])
    assert reliability(nobody, [-1, -1]) == []
    assert reliability(nobody, [-1, -1], binning="mass") == []
    assert math.isnan(expected_calibration_error(nobody, [-1, -1]))
    assert math.isnan(negative_log_likelihood(nobody, [-1, -1]))
    assert math.isnan(interval_coverage([[1, 2]], [-1]))
    row = risk_coverage(nobody, [-1, -1], [0.9])[0]
    assert math.isnan(row.kept) and math.isnan(row.acc)
    with pytest.raises(ValueError, match=r"gender probabilities of shape \(2, 2\) are not \(3, 2\)"):
        reliability(nobody, [0, 1, 1])
    with pytest.raises(ValueError, match=r"intervals of shape \(1, 2\) are not \(2, 2\)"):
        interval_coverage([[1, 2]], [1, 2])


def test_likelihood_by_hand() -> None:
    found = negative_log_likelihood(two([0.9, 0.2, 0.5]), [1, 1, -1])
    assert found == pytest.approx(-(math.log(0.9) + math.log(0.2)) / 2)
    assert math.isfinite(negative_log_likelihood(two([0.0]), [1]))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature: float) -> None:
    probabilities, truth = drawn(0, 20_000, temperature=temperature)
    found = fit_gender_temperature(probabilities, truth)
    assert found == pytest.approx(temperature, rel=0.05)
    # scipy's minimum of the likelihood, written down apart, is the same one.
    margins = np.log(probabilities[:, 1] / probabilities[:, 0]) * np.where(truth == 1, 1, -1)
    best = minimize_scalar(lambda each: np.logaddexp(0, -margins / each).sum(), bounds=(0.1, 10), method="bounded")
    assert found == pytest.approx(best.x, rel=1e-3)
    # The right temperature makes other faces calibrated.
    others, genders = drawn(9, 20_000, temperature=temperature)
    assert expected_calibration_error(temper(others, found), genders) < 0.01
    if temperature != 1:
        assert expected_calibration_error(others, genders) > 0.03


@pytest.mark.parametrize(
    ("male", "truth", "message"),
    [
        ([0.9, 0.2], [1, 0], "fits the 2 known genders, of which 100.0% are right: it takes more faces"),
        ([0.9, 0.2, 0.8], [0, 1, 1], "fits the 3 known genders, of which 33.3% are right: it takes more faces"),
        ([0.9], [-1], "fits the 0 known genders, of which nan% are right: it takes more faces"),
    ],
)
def test_where_no_temperature_fits(male: list[float], truth: list[int], message: str) -> None:
    with pytest.raises(DataError) as caught:
        fit_gender_temperature(two(male), truth)
    assert str(caught.value).startswith(f"no temperature within 0.05..20 {message}")


def test_interval_scores_by_hand() -> None:
    found = interval_scores([[10, 20], [10, 20], [10, 20], [0, 1]], [10, 25, 9, -1], share=0.8)
    assert found.n == 3
    assert found.coverage == pytest.approx(1 / 3)
    assert found.width == 10
    assert found.score == pytest.approx(10 + 10 * (5 + 1) / 3)


@pytest.mark.parametrize(("share", "place"), [(0.8, 8), (0.5, 5), (0.9, 9), (0.85, 9)])
def test_the_conformal_quantile_by_its_definition(share: float, place: int) -> None:
    # Of nine scores the ceil(10 * share)-th.
    assert conformal_quantile([3, 1, 2, 6, 5, 4, 9, 8, 7], share) == place


def test_too_few_for_a_share() -> None:
    assert conformal_quantile(range(19), 0.95) == 18
    with pytest.raises(DataError, match="18 known ages are too few for the 95% interval: it takes 19"):
        conformal_quantile(range(18), 0.95)
    with pytest.raises(DataError, match="0 known ages are too few for the 80% interval: it takes 4"):
        fit_intervals({0.8: [[1, 2]]}, [-1])


def test_a_new_score_is_covered_as_often_as_promised() -> None:
    """The guarantee itself: over many small sets, the share of covered new scores is k / (n + 1)."""
    random = np.random.default_rng(0)
    covered = [random.exponential() <= conformal_quantile(random.exponential(size=29), 0.8) for _ in range(4000)]
    assert np.mean(covered) == pytest.approx(24 / 30, abs=4 * math.sqrt(0.16 / 4000))


def people(seed: int, count: int, *, stated: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return distributions of the spread ``stated`` (n, 101) and whole ages with a spread of 5 years around them."""
    random = np.random.default_rng(seed)
    middle = random.uniform(40, 60, count)
    age = np.clip(np.rint(random.normal(middle, 5)), 0, 100).astype(np.int64)
    edges = np.arange(102) - 0.5
    mass = np.diff(norm.cdf(edges[None], middle[:, None], stated), axis=1) + 1e-12
    return mass / mass.sum(axis=1, keepdims=True), age


@pytest.mark.parametrize("stated", [2.0, 5.0, 12.0])
def test_intervals_of_a_model_too_sure_or_too_timid_come_right(stated: float) -> None:
    shares = (0.5, 0.8, 0.9)
    ages, truth = people(3, 4000, stated=stated)
    shifts = fit_intervals({share: age_interval(ages, share=share) for share in shares}, truth)
    calibration = Calibration(age_shifts=shifts)
    assert [share for share, _ in shifts] == list(shares)
    others, new = people(4, 4000, stated=stated)
    for share in shares:
        tolerance = 4 * math.sqrt(2 * share * (1 - share) / 4000) + 0.01
        found = calibration.interval(others, share=share)
        assert found is not None
        assert interval_coverage(found, new) == pytest.approx(share, abs=tolerance)
    # Real quantiles: 1.28 deviations of 5 years to each side.
    raw = 1.2816 * stated
    assert dict(shifts)[0.8] == pytest.approx(1.2816 * 5 - raw, abs=0.5)


def test_on_its_own_faces_a_fit_holds_the_share_to_a_face() -> None:
    """Babies, whose lower end is cut at 0, among them: an inward shift must not leave them outside."""
    ages, truth = people(5, 600, stated=7.0)
    truth[:200] = 1
    babies = np.exp(-np.arange(101) / np.linspace(3, 6, 200)[:, None])
    ages[:200] = babies / babies.sum(axis=1, keepdims=True)
    known = np.where(np.arange(600) % 50 == 0, -1, truth)
    for share in (0.5, 0.8, 0.9, 0.95):
        calibration = Calibration(age_shifts=fit_intervals({share: age_interval(ages, share=share)}, known))
        found = calibration.interval(ages, share=share)
        assert found is not None
        assert share <= interval_coverage(found, known) < share + 0.01


def test_residuals_follow_the_predicted_age() -> None:
    random = np.random.default_rng(8)

    def faces(count: int) -> tuple[Floats, Floats]:
        predicted = random.uniform(10, 90, count)
        return predicted, np.clip(np.rint(random.normal(predicted, predicted / 10)), 0, 100)

    predicted, truth = faces(6000)
    truth[::100] = -1
    ages, widths = fit_residuals(predicted[:, None], truth)
    assert len(ages) == 12
    assert ages == tuple(sorted(ages))
    assert [share for share, _ in widths] == [0.5, 0.8, 0.9, 0.95]
    # A deviation of a tenth of the age.
    np.testing.assert_allclose(dict(widths)[0.8], 1.2816 * np.array(ages) / 10, rtol=0.2)
    calibration = Calibration(residual_ages=ages, residual_widths=widths)
    others, new = faces(6000)
    for share in (0.5, 0.8, 0.9, 0.95):
        found = calibration.interval(None, age=others, share=share)
        assert found is not None
        assert interval_coverage(found, new) == pytest.approx(share, abs=0.03)


def test_residuals_of_one_predicted_age_are_one_bin() -> None:
    ages, widths = fit_residuals(np.full(600, 30.0), 30 + np.arange(600) % 10, shares=(0.8,))
    assert ages == (30,)
    assert dict(widths)[0.8][0] in (7, 8)
    with pytest.raises(DataError, match="3 known ages are too few for the 80% interval: it takes 4"):
        fit_residuals([1.0, 2.0, 3.0], [1, 2, 3])


def test_what_abstaining_leaves() -> None:
    rows = risk_coverage(two([0.55, 0.3, 0.9, 0.99, 0.8]), [0, 0, 1, 1, -1], [0.5, 0.7, 0.95, 1.0])
    assert [(row.min_confidence, row.kept) for row in rows] == [(0.5, 1.0), (0.7, 0.75), (0.95, 0.25), (1.0, 0.0)]
    assert [row.acc for row in rows[:3]] == [0.75, 1.0, 1.0]
    assert math.isnan(rows[3].acc)
