"""How many faces of which age and gender: counts from samples, list files or records."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agegender.dataset.face_record import FaceSample
from agegender.dataset.list_file import read_list
from agegender.errors import DataError, UsageError
from agegender.labels import AGE_CLASSES, FEMALE, MALE, MAX_AGE

LABEL_ORDERS = ("gender,age", "age,gender")
Counts = npt.NDArray[np.int64]


def _zeros() -> Counts:
    return np.zeros(AGE_CLASSES, np.int64)


@dataclass
class SourceAges:
    """Faces of one source per age: ``female``, ``male``, ``unknown`` (gender) int64 (101,); ``no_age`` has no age."""

    female: Counts = field(default_factory=_zeros)
    male: Counts = field(default_factory=_zeros)
    unknown: Counts = field(default_factory=_zeros)
    no_age: int = 0
    no_age_by_gender: dict[str, int] = field(default_factory=lambda: {"female": 0, "male": 0, "unknown": 0})

    @property
    def by_gender(self) -> dict[str, Counts]:
        """Return the three counts by name, in the order in which they are stacked."""
        return {"female": self.female, "male": self.male, "unknown": self.unknown}

    @property
    def total(self) -> int:
        """Count all faces, also those without an age."""
        return int(self.female.sum() + self.male.sum() + self.unknown.sum()) + self.no_age

    def count(self, gender: str) -> int:
        """Count the faces of "female", "male" or "unknown" gender, also those without an age."""
        return int(self.by_gender[gender].sum()) + self.no_age_by_gender[gender]

    def add(self, genders: npt.ArrayLike, ages: npt.ArrayLike) -> None:
        """Add faces: (n,) genders (0, 1, else unknown) and ages (years; below 0 or not finite: unknown)."""
        gender = np.asarray(genders, np.float64)
        age = np.asarray(ages, np.float64)
        known = np.isfinite(age) & (age >= 0)
        years = np.where(known, np.minimum(age, MAX_AGE), 0).astype(np.int64)
        masks = {"female": gender == FEMALE, "male": gender == MALE}
        masks["unknown"] = ~(masks["female"] | masks["male"])
        for name, counts in self.by_gender.items():
            counts += np.bincount(years[known & masks[name]], minlength=AGE_CLASSES)
            self.no_age_by_gender[name] += int((masks[name] & ~known).sum())
        self.no_age += int((~known).sum())


@dataclass
class AgeHistogram:
    """Ages per source, in the order in which the sources came."""

    sources: dict[str, SourceAges] = field(default_factory=dict)

    def of(self, source: str) -> SourceAges:
        """Return the counts of ``source``, new ones where it is new."""
        return self.sources.setdefault(source, SourceAges())

    @property
    def total(self) -> int:
        """Count the faces of all sources."""
        return sum(ages.total for ages in self.sources.values())


def age_histogram(samples: Iterable[FaceSample]) -> AgeHistogram:
    """Count samples per source, age and gender."""
    labels: dict[str, tuple[list[int], list[int]]] = {}
    for sample in samples:
        genders, ages = labels.setdefault(sample.source, ([], []))
        genders.append(sample.gender)
        ages.append(sample.age)
    histogram = AgeHistogram()
    for source, (genders, ages) in labels.items():
        histogram.of(source).add(genders, ages)
    return histogram


def from_lists(files: Iterable[Path | str], *, into: AgeHistogram | None = None) -> AgeHistogram:
    """Count the faces of list files; the images need not exist. Raises LabelError naming file and line."""
    histogram = into if into is not None else AgeHistogram()
    for file in files:
        for source, ages in age_histogram(read_list(file)).sources.items():
            _merge(histogram.of(source), ages)
    return histogram


def from_records(
    files: Iterable[Path | str], *, label_order: str = LABEL_ORDERS[0], into: AgeHistogram | None = None
) -> AgeHistogram:
    """Count the faces of record files, per source where ``<name>.csv`` beside them says it, else per file.

    ``label_order`` is "gender,age" or, for SSR-Net's sets, "age,gender". Raises UsageError for another one,
    RecordError for a damaged file.
    """
    from agegender.recordio import open_records

    if label_order not in LABEL_ORDERS:
        raise UsageError(f"label order {label_order!r} is none of {', '.join(LABEL_ORDERS)}")
    gender_column = label_order.split(",").index("gender")
    histogram = into if into is not None else AgeHistogram()
    for file in map(Path, files):
        records = open_records(file)
        labels = np.asarray(records.labels(2), np.float64)
        names, codes = _record_sources(file, records.keys)
        for code, name in enumerate(names):
            rows = labels[codes == code]
            if len(rows):
                histogram.of(name).add(rows[:, gender_column], rows[:, 1 - gender_column])
    return histogram


def _merge(total: SourceAges, more: SourceAges) -> None:
    for name, counts in more.by_gender.items():
        total.by_gender[name][:] += counts
        total.no_age_by_gender[name] += more.no_age_by_gender[name]
    total.no_age += more.no_age


def _record_sources(file: Path, keys: Sequence[int] | Counts) -> tuple[list[str], Counts]:
    """Return source names and, for every record, the position of its name."""
    table = file.with_suffix(".csv")
    wanted = np.asarray(keys, np.int64)
    if not table.is_file():
        return [file.stem], np.zeros(len(wanted), np.int64)
    names: dict[str, int] = {}
    code_of: dict[int, int] = {}
    with open(table, encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        if not {"key", "source"} <= set(reader.fieldnames or ()):
            raise DataError(f"{table}: no columns 'key' and 'source'; remove the file to count without it")
        for row in reader:
            code_of[int(row["key"])] = names.setdefault(row["source"], len(names))
    missing = len(names)
    codes = np.array([code_of.get(int(key), missing) for key in wanted], np.int64)
    return [*names, file.stem], codes
