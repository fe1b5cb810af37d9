"""How sure a figure is: bootstrap intervals over images, or over subjects where they are known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
RESAMPLES = 1000
SHARE = 0.95
# Numbers of a chunk of resamples that are held at a time.
_CHUNK = 4_000_000


def bootstrap_sums(
    values: npt.ArrayLike, *, clusters: npt.ArrayLike | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Return the column sums (resamples, k) of resampled ``values`` (n, k).

    Drawn with replacement are rows, or whole ``clusters`` (n,) of rows, such as the subjects (Efron and Tibshirani,
    1993). A figure that is a function of sums (a mean, a share) is the same function of these. Raises ValueError where
    the lengths differ.
    """
    table = np.asarray(values, np.float64)
    if clusters is not None:
        names = np.asarray(clusters)
        if names.shape != (len(table),):
            raise ValueError(f"clusters of shape {names.shape} are not ({len(table)},)")
        unique, member = np.unique(names, return_inverse=True)
        sums = np.zeros((len(unique), table.shape[1]))
        np.add.at(sums, member, table)
        table = sums
    if not len(table):
        return np.zeros((resamples, table.shape[1]))
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(table))
    share = np.full(len(table), 1 / len(table))
    parts = [
        rng.multinomial(len(table), share, size=min(step, resamples - first)) @ table
        for first in range(0, resamples, step)
    ]
    return np.concatenate(parts)


def mean_intervals(
    values: npt.ArrayLike,
    known: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[tuple[float, float] | None]:
    """Return the 95% interval of the mean of each column of ``values`` (n, k) over the rows that are ``known`` (n, k).

    The same rows, or whole ``clusters`` (n,) of them, are drawn for all columns. None where fewer than two rows are
    known, or a known value is no number. Raises ValueError where the shapes differ.
    """
    table, counted = np.asarray(values, np.float64), np.asarray(known, bool)
    if table.shape != counted.shape or table.ndim != 2:
        raise ValueError(f"values of shape {table.shape} and known of shape {counted.shape} are not one (n, k)")
    both = np.concatenate([np.where(counted, table, 0), counted], axis=1)
    sums, seen = np.split(bootstrap_sums(both, clusters=clusters, resamples=resamples, seed=seed), 2, axis=1)
    drawn = np.divide(sums, seen, out=np.full(sums.shape, np.nan), where=seen > 0)
    return [
        percentile_interval(column) if count > 1 else None
        for column, count in zip(drawn.T, counted.sum(axis=0), strict=True)
    ]


def bootstrap_weights(
    count: int, *, clusters: npt.ArrayLike | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[Floats]:
    """Yield how often each of ``count`` rows is drawn (count,), resample by resample; drawn as by ``bootstrap_sums``.

    For figures that no sums give, such as the area under a curve. Raises ValueError where the lengths differ.
    """
    member = np.arange(count)
    if clusters is not None:
        names = np.asarray(clusters)
        if names.shape != (count,):
            raise ValueError(f"clusters of shape {names.shape} are not ({count},)")
        member = np.unique(names, return_inverse=True)[1]
    units = int(member.max()) + 1 if count else 0
    rng = np.random.default_rng(seed)
    for _ in range(resamples if units else 0):
        yield rng.multinomial(units, np.full(units, 1 / units)).astype(np.float64)[member]


def unanimous_reach(count: int, *, share: float = SHARE) -> float:
    """Return how far from 0 (or 1) a share may truly be that came out as 0 (or 1) of ``count`` independent ones.

    A bootstrap of equal outcomes is no wider than nothing; this is the end of Clopper and Pearson's interval (1934).
    """
    return float(1 - ((1 - share) / 2) ** (1 / count))


def percentile_interval(samples: npt.ArrayLike, *, share: float = SHARE) -> tuple[float, float] | None:
    """Return the central ``share`` of ``samples`` (b,), those that are no number left out; None with fewer than two."""
    found = np.asarray(samples, np.float64)
    found = found[np.isfinite(found)]
    if len(found) < 2:
        return None
    low, high = np.quantile(found, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
