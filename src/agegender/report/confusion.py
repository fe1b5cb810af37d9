"""Which ages are taken for which: counts of faces by true and by estimated decade, and by bin where bins are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.metrics.bins import BinKeeper
from agegender.report.faces import Faces, Floats
from agegender.report.splits import DECADES, decades


def confusions(faces: Faces) -> dict[str, Any]:
    """Return for ``decades`` and ``bins`` that are known: ``names`` (k) and ``counts`` (k, k), true by estimated.

    A prediction that is no number is in no column.
    """
    found: dict[str, Any] = {}
    predicted = np.isfinite(faces.predicted)
    exact = predicted & np.isfinite(faces.age)
    if exact.any():
        true, seen = decades(faces.age[exact]), decades(np.clip(faces.predicted[exact], 0, 100))
        found["decades"] = _named(list(DECADES), true, seen)
    binned = predicted & faces.binned
    if binned.any():
        bins = np.stack([faces.low, faces.high], axis=1)[binned]
        known, own = np.unique(bins, axis=0, return_inverse=True)
        own = own.reshape(-1)
        names = [f"{low:g}-{high:g}" for low, high in known.tolist()]
        found["bins"] = _named(names, own, _nearest(known, bins, faces.predicted[binned], own))
    return found


def _named(names: list[str], true: npt.NDArray[Any], seen: npt.NDArray[Any]) -> dict[str, Any]:
    """Count; names that neither are true nor estimated of any face are left out."""
    places = np.unique(np.concatenate([true, seen])).astype(int)
    counts = np.zeros((len(places), len(places)), np.int64)
    np.add.at(counts, (np.searchsorted(places, true), np.searchsorted(places, seen)), 1)
    return {"names": [names[place] for place in places], "counts": counts.tolist()}


def _nearest(known: Floats, bins: Floats, age: Floats, own: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the place in ``known`` (k, 2) of the bin that each age (n,) is nearest to, the younger of two alike.

    A face that ``BinKeeper`` counts as right is in its own bin, also where bins of several sets overlap.
    """
    keeper = BinKeeper()
    keeper.update(bins, age)
    right = keeper.hits(bins, age)[:, 0]
    away = np.maximum(np.maximum(known[:, 0] - age[:, None], age[:, None] - known[:, 1]), 0)
    away[np.arange(len(age)), own] = np.where(right, 0.0, np.inf)
    nearest = away.argmin(axis=1)
    return np.where(right, own, nearest)
