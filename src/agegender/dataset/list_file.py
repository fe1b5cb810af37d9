"""List files: one face per line, ``path,gender,age``, UTF-8, with a header line and further columns where wanted.

Columns: ``path``, ``gender`` (0 = female, 1 = male, -1 or empty = unknown; the words are understood too), ``age``
(0..120, -1 or empty = unknown), and optionally ``subject``, ``group``, ``split`` (train, val, test), ``template``,
``source``, ``low`` and ``high`` (first and last year of a bin of ages; the age may be left empty then), ``std``
(deviation of the age in years), ``fold``, ``box`` (x1 y1 x2 y2 of the face in a photo of several); others are ignored.
Without a header there are exactly the first three. A path with a comma is quoted.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from agegender.dataset.face_record import SPLITS, FaceSample
from agegender.dataset.problems import BAD_LABEL, Problems
from agegender.errors import LabelError
from agegender.files import atomic_path
from agegender.labels import UNKNOWN, clean_bin, clean_gender, clean_std

LABEL_COLUMNS = ("path", "gender", "age")
EXTRA_COLUMNS = ("subject", "group", "split", "template", "source", "low", "high", "std", "fold", "box")
_NUMBERS = ("low", "high", "std")
LIST_SUFFIX = "_list"
_ALIASES = {"file": "path", "filename": "path", "image": "path", "sex": "gender"}


def read_list(path: Path | str, *, problems: Problems | None = None) -> list[FaceSample]:
    """Read a list file. The faces' source is the ``source`` column, else the file's name without ``_list``.

    Relative paths are meant from the list's folder, else from the current one. Whether an image exists is not
    checked. Raises LabelError naming file and line for an impossible label, a wrong number of columns, an unknown
    split or text that is not UTF-8; with ``problems``, a line with an impossible label is left out and noted there.
    """
    path = Path(path)
    samples = []
    columns: Sequence[str] | None = None
    for line, row in _rows(path):
        where = f"{path}:{line}"
        if columns is None:
            columns = _header(row, where=where)
            if columns is not None:
                continue
            columns = LABEL_COLUMNS
        if len(row) != len(columns):
            raise LabelError(
                f"{where}: {len(row)} columns, expected {len(columns)} ({','.join(columns)}); "
                "more columns need a header line, a path with a comma needs quotes"
            )
        cells = {name: cell.strip() for name, cell in zip(columns, row)}
        try:
            samples.append(_sample(cells, path))
        except LabelError as error:
            if problems is None:
                raise LabelError(f"{where}: {error}") from None
            source = cells.get("source") or source_name(path)
            problems.add(cells["path"], BAD_LABEL, f"{where}: {error}", source=source)
    return samples


def write_list(path: Path | str, samples: Iterable[FaceSample]) -> None:
    """Write a list file with a header, atomically, in the given order.

    Paths below the list's folder are written relative to it, with forward slashes. Of the further columns those are
    written that some face needs.
    """
    path = Path(path)
    rows = list(samples)
    default = source_name(path)
    extra = [name for name in EXTRA_COLUMNS if any(_cell(row, name) for row in rows)]
    if all(row.source == default for row in rows) and "source" in extra:
        extra.remove("source")
    base = _absolute(path.parent)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*LABEL_COLUMNS, *extra])
        for row in rows:
            further = [_cell(row, name) for name in extra]
            writer.writerow([_written_path(row, base), row.gender, row.age, *further])


def source_name(path: Path | str) -> str:
    """Return the source that a list file's name stands for: ``AgeDB_list.txt`` -> ``AgeDB``."""
    stem = Path(path).stem
    return stem.removesuffix(LIST_SUFFIX) or stem


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of the lines that are not blank."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, skipinitialspace=True)
        try:
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield reader.line_num, row
        except UnicodeDecodeError:
            line = _undecodable_line(path)
            raise LabelError(f"{path}:{line}: not UTF-8 text; save the list as UTF-8") from None
        except csv.Error as error:
            raise LabelError(f"{path}:{reader.line_num}: {error}") from None


def _undecodable_line(path: Path) -> int:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _header(row: list[str], *, where: str) -> list[str] | None:
    """Return the columns that the first line names, None when it is a face already."""
    names = [_ALIASES.get(cell.strip().lower(), cell.strip().lower()) for cell in row]
    if "path" not in names and not {"gender", "age"} & set(names):
        return None
    if "path" not in names:
        raise LabelError(f"{where}: the header has no column 'path' ({', '.join(names)})")
    if not {"gender", "age"} & set(names):
        raise LabelError(f"{where}: the header has neither 'gender' nor 'age' ({', '.join(names)})")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise LabelError(f"{where}: the header names {twice[0]!r} twice")
    return names


def _sample(cells: dict[str, str], file: Path) -> FaceSample:
    """Build a face of one line's cells. Raises LabelError without file and line."""
    if not cells["path"]:
        raise LabelError("the path is empty")
    if "\x00" in cells["path"]:
        raise LabelError("the path holds a zero byte; is this a text file?")
    split = cells.get("split", "").lower()
    if split and split not in SPLITS:
        raise LabelError(f"split {split!r} is none of {', '.join(SPLITS)}")
    age, low, high = clean_bin(cells.get("age", UNKNOWN), cells.get("low", ""), cells.get("high", ""))
    return FaceSample(
        _resolved(cells["path"], file.parent),
        clean_gender(cells.get("gender", UNKNOWN)),
        age,
        cells.get("source") or source_name(file),
        subject=cells.get("subject", ""),
        group=cells.get("group", ""),
        split=split,
        template=cells.get("template") or None,
        low=low,
        high=high,
        std=clean_std(cells.get("std", "")),
        fold=cells.get("fold", ""),
        box=_read_box(cells.get("box", "")),
    )


def _cell(sample: FaceSample, name: str) -> str:
    """Return what a list says in a further column, empty where nothing is known."""
    value = getattr(sample, name)
    if name in _NUMBERS:
        return f"{value:g}" if value >= 0 else ""
    if name == "box":
        return " ".join(f"{number:g}" for number in value or ())
    return value or ""


def _read_box(text: str) -> tuple[float, ...] | None:
    if not text:
        return None
    try:
        x1, y1, x2, y2 = map(float, text.split())
    except ValueError:
        raise LabelError(f"box {text!r} is not four numbers x1 y1 x2 y2") from None
    if not (math.isfinite(x1 + y1 + x2 + y2) and x1 < x2 and y1 < y2):
        raise LabelError(f"box {text!r} has no area (x1 y1 x2 y2)")
    return x1, y1, x2, y2


def _resolved(text: str, folder: Path) -> Path:
    """Return the path meant by a list in ``folder``: from there, else from the current folder."""
    candidates = [text] if "\\" not in text else [text, text.replace("\\", "/")]
    base = str(folder)
    for candidate in candidates:
        for path in (os.path.join(base, candidate), candidate):  # noqa: PTH118  # pathlib is five times as slow here
            if os.path.exists(path):  # noqa: PTH110
                return Path(path)
    return folder / candidates[-1]


def _written_path(sample: FaceSample, base: Path) -> str:
    """Return the path as the list gives it: relative to ``base`` where it lies below, else absolute."""
    if sample.draw is not None:
        return sample.path.as_posix()  # lies in no file: the name alone
    absolute = _absolute(sample.path)
    if absolute.is_relative_to(base):
        return absolute.relative_to(base).as_posix()
    return absolute.as_posix()


def _absolute(path: Path) -> Path:
    """Return the absolute path without following links: a linked data folder keeps the name that the user gave it."""
    return Path(os.path.abspath(path))  # noqa: PTH100
