"""What --compare, --against and several sets of --data share: predictions of faces, and how tables come out."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.app.evaluation.faces import ModelCrop
from agegender.app.evaluation.images import Origin
from agegender.app.evaluation.report import Results, columns_of, padded
from agegender.errors import DataError
from agegender.files import write_json, write_text
from agegender.labels import BIN_WIDTH
from agegender.metrics.bins import BinKeeper
from agegender.metrics.paired import Kind

Floats = npt.NDArray[np.float64]
# A face: the record's key, its path, and which one it is of several of the same two.
Key = tuple[str, str, int]
NAMES = ("group", "source", "subject")
CUM_YEARS = 5
# By figure: how its means become it, and whether less is better.
FIGURES: dict[str, tuple[Kind, bool]] = {
    "acc": ("share", False),
    "MAE": ("mean", True),
    "RMSE": ("root", True),
    f"CUM_{CUM_YEARS}": ("share", False),
    "bin_acc": ("share", False),
    "bin_1off": ("share", False),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What eval found of the model ``name`` on one set; ``skipped`` names the bad faces, which are not in it."""

    name: str
    results: Results
    origins: list[Origin]
    skipped: list[str]
    crop: ModelCrop


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What ``name`` tells of n faces: labels ``gender`` (0 female, 1 male) and ``age``, probability ``male`` and the
    age that is ``predicted``, (n,) float, nan unknown. ``names`` has n groups, sources and subjects, "" unknown.

    An age that is known by its bin only is nan: no figure in years counts it. ``bins`` (n, 2) has the bin's first and
    last year, nan for all other faces.
    """

    name: str
    keys: list[Key]
    names: dict[str, list[str]]
    gender: Floats
    age: Floats
    male: Floats
    predicted: Floats
    bins: Floats

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Predictions:
        """Return those of ``rows``, in that order."""
        index = np.asarray(rows, np.int64)
        numbers = {name: getattr(self, name)[index] for name in ("gender", "age", "male", "predicted", "bins")}
        return Predictions(
            name=self.name,
            keys=[self.keys[row] for row in index.tolist()],
            names={name: [values[row] for row in index.tolist()] for name, values in self.names.items()},
            **numbers,
        )

    def clusters(self) -> npt.NDArray[np.str_] | None:
        """Return the subject of each face, or None where a face's isn't known."""
        subjects = self.names["subject"]
        return np.array(subjects) if subjects and all(subjects) else None

    def terms(self) -> dict[str, tuple[Floats, npt.NDArray[np.bool_]]]:
        """Return of each figure what a face adds to its mean (n,), and which faces count in it (n,)."""
        error = self.predicted - self.age
        aged, off = np.isfinite(error), np.abs(error)
        sexed = np.isfinite(self.male) & np.isfinite(self.gender)
        right = ((self.male > 0.5) == (self.gender == 1)).astype(np.float64)
        binned = np.isfinite(self.predicted) & np.isfinite(self.bins[:, 0])
        hits = np.zeros((len(self), 2))
        if binned.any():
            keeper = BinKeeper()
            keeper.update(self.bins[binned], self.predicted[binned])
            hits[binned] = keeper.hits(self.bins[binned], self.predicted[binned])
        return {
            "acc": (right, sexed),
            "MAE": (off, aged),
            "RMSE": (np.square(error), aged),
            f"CUM_{CUM_YEARS}": ((off <= CUM_YEARS).astype(np.float64), aged),
            "bin_acc": (hits[:, 0], binned),
            "bin_1off": (hits[:, 1], binned),
            "bias": (error, aged),
        }


def predictions(scored: Run) -> Predictions:
    """Return what a model told of the faces that were scored."""
    results, count = scored.results, len(scored.results.rows)
    nothing = np.full(count, np.nan)
    kept = [scored.origins[row] for row in results.rows.tolist()]
    every = numbered([(str(origin.key), origin.path) for origin in scored.origins])
    labels, exact = results.labels.astype(np.float64), results.exact_ages.astype(np.float64)
    return Predictions(
        name=scored.name,
        keys=[every[row] for row in results.rows.tolist()],
        names={column: [str(getattr(origin, column, "")) for origin in kept] for column in NAMES},
        gender=np.where(labels[:, 0] >= 0, labels[:, 0], np.nan),
        age=np.where(exact >= 0, exact, np.nan),
        male=nothing if results.male is None else results.male,
        predicted=nothing if results.age is None else results.age,
        bins=_bins(labels),
    )


def numbered(named: Sequence[tuple[str, str]]) -> list[Key]:
    """Return (key, path) with a number from 0 on, which tells those apart that are alike."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for key, path in named:
        found.append((key, path, seen[key, path]))
        seen[key, path] += 1
    return found


