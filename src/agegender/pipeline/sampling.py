"""Orders other than every record once: balanced over ages and groups, and what that does to a set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agegender.labels import AGE_CLASSES, FEMALE, MALE, MAX_AGE
from agegender.pipeline.randomness import generator

# Ages within a few years count as one another's company: an age with two photos among well-filled neighbours is not
# rare (label distribution smoothing, Yang et al., ICML 2021).
SMOOTHING_YEARS = 2.0
# No record comes more often than this times the least frequent one, or a handful of faces would be learned by heart.
LARGEST_RATIO = 10.0


def age_weights(labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return (n,) weights of mean 1 that make rare ages come more often.

    ``labels`` is (n, 2 or more): gender, age in years. The weight is the inverse square root of how common the age is,
    after smoothing over neighbouring ages; records of unknown age (-1) weigh 1.
    """
    ages = np.asarray(labels, np.float64)[:, 1]
    known = ages >= 0
    weights = np.ones(len(ages))
    if not known.any():
        return weights
    whole = np.clip(ages[known], 0, MAX_AGE).astype(np.int64)
    inverse = 1 / np.sqrt(_density(whole)[whole])
    inverse = np.minimum(inverse, inverse.min() * LARGEST_RATIO)
    weights[known] = inverse / inverse.mean()
    return weights


