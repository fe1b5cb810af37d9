"""Reading the tables that datasets keep their labels in: one clear error for what is missing or of another layout."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from agegender.errors import DataError


def first_of(folder: Path, names: Sequence[str], *, what: str) -> Path:
    """Return the first of ``names`` that exists in ``folder``. Raises DataError naming ``what`` and the first name."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise DataError(f"{folder / names[0]} is missing; {what}")


def read_table(path: Path, columns: Sequence[str], *, delimiter: str = ",") -> Iterator[dict[str, str]]:
    """Yield the rows of a table with a header as column -> text; cells that a row lacks are empty.

    Raises DataError where the file is missing, is not UTF-8, or lacks one of ``columns``.
    """
    try:
        file = open(path, encoding="utf-8-sig", newline="")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        raise DataError(f"{path} is missing; it holds the labels ({', '.join(columns)})") from None
    with file:
        reader = csv.DictReader(file, delimiter=delimiter, restval="")
        try:
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            for name in columns:
                if name not in header:
                    raise DataError(f"{path}: no column {name!r} (its header: {', '.join(header) or 'none'})")
            for row in reader:
                yield {name: (value or "").strip() for name, value in row.items() if name is not None}
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path}: not readable as a table ({error})") from None


def read_words(path: Path, *, what: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, words) of the lines of a text that are not blank. Raises DataError where it is missing."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {what}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error})") from None
    for number, line in enumerate(text.splitlines(), 1):
        if words := line.split():
            yield number, words


def read_box(row: dict[str, str], columns: Sequence[str]) -> tuple[float, ...] | None:
    """Return the four numbers of ``columns`` as a box in pixels; None where one is missing or the box has no area."""
    try:
        x1, y1, x2, y2 = (float(row[name]) for name in columns)
    except (KeyError, ValueError):
        return None
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None
