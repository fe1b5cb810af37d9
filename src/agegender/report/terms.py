"""What each face adds to each figure: a figure is a mean, or a function of means, so that resampling is adding up."""

from __future__ import annotations

from typing import Any

import numpy as np

from agegender.metrics.bins import BinKeeper
from agegender.report.faces import Faces, Floats, Marks
from agegender.report.splits import GENDERS

CUM = range(16)
# Legal age, and the age from which an estimate lets somebody pass without being asked for papers.
LEGAL, CHALLENGE, CHILD = 18, 25, 13
# Figures that are no shares: their bootstrap intervals are never of no width.
YEARS = ("mae", "bias", "squares", "epsilon", "width50", "width80", "width90")


def make_terms(faces: Faces) -> tuple[list[str], Floats, Floats]:
    """Return k names and twice (n, k): the face's value in each mean, 0 where it doesn't count, and whether it does."""
    terms = {**_age_terms(faces), **_bin_terms(faces), **_gender_terms(faces), **_interval_terms(faces)}
    values = [np.where(counts, value, 0.0) for value, counts in terms.values()]
    return (
        list(terms),
        np.stack(values, axis=1),
        np.stack([counts for _, counts in terms.values()], axis=1).astype(float),
    )


def derive(names: list[str], sums: Floats) -> dict[str, tuple[Floats, Floats]]:
    """Return figures (b,) and the number of faces (b,) in them from ``sums`` (b, 2 k) of values and of counts."""
    top, n = sums[:, : len(names)], sums[:, len(names) :]
    mean = np.divide(top, n, out=np.full_like(top, np.nan), where=n > 0)
    found = {name: (mean[:, place], n[:, place]) for place, name in enumerate(names)}
    squares, count = found.pop("squares")
    found["rmse"] = (np.sqrt(squares), count)
    (female, n_female), (male, n_male) = (found.pop(name) for name in GENDERS)
    right = top[:, names.index("female")] + top[:, names.index("male")]
    both = n_female + n_male
    found["acc"] = (np.divide(right, both, out=np.full_like(both, np.nan), where=both > 0), both)
    found["balanced_acc"] = ((female + male) / 2, both)
    return found


def _age_terms(faces: Faces) -> dict[str, tuple[Any, Marks]]:
    error, known = faces.predicted - faces.age, faces.scored_ages
    off = np.abs(error)
    spread = np.where(faces.std > 0, faces.std, np.nan)
    return {
        "mae": (off, known),
        "bias": (error, known),
        "squares": (error**2, known),
        **{f"CUM_{years}": (off <= years, known) for years in CUM},
        "epsilon": (1 - np.exp(-(error**2) / (2 * spread**2)), known & np.isfinite(spread)),
        "fpr18_25": (faces.predicted >= CHALLENGE, known & (faces.age < LEGAL)),
        "under13_over18": (faces.predicted >= LEGAL, known & (faces.age < CHILD)),
    }


def _bin_terms(faces: Faces) -> dict[str, tuple[Any, Marks]]:
    counts = faces.binned & np.isfinite(faces.predicted).any()
    hits = np.zeros((len(faces), 2), bool)
    if counts.any():
        bins = np.stack([faces.low, faces.high], axis=1)[counts]
        keeper = BinKeeper()
        keeper.update(bins, faces.predicted[counts])
        hits[counts] = keeper.hits(bins, faces.predicted[counts])
    return {"bin_acc": (hits[:, 0], counts), "bin_1off": (hits[:, 1], counts)}


def _gender_terms(faces: Faces) -> dict[str, tuple[Any, Marks]]:
    right = np.where(faces.gender == 1, faces.male > 0.5, faces.male <= 0.5)  # a probability of nan is neither
    return {name: (right, faces.scored_genders & (faces.gender == code)) for code, name in enumerate(GENDERS)}


def _interval_terms(faces: Faces) -> dict[str, tuple[Any, Marks]]:
    found: dict[str, tuple[Any, Marks]] = {}
    for share, ends in sorted(faces.ends.items()):
        counts = np.isfinite(faces.age) & np.isfinite(ends).all(axis=1)
        found[f"coverage{share * 100:g}"] = ((ends[:, 0] <= faces.age) & (faces.age <= ends[:, 1]), counts)
        found[f"width{share * 100:g}"] = (ends[:, 1] - ends[:, 0], counts)
    return found