def group_weights(labels: npt.ArrayLike, groups: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return (n,) weights of mean 1 that bring both genders equally often at every age, and rare groups more often.

    The inverse of how common a gender is among faces of about that age (smoothed as in ``age_weights``), times the
    inverse square root of how common the group is. Ages come as often as before. Faces of unknown gender or age, or of
    no group (""), weigh 1. Raises ValueError where no face has all three.
    """
    table = np.asarray(labels, np.float64)
    names = np.asarray(groups, str)
    known = (table[:, 0] >= 0) & (table[:, 1] >= 0) & (names != "")
    if not known.any():
        raise ValueError("no face has a gender, an age and a group")
    genders = table[known, 0].astype(np.int64)
    years = np.clip(table[known, 1], 0, MAX_AGE).astype(np.int64)
    densities = np.stack([_density(years[genders == gender]) for gender in (FEMALE, MALE)])
    share = densities / densities.sum(axis=0)
    _, group, counts = np.unique(names[known], return_inverse=True, return_counts=True)
    raw = 1 / share[genders, years] / np.sqrt(counts[group])
    raw = np.minimum(raw, raw.min() * LARGEST_RATIO)
    weights = np.ones(len(table))
    # As often as before at each age: what is balanced here is not to shift the estimated ages.
    weights[known] = raw * (_density(years) / _density(years, raw))[years]
    weights[known] /= weights[known].mean()
    return weights


def _density(years: npt.NDArray[np.int64], weights: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.float64]:
    """Return (101,) how many of ``years`` (n,), each counted ``weights`` times, are about each age."""
    ages = np.arange(AGE_CLASSES)
    kernel = np.exp(-0.5 * ((ages[:, None] - ages) / SMOOTHING_YEARS) ** 2)
    counts = np.bincount(years, weights, minlength=AGE_CLASSES)
    return np.asarray((kernel / kernel.sum(axis=0)) @ counts, np.float64)


def cell_weights(labels: npt.ArrayLike, groups: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return (n,) weights of mean 1 that make rare cells of gender x group come more often, beside rare ages.

    The weight of the age (``age_weights``) times the inverse square root of how many faces a cell has; faces of unknown
    gender or of no group ("") have the weight of their age alone. Raises ValueError where no face has both.
    """
    genders = np.asarray(labels, np.float64)[:, 0]
    names = np.asarray(groups, str)
    known = (genders >= 0) & (names != "")
    if not known.any():
        raise ValueError("no face has a gender and a group")
    cells = np.stack([genders[known].astype(str), names[known]])
    _, cell, counts = np.unique(cells, axis=1, return_inverse=True, return_counts=True)
    inverse = 1 / np.sqrt(counts[cell.reshape(-1)])
    inverse = np.minimum(inverse, inverse.min() * LARGEST_RATIO)
    weights = age_weights(labels)
    weights[known] *= inverse / inverse.mean()
    weights = np.minimum(weights, weights.min() * LARGEST_RATIO)
    return np.asarray(weights / weights.mean(), np.float64)


def age_shares(labels: npt.ArrayLike, *, balance: str, groups: Sequence[str] = ()) -> npt.NDArray[np.float64]:
    """Return (n,) how often each record comes in an epoch, on average.

    ``age``: its weight (``age_weights``), 1 on average. ``over`` is the half of it that repeats: at least 1; ``under``
    the half that leaves out: at most 1. Unknown ages come once each, whatever the way. ``group`` balances genders and
    ``groups``, one per record, instead (``group_weights``), ``cell`` them and the ages (``cell_weights``).
    """
    if balance == "group":
        return group_weights(labels, groups)
    if balance == "cell":
        return cell_weights(labels, groups)
    weights = age_weights(labels)
    if balance == "over":
        return np.maximum(weights, 1)
    return np.minimum(weights, 1) if balance == "under" else weights


def balance_by_age(
    labels: npt.ArrayLike, seed: int, epoch: int, *, balance: str = "age", groups: Sequence[str] = ()
) -> npt.NDArray[np.int64]:
    """Return positions for one epoch in which rare ages come more often, sorted; the loader shuffles them.

    ``balance`` is age, group or cell (n positions), over (at least n: every record comes) or under (at most n: none
    comes twice); every epoch has equally many. ``groups`` has the group of each record, for group and cell. Systematic
    resampling: a record of share s (``age_shares``) comes floor(s) or ceil(s) times, which of the two depends on (seed,
    epoch) alone. Raises ValueError without labels, and for group and cell without groups.
    """
    if len(np.asarray(labels)) == 0:
        raise ValueError("there are no labels to balance")
    weights = age_shares(labels, balance=balance, groups=groups)
    count = _epoch_length(weights, balance=balance)
    # Records trade places each epoch, or the same neighbours would always share one draw.
    rng = generator(seed=seed, epoch=epoch)
    order = rng.permutation(len(weights))
    edges = np.cumsum(weights[order])
    points = (np.arange(count) + rng.random()) * (edges[-1] / count)
    return np.sort(order[np.minimum(np.searchsorted(edges, points, side="right"), len(weights) - 1)])


def _epoch_length(shares: npt.NDArray[np.float64], *, balance: str) -> int:
    """Return how many faces an epoch has; rounded so that no record is missed by over, or comes twice by under."""
    if balance in ("age", "group", "cell"):
        return len(shares)
    total = float(shares.sum())
    whole = round(total)
    if math.isclose(total, whole, rel_tol=1e-9):
        return whole
    return math.ceil(total) if balance == "over" else math.floor(total)


@dataclass(frozen=True, slots=True)
class BalanceEffect:
    """Faces by age ``before`` and ``after`` balancing, int64 (102,): the years 0..100, then those of unknown age."""

    balance: str
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]

    def decades(self) -> list[tuple[str, int, int]]:
        """Return (ages such as 20-29, faces before, after), the decades with faces; 100 counts with the nineties."""
        decade = np.minimum(np.arange(AGE_CLASSES) // 10, 9)
        before, after = (np.bincount(decade, counts[:-1], minlength=10).astype(int).tolist() for counts in self._both())
        names = [f"{10 * ten}-{10 * ten + 9 if ten < 9 else MAX_AGE}" for ten in range(10)]
        rows: list[tuple[str, int, int]] = list(zip(names, before, after))
        rows.append(("unknown", int(self.before[-1]), int(self.after[-1])))
        return [row for row in rows if row[1]]

    def table(self) -> list[str]:
        """Return the lines of a table of ``decades``, under a heading."""
        before, after = (int(counts.sum()) for counts in self._both())
        lines = [f"balance {self.balance}: {before:,} faces, {after:,} per epoch"]
        for ages, faces, drawn in self.decades():
            lines.append(f"  age {ages:>7}  {faces:>9,} -> {drawn:>9,}  x {drawn / faces:.2f}")
        return lines

    def csv(self) -> str:
        """Return a row per age that has faces: ``age,faces,per_epoch``; unknown ages as -1."""
        rows = [f"{age if age < AGE_CLASSES else -1},{b},{a}" for age, (b, a) in enumerate(zip(*self._both())) if b]
        return "\n".join(["age,faces,per_epoch", *rows]) + "\n"

    def _both(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return self.before, self.after


def balance_effect(labels: npt.ArrayLike, *, balance: str, seed: int = 0, groups: Sequence[str] = ()) -> BalanceEffect:
    """Count the ages of ``labels`` (n, 2 or more) before, and in the first epoch after balancing."""
    ages = np.asarray(labels, np.float64)[:, 1]
    years = np.where(ages >= 0, np.clip(ages, 0, MAX_AGE), AGE_CLASSES).astype(np.int64)
    drawn = years[balance_by_age(labels, seed, 0, balance=balance, groups=groups)]
    return BalanceEffect(balance, *(np.bincount(part, minlength=AGE_CLASSES + 1) for part in (years, drawn)))
