"""Faces that can't be used, each with its reason: what ends in ``skipped.csv``."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agegender.files import atomic_path

# Reasons for leaving a face out. Packing has further ones (no face found, unreadable image).
BAD_NAME = "bad name"
BAD_LABEL = "bad label"
MISSING = "missing file"
DUPLICATE = "duplicate"
CONTRADICTION = "contradiction"
NO_LABEL = "no label"
NO_GENDER = "no gender"
NO_SCORE = "no face score"
LOW_SCORE = "low face score"
SECOND_FACE = "second face"
IMPOSSIBLE_AGE = "impossible age"
NO_BOX = "no face box"


class Problem(NamedTuple):
    """One face that was left out: its file, its source, the reason in a word or two, and the detail."""

    path: str
    source: str
    reason: str
    detail: str


class Problems:
    """Collects what was left out and why. Reasons are short and countable, details name the value at fault."""

    def __init__(self) -> None:
        self.rows: list[Problem] = []
        self.notes: Counter[tuple[str, str]] = Counter()

    def note(self, what: str, *, source: str) -> None:
        """Count a face that is kept, but with a label changed or left out: ``what`` says in a few words which."""
        self.notes[source, what] += 1

    def add(self, path: Path | str, reason: str, detail: str = "", *, source: str = "") -> None:
        """Note that the face in ``path`` is left out."""
        name = path.as_posix() if isinstance(path, Path) else path
        self.rows.append(Problem(name, source, reason, " ".join(detail.split())))

    def counts(self, source: str | None = None) -> Counter[str]:
        """Count the rows by reason, of one source or of all."""
        return Counter(row.reason for row in self.rows if source is None or row.source == source)

    def write(self, path: Path | str) -> None:
        """Write all rows as CSV (path, source, reason, detail), sorted, atomically."""
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Problem._fields)
            writer.writerows(sorted(self.rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.rows)
