"""Scores of ages that are known as bins only: is the prediction in the right bin, or in one beside it?"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from agegender.labels import MAX_AGE

Bin = tuple[int, int]
# Predictions are counted in half years, rounded up: bins part at a half year or a whole one, so nothing is lost.
_STEPS = 2 * MAX_AGE + 2
_NO_NUMBER = _STEPS


class BinKeeper:
    """Count predicted ages by true bin. What is between two bins of the data belongs to the nearer (at the middle the
    younger); bins that overlap, as those of several sets may, are no neighbours of each other."""

    def __init__(self) -> None:
        self._counts: dict[Bin, npt.NDArray[np.int64]] = {}

    def update(self, bins: npt.NDArray[np.float64], age: npt.NDArray[np.float64]) -> None:
        """Add n faces: ``bins`` (n, 2) first and last year, ``age`` (n,) predicted years."""
        steps = _steps(age)
        for low, high in np.unique(bins, axis=0).tolist():
            rows = (bins == (low, high)).all(axis=1)
            self._of(int(low), int(high))[:] += np.bincount(steps[rows], minlength=_NO_NUMBER + 1)

    def merge(self, other: BinKeeper) -> None:
        """Add everything that ``other`` has collected."""
        for (low, high), counts in other._counts.items():
            self._of(low, high)[:] += counts

    def compute(self) -> tuple[int, float, float]:
        """Return how many faces there were, the share in the right bin, and that in the right one or one beside it."""
        total = sum(int(counts.sum()) for counts in self._counts.values())
        if not total:
            return 0, math.nan, math.nan
        right = near = 0
        for own, counts in self._counts.items():
            in_own, in_next = self._ranges(own)
            right += int(counts[in_own].sum())
            near += int(counts[in_next].sum())
        return total, right / total, near / total

    def hits(self, bins: npt.NDArray[np.float64], age: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return (n, 2): is each face predicted into the right bin, and into that or one beside it?

        Arguments are those of ``update``, which has to know all bins by then.
        """
        found, steps = np.zeros((len(age), 2), bool), _steps(age)
        for low, high in np.unique(bins, axis=0).tolist():
            rows = (bins == (low, high)).all(axis=1)
            for column, within in enumerate(self._ranges((int(low), int(high)))):
                found[rows, column] = (steps[rows] >= within.start) & (steps[rows] < within.stop)
        return found

    def _ranges(self, own: Bin) -> tuple[slice, slice]:
        """Return the half years that count as ``own``, and those that count as that or as a bin beside it."""
        below, above = self._below(own), self._above(own)
        further_below = below if below is None else self._below(below)
        further_above = above if above is None else self._above(above)
        return (
            _range(_limit(below, own), _limit(own, above)),
            _range(
                None if below is None else _limit(further_below, below),
                None if above is None else _limit(above, further_above),
            ),
        )

    def _of(self, low: int, high: int) -> npt.NDArray[np.int64]:
        return self._counts.setdefault((low, high), np.zeros(_NO_NUMBER + 1, np.int64))

    def _below(self, own: Bin) -> Bin | None:
        return max((other for other in self._counts if other[1] < own[0]), key=lambda other: other[::-1], default=None)

    def _above(self, own: Bin) -> Bin | None:
        return min((other for other in self._counts if other[0] > own[1]), default=None)


def _limit(younger: Bin | None, older: Bin | None) -> int | None:
    """Return the last half year that is nearer to ``younger`` than to ``older``; None where there is only one."""
    return None if younger is None or older is None else younger[1] + older[0]


def _range(after: int | None, until: int | None) -> slice:
    return slice(0 if after is None else after + 1, _NO_NUMBER if until is None else until + 1)


def _steps(age: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return ages (n,) in half years, rounded up; ``_NO_NUMBER`` where one is not finite."""
    known = np.isfinite(age)
    steps = np.full(len(age), _NO_NUMBER, np.int64)
    steps[known] = np.clip(np.ceil(2 * age[known]), 0, _STEPS - 1).astype(np.int64)
    return steps
