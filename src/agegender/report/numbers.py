"""The figures of a report, each with its n and a bootstrap interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.metrics.calibration import BINS, expected_calibration_error
from agegender.metrics.intervals import (
    RESAMPLES,
    bootstrap_sums,
    bootstrap_weights,
    percentile_interval,
    unanimous_reach,
)
from agegender.report.confusion import confusions
from agegender.report.faces import Faces, Floats, Marks
from agegender.report.splits import decades, split
from agegender.report.terms import YEARS, derive, make_terms

# Rows of fewer faces are marked, and none of them is called the best or the worst.
FEW = 30
CUM_OF_ROWS = ("CUM_3", "CUM_5", "CUM_10")
# Cells of fewer faces are left out of the macro average: one hundred-year-old would weigh as much as all twenties.
LEAST_PER_CELL = 10


def report_numbers(faces: Faces, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Return all figures: ``overall``, ``by`` table and row, ``macro``; each {value, n, low, high}, None unknown.

    Beside them: ``source`` where all faces have the same, ``bootstrap`` (what was resampled), ``gap`` (right genders by
    gender and group), ``confusion``.
    """
    scorer = _Scorer(faces, resamples)
    found: dict[str, Any] = {"n": len(faces), "few": FEW, "bootstrap": _bootstrap(faces, resamples)}
    sources = set(faces.names["source"])
    found["source"] = sources.pop() if len(sources) == 1 else ""
    found["overall"] = scorer.figures(np.ones(len(faces), bool)) | gender_figures(faces, resamples=resamples)
    found["by"] = {
        column: {name: _fewer(scorer.figures(rows)) for name, rows in groups.items()}
        for column, groups in split(faces).items()
    }
    found["macro"] = macro(faces, resamples=resamples)
    found["gap"] = _gap(found["by"].get("gender_group", {}))
    found["confusion"] = confusions(faces)
    return found


def entry(value: float, n: int, samples: Floats, *, units: int = 0) -> dict[str, Any]:
    """Return a figure with its n and interval; None where nothing is known, or no interval from one face.

    A share of 0 or 1 gets the exact interval of so many independent ``units`` (0: the figure is no share).
    """
    known = n > 0 and bool(np.isfinite(value))
    low, high = (percentile_interval(samples) if known and n > 1 else None) or (None, None)
    if known and units > 1 and value in (0, 1):
        reach = unanimous_reach(units)
        low, high = (0.0, reach) if value == 0 else (1 - reach, 1.0)
    return {"value": float(value) if known else None, "n": n, "low": low, "high": high}


class _Scorer:
    """Figures of any of the faces."""

    def __init__(self, faces: Faces, resamples: int) -> None:
        self._names, values, self._counts = make_terms(faces)
        self._table = np.hstack([values, self._counts])
        subjects = faces.clusters()
        self._clusters = None if subjects is None else np.array(subjects)
        self._resamples = resamples

    def figures(self, rows: Marks) -> dict[str, Any]:
        """Return the figures of the faces ``rows`` (n,)."""
        clusters = None if self._clusters is None else self._clusters[rows]
        total = derive(self._names, self._table[rows].sum(axis=0)[None])
        many = derive(self._names, bootstrap_sums(self._table[rows], clusters=clusters, resamples=self._resamples))
        return {
            name: entry(value[0], int(n[0]), many[name][0], units=self._units(name, rows, int(n[0])))
            for name, (value, n) in total.items()
        }

    def _units(self, name: str, rows: Marks, n: int) -> int:
        if name in YEARS or name == "rmse":
            return 0
        if self._clusters is None or name not in self._names:
            return n
        return len(np.unique(self._clusters[rows & (self._counts[:, self._names.index(name)] > 0)]))


