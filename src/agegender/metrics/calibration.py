"""How far confidence can be relied on, and the corrections that are fitted on a validation set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from agegender.calibration import SHARE, SMALLEST_PROBABILITY, is_confident
from agegender.errors import DataError
from agegender.labels import MAX_AGE

Floats = npt.NDArray[np.float64]
Binning = Literal["width", "mass"]

BINS = 15
# For each of them an interval is corrected; those between are interpolated.
SHARES = (0.5, SHARE, 0.9, 0.95)
# A temperature beyond these says that the probabilities carry no information, not how sure they are.
TEMPERATURES = (0.05, 20.0)
# Residuals are measured by predicted age, in at most so many bins of at least so many faces.
RESIDUAL_BINS, FACES_PER_BIN = 12, 150


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """``n`` faces whose confidence lies in ``low``..``high``: mean ``confidence`` and share of right ones (``acc``)."""

    low: float
    high: float
    n: int
    confidence: float
    acc: float


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """What ``min_confidence`` leaves: the share of faces ``kept``, and of right genders among them (``acc``)."""

    min_confidence: float
    kept: float
    acc: float


@dataclass(frozen=True, kw_only=True)
class IntervalScores:
    """Of ``n`` ages: the share that the interval holds, its mean width in years, and the interval score in years.

    The score (Gneiting and Raftery, JASA 2007) is the width plus 2 / (1 - share) times the years by which the age is
    missed: lowest for the true quantiles. A figure is nan where no age is known.
    """

    n: int
    coverage: float
    width: float
    score: float


def reliability(
    probabilities: npt.ArrayLike, truth: npt.ArrayLike, *, bins: int = BINS, binning: Binning = "width"
) -> list[ReliabilityBin]:
    """Return the bins that hold faces, by confidence: the probability of the more likely gender.

    ``probabilities`` is (n, 2); ``truth`` (n,) 0 or 1, -1 is left out. ``binning`` "width" cuts 0..1 into equal parts
    (Guo et al., ICML 2017), so that two genders fill the upper half; "mass" puts the same number of faces in each.
    Raises ValueError for another one.
    """
    confidence, right = _confidence(probabilities, truth)
    order = np.argsort(confidence, kind="stable")
    if binning == "mass":
        groups = np.array_split(order, bins)
        edges = [(float(confidence[rows[0]]), float(confidence[rows[-1]])) for rows in groups if len(rows)]
    elif binning == "width":
        number = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
        groups = [np.flatnonzero(number == index) for index in range(bins)]
        edges = [(index / bins, (index + 1) / bins) for index, rows in enumerate(groups) if len(rows)]
    else:
        raise ValueError(f"bins of equal {binning!r} are neither of equal 'width' nor 'mass'")
    filled = [rows for rows in groups if len(rows)]
    return [
        ReliabilityBin(
            low=low, high=high, n=len(rows), confidence=float(confidence[rows].mean()), acc=float(right[rows].mean())
        )
        for (low, high), rows in zip(edges, filled, strict=True)
    ]


def expected_calibration_error(
    probabilities: npt.ArrayLike, truth: npt.ArrayLike, *, bins: int = BINS, binning: Binning = "width"
) -> float:
    """Return the ECE: the mean over faces of their bin's gap between confidence and accuracy; nan without a label.

    Arguments are those of ``reliability``. Where this project states an ECE, it is that of 15 bins of equal width, as
    in Guo et al.; equal mass is the one that few faces upset less.
    """
    table = reliability(probabilities, truth, bins=bins, binning=binning)
    faces = sum(row.n for row in table)
    return sum(row.n * abs(row.confidence - row.acc) for row in table) / faces if faces else math.nan


def negative_log_likelihood(probabilities: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the mean of -log of the true gender's probability, in nats; as ``reliability``, nan without any."""
    values, gender = _known(probabilities, truth)
    if not len(gender):
        return math.nan
    return float(-np.log(np.maximum(values[np.arange(len(gender)), gender], SMALLEST_PROBABILITY)).mean())


def risk_coverage(
    probabilities: npt.ArrayLike, truth: npt.ArrayLike, min_confidences: Sequence[float]
) -> list[Abstention]:
    """Return what abstaining below each of ``min_confidences`` leaves; the rest as ``reliability``; nan without any."""
    values, gender = _known(probabilities, truth)
    right = values.argmax(axis=1) == gender
    rows = []
    for least in min_confidences:
        kept = is_confident(values, least)
        rows.append(Abstention(min_confidence=least, kept=_mean(kept), acc=_mean(right[kept])))
    return rows


def interval_scores(ends: npt.ArrayLike, truth: npt.ArrayLike, *, share: float = SHARE) -> IntervalScores:
    """Score the intervals ``ends`` (n, 2) for ``share``, in years, against ages ``truth`` (n,); -1 is left out."""
    low, high, age = _known_ages(ends, truth)
    missed = np.maximum(low - age, 0) + np.maximum(age - high, 0)
    return IntervalScores(
        n=len(age),
        coverage=_mean(missed == 0),
        width=_mean(high - low),
        score=_mean(high - low + 2 / (1 - share) * missed),
    )


