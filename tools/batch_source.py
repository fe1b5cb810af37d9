"""Which photos a batch job goes through: a folder tree or a manifest, read as the job goes on, never as a whole."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agegender.app.inference.sources import PHOTO_SUFFIXES, Search, is_url
from agegender.app.seen_names import SeenNames
from agegender.errors import DataError, UsageError

MANIFESTS = (".txt", ".csv", ".parquet")
COLUMN = "path"
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Named:
    """A photo: its path, and why it can't be one, where that is known before it is opened."""

    path: str
    error: str | None = None

    @property
    def image(self) -> str:
        """Return what the results call it: the path, with bytes that are no text as ``\\xe9``."""
        return os.fsencode(self.path).decode("utf-8", "backslashreplace")


class Input:
    """The photos of ``--input``. Raises UsageError where there is none, or where it is neither folder nor manifest."""

    def __init__(self, name: str) -> None:
        self.path = Path(name).expanduser()
        # Where Ray runs it, the current folder is another.
        self._place = self.path.absolute()
        if not self.path.exists():
            raise UsageError(f"--input {name}: there is no such folder or manifest")
        if not self.path.is_dir() and self.path.suffix.lower() not in MANIFESTS:
            raise UsageError(f"--input {name} is neither a folder nor a manifest ({', '.join(MANIFESTS)})")
        try:
            first = next(self.photos(), None)
        except DataError as error:
            raise UsageError(f"--input {error}") from error
        if first is None and self.path.is_dir():
            raise UsageError(f"--input {name}: no photo lies in that folder or below ({' '.join(PHOTO_SUFFIXES)})")
        if first is None:
            raise UsageError(f"--input {name}: the manifest names no photo")

    def photos(self) -> Iterator[Named]:
        """Yield the photos, always in the same order, none twice. Raises DataError for a manifest that is damaged."""
        if self._place.is_dir():
            for found in Search(str(self.path), self._place).photos():
                yield Named(str(self.path / found.path.relative_to(self._place)), found.error)
            return
        seen = SeenNames()
        for named in self._rows():
            if seen.add(named.path):
                yield named

    def _rows(self) -> Iterator[Named]:
        read = {".txt": self._lines, ".csv": self._csv, ".parquet": self._parquet}[self.path.suffix.lower()]
        for number, path in read():
            if not path:
                place = f"{self.path}:{number}"
                yield Named(place, f"{place}: no path stands there")
            elif is_url(path):
                yield Named(path, f"{path}: photos are read from files, not from addresses; download it first")
            else:
                yield Named(path)

    def _lines(self) -> Iterator[tuple[int, str]]:
        with open(self._place, "rb") as file:
            for number, line in enumerate(file, 1):
                if path := os.fsdecode(line.rstrip(b"\r\n")):
                    yield number, path

    def _csv(self) -> Iterator[tuple[int, str]]:
        with open(self._place, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            try:
                self._need_column(reader.fieldnames or [])
                for row in reader:
                    yield reader.line_num, row[COLUMN] or ""
            except csv.Error as error:
                raise DataError(f"{self.path}:{reader.line_num}: not CSV ({error})") from error

    def _parquet(self) -> Iterator[tuple[int, str]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self._place) as file:
                self._need_column(file.schema_arrow.names)
                number = 0
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[COLUMN]):
                    for value in batch.column(0).to_pylist():
                        number += 1
                        if not isinstance(value, str | bytes | None):
                            raise DataError(f"{self.path}: row {number} of {COLUMN!r} is {value!r}, not a path")
                        yield number, os.fsdecode(value or "")
        except pa.ArrowException as error:
            raise DataError(f"{self.path}: not a Parquet file that can be read ({error})") from error

    def _need_column(self, names: Sequence[str]) -> None:
        if COLUMN not in names:
            raise DataError(f"{self.path} has no column {COLUMN!r} (it has: {', '.join(map(str, names)) or 'none'})")
