"""Expected age and its interval from a distribution over ages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def expected_age(distribution: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return (n,) expected ages in years: the sum of age times probability over ``distribution`` (n, ages)."""
    mass = np.asarray(distribution, np.float64)
    return np.asarray(mass @ np.arange(mass.shape[-1], dtype=np.float64))


def age_interval(distribution: npt.ArrayLike, *, share: float = 0.8) -> npt.NDArray[np.float64]:
    """Return (n, 2) ages in years that leave ``(1 - share) / 2`` of the probability outside on each side.

    ``distribution`` is (n, ages), age i at column i, rows that sum to 1 (others are scaled). A whole age i stands for
    i - 0.5 .. i + 0.5, within which the mass is spread evenly, so the ends are fractions of years; they stay within
    0 and the highest age. Raises ValueError where ``share`` is not within 0..1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share} is not between 0 and 1")
    mass = np.asarray(distribution, np.float64)
    cumulated = np.cumsum(mass, axis=1)
    cumulated /= cumulated[:, -1:]
    tail = (1 - share) / 2
    ends = [_quantile(cumulated, tail), _quantile(cumulated, 1 - tail)]
    return np.clip(np.stack(ends, axis=1), 0, mass.shape[1] - 1)


def _quantile(cumulated: npt.NDArray[np.float64], level: float) -> npt.NDArray[np.float64]:
    """Return (n,) ages at which the cumulated probability reaches ``level``."""
    rows = np.arange(len(cumulated))
    # The first age at or beyond the level; rounding may leave the last sum a hair under 1.
    above = np.minimum((cumulated < level).sum(axis=1), cumulated.shape[1] - 1)
    before = np.where(above > 0, cumulated[rows, above - 1], 0.0)
    within = (level - before) / np.maximum(cumulated[rows, above] - before, np.finfo(np.float64).tiny)
    return np.asarray(above - 0.5 + within)
