"""Whether two predictions of the same faces differ: paired intervals, tests, and what is left of many of them.

Faces are paired, because two models err on the same ones: the interval and the test are about the differences per face,
which vary far less than each model's own errors do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from agegender.metrics.intervals import RESAMPLES, bootstrap_sums, percentile_interval

Floats = npt.NDArray[np.float64]
Kind = Literal["share", "mean", "root"]
FLIPS = 10_000
# From so many units on the sum of flipped differences is taken for normal, which it then is to three digits.
NORMAL_FROM = 20_000
LEVEL = 0.05
# Numbers of a chunk of flips that are held at a time.
_CHUNK = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A figure of A and of B over the same ``n`` faces, ``difference`` B - A, and its 95% interval ``low``..``high``.

    ``p`` is two-sided, of the hypothesis that A and B are the same; ``test`` names how it was found. Figures are nan,
    and the interval and ``p`` None, where too few faces are known.
    """

    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    test: str


def mean_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    kind: Kind = "mean",
    clusters: npt.ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Compare the means of ``a`` and ``b`` (n,), which for ``kind`` "share" are 0 or 1; "root" takes the means' roots.

    The interval is a paired bootstrap over faces, or whole ``clusters`` (n,) of them such as people. ``p``: McNemar's
    exact test for shares without clusters, else ``sign_flip_p`` on the differences. Raises ValueError where the lengths
    differ.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    n = len(first)
    if second.shape != first.shape:
        raise ValueError(f"{len(second)} values to compare with {n}")
    if not n:
        return Difference(a=math.nan, b=math.nan, difference=math.nan, low=None, high=None, p=None, n=0, test="")
    shape = np.sqrt if kind == "root" else np.asarray
    means = shape(np.array([first.mean(), second.mean()]))
    low = high = p = None
    exact = kind == "share" and clusters is None
    if n > 1:
        table = np.stack([first, second, np.ones(n)], axis=1)
        sums = bootstrap_sums(table, clusters=clusters, resamples=resamples, seed=seed)
        drawn = shape(sums[:, :2] / sums[:, 2:])
        low, high = percentile_interval(drawn[:, 1] - drawn[:, 0]) or (None, None)
        p = mcnemar_p(first == 1, second == 1) if exact else sign_flip_p(second - first, clusters=clusters, seed=seed)
    test = "McNemar" if exact else "sign flip"
    ends = {"low": low, "high": high, "p": p}
    return Difference(
        a=float(means[0]), b=float(means[1]), difference=float(means[1] - means[0]), n=n, test=test, **ends
    )


def mcnemar_p(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return the two-sided p of McNemar's exact test: ``a`` and ``b`` (n,) bool say which faces each got right.

    Only the faces that one of them got right count: under the hypothesis either is as likely. 1 where there are none.
    """
    first, second = np.asarray(a, bool), np.asarray(b, bool)
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    if not only_a + only_b:
        return 1.0
    # Here: scipy takes longer to load than most commands take.
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def sign_flip_p(
    differences: npt.ArrayLike, *, clusters: npt.ArrayLike | None = None, flips: int = FLIPS, seed: int = 0
) -> float:
    """Return the two-sided p of a paired permutation test of the sum of ``differences`` (n,).

    Exchanging A and B for a face turns its difference round; those of a cluster turn together. p is the share of
    random exchanges whose sum is as far from 0, the seen one counted in (Phipson and Smyth, 2010), so never 0. From
    20,000 faces or clusters on, the sum is taken for normal.
    """
    values = np.asarray(differences, np.float64)
    if clusters is not None:
        _, member = np.unique(np.asarray(clusters), return_inverse=True)
        values = np.asarray(np.bincount(member, weights=values), np.float64)
    values = values[values != 0]
    if not len(values):
        return 1.0
    # Rounding may part two sums that are the same number.
    seen = abs(float(values.sum())) * (1 - 1e-12)
    if len(values) >= NORMAL_FROM:
        return math.erfc(seen / math.sqrt(2 * float(np.square(values).sum())))
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(values))
    beyond = 0
    for first in range(0, flips, step):
        signs = rng.integers(0, 2, (min(step, flips - first), len(values)), dtype=np.int8)
        # The sum under signs of +-1 is twice that of the chosen ones minus the whole.
        sums = 2 * (signs.astype(np.float64) @ values) - values.sum()
        beyond += int((np.abs(sums) >= seen - 1e-9 * np.abs(values).max()).sum())
    return (beyond + 1) / (flips + 1)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Return Holm's (1979) adjusted p of each: those below 0.05 are differences, with one false one in 20 such tables.

    None stays None and isn't counted as a test.
    """
    known = [index for index, value in enumerate(p) if value is not None]
    found: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, index in enumerate(sorted(known, key=lambda each: p[each] or 0.0)):
        largest = max(largest, min(1.0, (len(known) - rank) * (p[index] or 0.0)))
        found[index] = largest
    return found


def verdict(difference: float, p: float | None, *, lower_is_better: bool) -> str:
    """Return what B is: ``better``, ``worse``, ``could be chance``, or ``too few`` where ``p`` is None."""
    if p is None:
        return "too few"
    if p >= LEVEL or not difference:
        return "could be chance"
    return "better" if (difference < 0) == lower_is_better else "worse"
