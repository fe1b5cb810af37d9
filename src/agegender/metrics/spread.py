"""How figures spread over the folds and seeds of a cross-validation."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean of ``n`` values and their sample standard deviation (n - 1 below; nan for less than two values)."""

    mean: float
    std: float
    n: int


def spread(values: Iterable[float | None]) -> Spread:
    """Return mean and deviation of the values that are known (neither None nor nan)."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known:
        return Spread(math.nan, math.nan, 0)
    return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else math.nan, len(known))


def over_folds(values: Sequence[tuple[int, float | None]]) -> tuple[dict[int, Spread], Spread]:
    """Return the spread over seeds in each fold, and that of the folds' means; ``values`` are (fold, value) pairs.

    The seeds of a fold are averaged first: they share its faces, so they are no folds more.
    """
    folds: dict[int, list[float | None]] = defaultdict(list)
    for fold, value in values:
        folds[fold].append(value)
    each = {fold: spread(folds[fold]) for fold in sorted(folds)}
    return each, spread(found.mean for found in each.values())