def read_predictions(path: Path) -> Predictions:
    """Read the faces that ``--csv`` or ``--report`` wrote. Raises DataError naming file and line, or what it lacks."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            heads = set(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} can't be read: {error}") from error
    told = ("gender_probability", "predicted_gender") if "gender_probability" in heads else ("male",)
    missing = [name for name in ("key", "path", "gender", "age", "predicted_age", *told) if name not in heads]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}: it takes what eval's --csv or --report wrote")
    found = [_numbers(path, line, row) for line, row in enumerate(rows, start=2)]
    numbers = np.array(found, np.float64).reshape(len(rows), 6)
    return Predictions(
        name=str(path),
        keys=numbered([(row["key"] or "", row["path"] or "") for row in rows]),
        names={column: [row.get(column) or "" for row in rows] for column in NAMES},
        gender=numbers[:, 0],
        age=numbers[:, 1],
        male=numbers[:, 2],
        predicted=numbers[:, 3],
        bins=numbers[:, 4:],
    )


def _numbers(path: Path, line: int, row: Mapping[str, str | None]) -> list[float]:
    """Return gender, age, probability of male, predicted age and the ends of the bin of one line, nan unknown."""

    def number(column: str, low: float, high: float) -> float:
        text = row.get(column)
        if not text:
            return math.nan
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise DataError(f"{path}: line {line}: {column} {text!r} is no number from {low:g} to {high:g}")
        return value

    gender, age = number("gender", 0, 1), number("age", 0, 150)
    predicted = number("predicted_age", -1000, 1000)
    low, high = number("low", 0, 150), number("high", 0, 150)
    if not low < high:
        low = high = math.nan
    if "male" in row:
        return [gender, age, number("male", 0, 1), predicted, low, high]
    sure, sex = number("gender_probability", 0, 1), number("predicted_gender", 0, 1)
    # Rounded to four digits it may say 0.5 of the one that was told.
    male = max(sure, 0.5 + 1e-6) if sex == 1 else min(1 - sure, 0.5)
    # --csv writes an age that is a bin's middle, but no error of it.
    if "error" in row and not row["error"] and not math.isnan(predicted):
        age = math.nan
    return [gender, age, male if not math.isnan(sex + sure) else math.nan, predicted, low, high]


def _bins(labels: Floats) -> Floats:
    """Return the bins (n, 2) of ``labels`` (n, 2 or 5), nan where an age is no bin."""
    bins = np.full((len(labels), 2), np.nan)
    if labels.shape[1] >= BIN_WIDTH:
        binned = labels[:, 3] > labels[:, 2]
        bins[binned] = labels[binned, 2:4]
    return bins


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Return a table as lines, its columns as wide as what is in them; the first ``left`` ones begin at the left."""
    widths = [max(columns_of(row[place]) for row in (head, *rows)) for place in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            padded(cell, width) if place < left else " " * (width - columns_of(cell)) + cell
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def shown(value: float | None, form: str) -> str:
    """Return a figure as text, a dash where it isn't known."""
    return "-" if value is None or math.isnan(value) else format(value, form)


def interval(low: float | None, high: float | None, form: str) -> str:
    """Return both ends as text, a dash where they aren't known."""
    return "-" if low is None or high is None else f"{low:{form}} … {high:{form}}"


def write_table(path: Path, about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``rows`` unrounded: with ``about`` as JSON where the name ends in .json, else as CSV; unknown is empty."""
    plain = [{name: _known(value) for name, value in row.items()} for row in rows]
    if path.suffix.lower() == ".json":
        write_json(path, {**about, "rows": plain})
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(plain[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    write_text(path, text.getvalue())


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
