"""What is known and predicted of every face, and its CSV: the base of every number of a report."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import DataError

Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.bool_]
NAMES = ("key", "path", "source", "subject", "group", "box")
NUMBERS = ("score", "gender", "age", "low", "high", "std", "male", "predicted_age")


@dataclass(frozen=True, kw_only=True)
class Faces:
    """n faces. ``names``: lists of n texts for ``NAMES`` ("" unknown); ``box`` is x1 y1 x2 y2 in pixels of the photo.

    ``score`` of the detection, ``gender`` 0 female, 1 male, ``age`` in years, ``low``, ``high`` the ends of a bin,
    ``std`` years: (n,) float, nan unknown; an age that is known by its bin only is nan. ``male`` (n,) probability,
    ``predicted`` (n,) years, all nan where the model has no such head. ``ends``: (n, 2) years by share.
    """

    names: dict[str, list[str]]
    score: Floats
    gender: Floats
    age: Floats
    low: Floats
    high: Floats
    std: Floats
    male: Floats
    predicted: Floats
    ends: dict[float, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.gender)

    @property
    def scored_ages(self) -> Marks:
        """Return which ages (n,) count: the known ones, where the model tells ages; a prediction that is no number
        is a wrong one."""
        return np.isfinite(self.age) & np.isfinite(self.predicted).any()

    @property
    def scored_genders(self) -> Marks:
        """Return which genders (n,) count, as ``scored_ages``."""
        return np.isfinite(self.gender) & np.isfinite(self.male).any()

    @property
    def binned(self) -> Marks:
        """Return which faces (n,) are known by a bin of ages, more than a year wide."""
        return np.asarray(self.high > self.low)

    @property
    def size(self) -> Floats:
        """Return the size (n,) of each detected face in pixels, the root of its box's area; nan unknown.

        Raises DataError for a box that isn't four numbers.
        """
        return np.array([_size(text, key) for text, key in zip(self.names["box"], self.names["key"], strict=True)])

    def clusters(self) -> list[str] | None:
        """Return what each face belongs to: its subject, or itself where that isn't known; None where none is."""
        subjects = self.names["subject"]
        if not any(subjects):
            return None
        return [f"subject/{name}" if name else f"face/{row}" for row, name in enumerate(subjects)]

    def to_csv(self) -> str:
        """Return a line per face: ``NAMES``, ``NUMBERS``, both ends of each interval; unknown cells are empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        shares = sorted(self.ends)
        writer.writerow([*NAMES, *NUMBERS, *(f"{end}{share * 100:g}" for share in shares for end in ("low", "high"))])
        numbers = [self.score, self.gender, self.age, self.low, self.high, self.std, self.male, self.predicted]
        numbers += [self.ends[share][:, side] for share in shares for side in (0, 1)]
        for row in range(len(self)):
            named = [self.names[name][row] for name in NAMES]
            writer.writerow([*named, *(_cell(column[row]) for column in numbers)])
        return text.getvalue()


def rounded(values: npt.ArrayLike, digits: int) -> Floats:
    """Return numbers as the CSV has them, so that every figure can be recomputed from it."""
    found: Floats = np.asarray(values, np.float64)
    return found.round(digits)


def _cell(value: Any) -> str:
    return "" if np.isnan(value) else f"{value:.7g}"


def _size(text: str, key: str) -> float:
    if not text.strip():
        return float("nan")
    try:
        x1, y1, x2, y2 = (float(word) for word in text.split())
    except ValueError:
        raise DataError(f"face {key}: its box {text!r} is not x1 y1 x2 y2") from None
    return float(np.sqrt(max(x2 - x1, 0.0) * max(y2 - y1, 0.0)))
