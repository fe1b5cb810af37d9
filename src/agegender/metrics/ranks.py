"""Figures about order alone: whether what is higher in one thing is higher in another."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return Spearman's rank correlation of two (n,), -1..1; ties share their mean rank. nan where either is constant.

    Raises ValueError where the lengths differ.
    """
    a, b = (np.asarray(values, np.float64).reshape(-1) for values in (first, second))
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values beside {len(b)}")
    if not len(a) or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def area_under_roc(values: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """Return how often a value (n,) of those ``positive`` (n,) bool is above one of the others; equal ones count half.

    0.5 is what chance gives; nan where one of the two kinds is missing. Raises ValueError where the lengths differ.
    """
    given, chosen = np.asarray(values, np.float64).reshape(-1), np.asarray(positive, bool).reshape(-1)
    if len(given) != len(chosen):
        raise ValueError(f"{len(given)} values beside {len(chosen)}")
    hits = int(chosen.sum())
    pairs = hits * (len(chosen) - hits)
    if not pairs:
        return math.nan
    return float((_ranks(given)[chosen].sum() - hits * (hits + 1) / 2) / pairs)


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return ranks from 1 on, of equal values their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)
