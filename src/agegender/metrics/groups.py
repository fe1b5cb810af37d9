"""Scores per group: any column of the data, or the decade of the true age."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.labels import MAX_AGE
from agegender.metrics.scores import ScoreKeeper, Scores

UNNAMED = "unknown"


def group_scores(
    groups: npt.ArrayLike,
    *,
    labels: npt.ArrayLike,
    gender_probability: npt.ArrayLike | None = None,
    age: npt.ArrayLike | None = None,
) -> dict[str, Scores]:
    """Score each group of faces by itself; keys in sorted order, an empty name becomes ``unknown``.

    ``groups`` is (n,) names; the other arrays are as ``ScoreKeeper.update`` takes them.
    """
    names = np.asarray(groups).astype(str)
    names = np.where(names == "", UNNAMED, names)
    unique, member = np.unique(names, return_inverse=True)
    # One sort, then slices: a mask per group would read everything once for each group.
    order = np.argsort(member, kind="stable")
    ends = np.cumsum(np.bincount(member, minlength=len(unique)))
    scores = {}
    for name, rows in zip(unique.tolist(), np.split(order, ends[:-1])):
        keeper = ScoreKeeper()
        keeper.update(
            labels=_take(labels, rows), gender_probability=_take(gender_probability, rows), age=_take(age, rows)
        )
        scores[name] = keeper.compute()
    return scores


def decade_scores(
    *, labels: npt.ArrayLike, gender_probability: npt.ArrayLike | None = None, age: npt.ArrayLike | None = None
) -> dict[str, Scores]:
    """Score the faces of each decade of the true age: ``0-9``, ``10-19`` ... ``100``; those of unknown age last."""
    years = np.asarray(labels, np.float64)[:, 1]
    known = years >= 0
    decade = np.where(known, np.clip(years, 0, MAX_AGE) // 10, -1).astype(np.int64)
    names = [_decade_name(number) for number in range(MAX_AGE // 10 + 1)] + [UNNAMED]
    found = group_scores(np.array(names)[decade], labels=labels, gender_probability=gender_probability, age=age)
    return {name: found[name] for name in names if name in found}


def _decade_name(number: int) -> str:
    first = number * 10
    return str(first) if first == MAX_AGE else f"{first}-{first + 9}"


def _take(values: npt.ArrayLike | None, rows: npt.NDArray[np.int64]) -> Any:
    return None if values is None else np.asarray(values)[rows]