def interval_coverage(ends: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the share of ages ``truth`` (n,) that lie within ``ends`` (n, 2); -1 is left out, nan without any."""
    return interval_scores(ends, truth).coverage


def fit_gender_temperature(probabilities: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the temperature under which ``truth`` is most likely (Guo et al., ICML 2017).

    Arguments are those of ``reliability``. Raises DataError where that is none within 0.05..20: too few faces, all of
    them right, or no better than guessing.
    """
    values, gender = _known(probabilities, truth)
    logs = np.log(np.maximum(values, SMALLEST_PROBABILITY))
    rows = np.arange(len(gender))
    margin = logs[rows, gender] - logs[rows, 1 - gender]

    def slope(inverse: float) -> float:
        """The derivative of the likelihood by 1/T: falls from one end to the other, because that is concave."""
        return float((margin * _sigmoid(-inverse * margin)).sum())

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if not slope(low) > 0 > slope(high):
        acc = _mean(margin > 0)
        raise DataError(
            f"no temperature within {TEMPERATURES[0]:g}..{TEMPERATURES[1]:g} fits the {len(gender)} known genders, of "
            f"which {acc:.1%} are right: it takes more faces, some of them wrong, and a model better than guessing"
        )
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return 2 / (low + high)


def fit_intervals(ends: Mapping[float, npt.ArrayLike], truth: npt.ArrayLike) -> tuple[tuple[float, float], ...]:
    """Return (share, years) by which both ends of each interval move outward so that it holds that share of ages.

    ``ends`` are the uncorrected intervals (n, 2) by share; ``truth`` (n,) ages, -1 is left out. The years are the
    conformal quantile of how far an age lies outside (Romano, Patterson and Candes, Conformalized Quantile Regression,
    NeurIPS 2019): on faces of the same kind the corrected interval then holds at least the share. Raises DataError
    where a share asks for more faces.
    """
    found = []
    for share, each in sorted(ends.items()):
        low, high, age = _known_ages(each, truth)
        # Ends at 0 and at the highest age stay there (Calibration.correct), so nobody lies beyond them.
        low, high = np.where(low <= 0, -np.inf, low), np.where(high >= MAX_AGE, np.inf, high)
        found.append((share, conformal_quantile(np.maximum(low - age, age - high), share)))
    return tuple(found)


def fit_residuals(
    age: npt.ArrayLike, truth: npt.ArrayLike, shares: Sequence[float] = SHARES
) -> tuple[tuple[float, ...], tuple[tuple[float, tuple[float, ...]], ...]]:
    """Return predicted ages, and for each share the half-width in years at each, for a model without a distribution.

    ``age`` (n,) is predicted, ``truth`` (n,) known, -1 is left out. Faces are sorted by predicted age into bins of the
    same number; a bin's half-width is the conformal quantile of its absolute errors, at its mean predicted age. Raises
    DataError where a share asks for more faces.
    """
    years, true = np.asarray(age, np.float64).reshape(-1), np.asarray(truth, np.float64)
    known = true >= 0
    years, true = years[known], true[known]
    order = np.argsort(years, kind="stable")
    count = min(RESIDUAL_BINS, max(1, len(order) // FACES_PER_BIN))
    groups = np.array_split(order, count)
    # Faces of one and the same predicted age may fill several bins.
    middles, first = np.unique([_mean(years[rows]) for rows in groups], return_index=True)
    off = [np.abs(years - true)[groups[index]] for index in first]
    widths = tuple((share, tuple(conformal_quantile(each, share) for each in off)) for share in sorted(shares))
    return tuple(float(middle) for middle in middles), widths


def conformal_quantile(scores: npt.ArrayLike, share: float) -> float:
    """Return the ceil((n + 1) share)-th smallest of ``scores`` (n,): one more is no larger with that probability.

    Raises DataError where n is too small for that.
    """
    values = np.sort(np.asarray(scores, np.float64))
    # Rounded, because 0.95 * 20 must be 19 faces and not 20.
    place = math.ceil(round((len(values) + 1) * share, 9))
    if place > len(values):
        least = math.ceil(round(share / (1 - share), 9))
        raise DataError(f"{len(values)} known ages are too few for the {share:.0%} interval: it takes {least}")
    return float(values[place - 1])


def _confidence(probabilities: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
    values, gender = _known(probabilities, truth)
    return values.max(axis=1), np.asarray(values.argmax(axis=1) == gender)


def _known(probabilities: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the probabilities (k, 2) and genders (k,) of the faces whose gender is known."""
    values, gender = np.asarray(probabilities, np.float64), np.asarray(truth, np.float64)
    if values.shape != (len(gender), 2):
        raise ValueError(f"gender probabilities of shape {values.shape} are not ({len(gender)}, 2)")
    known = gender >= 0
    return values[known], gender[known].astype(np.int64)


def _known_ages(ends: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return low, high and age (k,) of the faces whose age is known."""
    values, age = np.asarray(ends, np.float64), np.asarray(truth, np.float64)
    if values.shape != (len(age), 2):
        raise ValueError(f"intervals of shape {values.shape} are not ({len(age)}, 2)")
    known = age >= 0
    return values[known, 0], values[known, 1], age[known]


def _sigmoid(values: Floats) -> Floats:
    # By tanh: exp would overflow on the sure and wrong ones.
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))


def _mean(values: npt.NDArray[np.generic]) -> float:
    return float(np.mean(values.astype(np.float64))) if len(values) else math.nan