def macro(faces: Faces, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Return the means of MAE and of gender accuracy over decade x gender cells, each weighing the same.

    ``cells`` of them have at least ``least`` faces and count; ``left_out`` have fewer and don't.
    """
    cell = decades(faces.age) * 2 + faces.gender
    found, size = np.unique(cell[np.isfinite(cell)], return_counts=True)
    kept = found[size >= LEAST_PER_CELL]
    member = cell[:, None] == kept
    error = np.abs(faces.predicted - faces.age)
    right = np.where(faces.gender == 1, faces.male > 0.5, faces.male <= 0.5)
    out: dict[str, Any] = {"cells": len(kept), "least": LEAST_PER_CELL, "left_out": len(found) - len(kept)}
    for name, value, counts in (("mae", error, faces.scored_ages), ("acc", right, faces.scored_genders)):
        mask = member & counts[:, None]
        table = np.hstack([np.where(mask, value[:, None], 0.0), mask.astype(float)])
        many = bootstrap_sums(table, clusters=faces.clusters(), resamples=resamples)
        middle = [_mean_of_ratios(sums, len(kept)) for sums in (table.sum(axis=0)[None], many)]
        out[name] = entry(middle[0][0], int(mask.sum()), middle[1])
    return out


def gender_figures(faces: Faces, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Return ``auc`` and ``ece`` of the gender probabilities; AUC takes both genders.

    Resampling makes an ECE larger, since fewer different faces leave larger gaps; its interval is the basic bootstrap's
    (twice the figure minus the quantiles), which takes that back.
    """
    known = faces.scored_genders & np.isfinite(faces.male)
    male, gender = faces.male[known], faces.gender[known]
    subjects = faces.clusters()
    clusters = None if subjects is None else np.array(subjects)[known]
    values = (_auc(male, gender), expected_calibration_error(np.stack([1 - male, male], axis=1), gender))
    place = np.unique(male, return_inverse=True)[1]
    many = [
        (_weighted_auc(place, gender, weights), _weighted_ece(male, gender, weights))
        for weights in bootstrap_weights(len(male), clusters=clusters, resamples=resamples)
    ]
    samples = np.array(many, float).reshape(-1, 2)
    samples[:, 1] = np.clip(2 * values[1] - samples[:, 1], 0, 1)
    return {name: entry(values[i], len(male), samples[:, i]) for i, name in enumerate(("auc", "ece"))}


def _auc(male: Floats, gender: Floats) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(gender, male)) if len(set(gender.tolist())) == 2 else float("nan")


def _weighted_auc(place: npt.NDArray[np.int64], gender: Floats, weights: Floats) -> float:
    """Return the AUC of faces (n,) that count ``weights`` (n,) times; ``place`` has the rank of each probability.

    It is the share of pairs in which the man has the higher one (ties by half); scikit-learn's, a hundred times faster.
    """
    women = np.bincount(place, weights * (gender == 0))
    men = np.bincount(place, weights * (gender == 1))
    pairs = women.sum() * men.sum()
    below = np.cumsum(women) - women
    return float((men * (below + women / 2)).sum() / pairs) if pairs else float("nan")


def _weighted_ece(male: Floats, gender: Floats, weights: Floats) -> float:
    """Return the ECE of faces (n,) that count ``weights`` (n,) times, in the bins of ``metrics.calibration``."""
    confidence, right = np.maximum(male, 1 - male), (male > 0.5) == (gender == 1)
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(place, weights * (right - confidence), minlength=BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def _mean_of_ratios(sums: Floats, count: int) -> Floats:
    top, bottom = sums[:, :count], sums[:, count:]
    ratio = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    seen = (bottom > 0).sum(axis=1)
    return np.divide(ratio.sum(axis=1), seen, out=np.full(len(sums), np.nan), where=seen > 0)


def _fewer(figures: dict[str, Any]) -> dict[str, Any]:
    """Leave out the points of the CUM curve that no table shows: of all faces the whole curve is there."""
    return {name: of for name, of in figures.items() if not name.startswith("CUM_") or name in CUM_OF_ROWS}


def _bootstrap(faces: Faces, resamples: int) -> dict[str, Any]:
    """Say what is drawn: ``unit`` images, subjects, or both where only some subjects are known."""
    known = [name for name in faces.names["subject"] if name]
    unit = "images" if not known else "subjects" if len(known) == len(faces) else "both"
    return {
        "unit": unit,
        "subjects": len(set(known)),
        "faces_with_subject": len(known),
        "resamples": resamples,
        "seed": 0,
        "share": 0.95,
    }


def _gap(cells: dict[str, Any]) -> dict[str, Any] | None:
    """Return the best and the worst gender x group cell by right genders, of those with at least ``FEW`` faces."""
    found = {name: of["acc"]["value"] for name, of in cells.items() if of["acc"]["n"] >= FEW}
    if len(found) < 2:
        return None
    best, worst = max(found, key=found.__getitem__), min(found, key=found.__getitem__)
    return {"best": best, "worst": worst, "value": found[best] - found[worst]}
