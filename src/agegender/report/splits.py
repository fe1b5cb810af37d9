"""The tables of a report: which faces belong to which row."""

from __future__ import annotations

import numpy as np

from agegender.report.faces import Faces, Floats, Marks

# The last decade takes the hundred-year-olds, which mean 100 or older.
DECADES = tuple(f"{first}-{first + 9 if first < 90 else 100}" for first in range(0, 100, 10))
GENDERS = ("female", "male")
# Lower ends of the rows by face size, in pixels.
SIZES = (0, 32, 64, 128, 256)
# Rows by detection score: so many parts with about the same number of faces.
SCORE_PARTS = 4


def split(faces: Faces) -> dict[str, dict[str, Marks]]:
    """Return the faces (n,) of each row of each table: by age, gender, group and so on; what is unknown is left out.

    In ``age_gender`` and ``gender_group`` a row's name is that of both, with a slash between. Rows and tables
    without a face are left out, and so is a table by group or source that has one row for all faces.
    """
    decade, gender = decades(faces.age), faces.gender
    tables = {
        "age": {name: decade == number for number, name in enumerate(DECADES)},
        "gender": {name: gender == code for code, name in enumerate(GENDERS)},
    }
    for column in ("group", "source"):
        texts = np.array(faces.names[column], str)
        tables[column] = {name: texts == name for name in sorted(set(texts.tolist())) if name}
    if all(rows.all() for rows in tables["source"].values()):
        del tables["source"]
    tables["bin"] = {f"{low:g}-{high:g}": of for (low, high), of in bins(faces).items()}
    tables["age_gender"] = _crossed(tables["age"], tables["gender"])
    tables["gender_group"] = _crossed(tables["gender"], tables["group"])
    tables["size"] = _by_size(faces.size)
    tables["score"] = _by_quantile(faces.score)
    kept = {column: {name: rows for name, rows in of.items() if rows.any()} for column, of in tables.items()}
    return {column: of for column, of in kept.items() if of}


def decades(age: Floats) -> Floats:
    """Return the place (n,) of each age in ``DECADES``, nan unknown."""
    return np.asarray(np.minimum(np.floor(age / 10), len(DECADES) - 1), np.float64)


def bins(faces: Faces) -> dict[tuple[float, float], Marks]:
    """Return the faces (n,) of each bin of ages, youngest first."""
    known = faces.binned
    found = sorted(set(zip(faces.low[known].tolist(), faces.high[known].tolist(), strict=True)))
    return {(low, high): known & (faces.low == low) & (faces.high == high) for low, high in found}


def _crossed(first: dict[str, Marks], second: dict[str, Marks]) -> dict[str, Marks]:
    return {f"{one}/{other}": rows & also for one, rows in first.items() for other, also in second.items()}


def _by_size(size: Floats) -> dict[str, Marks]:
    ends = [*SIZES[1:], np.inf]
    names = [f"{low}-{high - 1:g}" if np.isfinite(high) else f"{low}+" for low, high in zip(SIZES, ends, strict=True)]
    return {name: (size >= low) & (size < high) for name, low, high in zip(names, SIZES, ends, strict=True)}


def _by_quantile(score: Floats) -> dict[str, Marks]:
    known = score[np.isfinite(score)]
    if not len(known):
        return {}
    ends = np.unique(np.quantile(known, np.linspace(0, 1, SCORE_PARTS + 1), method="lower"))
    if len(ends) < 2:
        return {f"{ends[0]:.4g}": score == ends[0]}
    # Each part has its lower end, the last both.
    part = np.clip(np.searchsorted(ends, score, side="right") - 1, 0, len(ends) - 2)
    return {
        f"{ends[number]:.4g}-{ends[number + 1]:.4g}": np.isfinite(score) & (part == number)
        for number in range(len(ends) - 1)
    }
