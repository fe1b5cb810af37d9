"""The files that hold the results, as JSON and CSV: one piece per photo, whole or not there at all.

Each piece is written in one call to the system, so that a killed run leaves a complete file, or one whose last piece
is torn (a full disk, a power cut). With ``resume`` a torn end is cut off and the photos before it are known.
"""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agegender.app.inference.maker import Maker
from agegender.app.seen_names import SeenNames
from agegender.deploy.face import Face
from agegender.doubt import NUMBERS
from agegender.errors import DataError

CSV_COLUMNS = (
    *("image", "face", "faces", "x1", "y1", "x2", "y2", "score", "gender", "gender_probability"),
    *("age", "age_low", "age_high", "error"),
)
# Before the last of them, where the net was asked several times (--mc_dropout).
PASSES_COLUMNS = NUMBERS


class ResultFile(ABC):
    """A file of results, to be closed. Without ``resume`` an older one is emptied.

    ``failed`` counts the photos in it that could not be read, ``len`` all. ``maker`` is written down beside a new file.
    Raises DataError where ``resume`` meets a file that isn't one of these, UsageError where it is of another ``maker``.
    """

    def __init__(self, path: Path, *, resume: bool = False, maker: Maker | None = None) -> None:
        self.path = path
        self.failed = 0
        self._done = SeenNames()
        self._count = 0
        self._file = open(path, "r+b" if resume and path.exists() else "wb", buffering=0)  # noqa: SIM115 (see close)
        try:
            size = self._read() if resume and path.stat().st_size else 0
            if maker is not None and len(self):
                maker.check(path)
            self._file.truncate(size)
            self._file.seek(size)
            if maker is not None and not len(self):
                maker.note(path)
            if not size:
                self._append(self._header())
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return self._count

    def has(self, image: str) -> bool:
        """Tell whether the photo ``image`` was in the file when it was opened."""
        return image in self._done

    def write(self, image: str, faces: Sequence[Face], error: str | None = None) -> None:
        """Append what is known of a photo: its faces, or the ``error`` for which there are none."""
        self._append(self._piece(image, faces, error))

    def close(self) -> None:
        """Close the file; all that was written is in it."""
        self._file.close()

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _note(self, image: str, failed: bool) -> None:
        self._done.add(image)
        self._count += 1
        self.failed += failed

    @abstractmethod
    def _header(self) -> bytes:
        """Return what a new file begins with."""

    @abstractmethod
    def _piece(self, image: str, faces: Sequence[Face], error: str | None) -> bytes:
        """Return what is appended for a photo."""

    @abstractmethod
    def _read(self) -> int:
        """Note the photos of the file; return the size of what is whole."""


def as_object(image: str, faces: Sequence[Face], error: str | None, *, distribution: bool = False) -> dict[str, Any]:
    """Return a photo as JSON-able values: ``image`` with ``faces``, or with the ``error``."""
    if error is not None:
        return {"image": image, "error": error}
    return {"image": image, "faces": [face.to_json(distribution=distribution) for face in faces]}


class JsonFile(ResultFile):
    """One object a line and photo."""

    _start = b'{"image": '

    def __init__(
        self, path: Path, *, resume: bool = False, maker: Maker | None = None, distribution: bool = False
    ) -> None:
        self._distribution = distribution
        super().__init__(path, resume=resume, maker=maker)

    def _header(self) -> bytes:
        return b""

    def _piece(self, image: str, faces: Sequence[Face], error: str | None) -> bytes:
        return (json.dumps(as_object(image, faces, error, distribution=self._distribution)) + "\n").encode()

    def _read(self) -> int:
        size = 0
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n") and line[: len(self._start)] == self._start[: len(line)]:
                    break
                try:
                    value = json.loads(line)
                    self._note(value["image"], "faces" not in value)
                except (ValueError, TypeError, KeyError, AttributeError):
                    raise DataError(
                        f"{self.path}:{number}: not a line of infer.py --json, so --resume can't go on with this file"
                    ) from None
                size += len(line)
        return size


class CsvFile(ResultFile):
    """One row a face; a photo without a face, or with an error, has one row too, whose ``face`` is empty.

    ``passes`` adds ``PASSES_COLUMNS``.
    """

    def __init__(self, path: Path, *, resume: bool = False, maker: Maker | None = None, passes: bool = False) -> None:
        self._more = PASSES_COLUMNS if passes else ()
        self._columns = (*CSV_COLUMNS[:-1], *self._more, CSV_COLUMNS[-1])
        super().__init__(path, resume=resume, maker=maker)

    def _header(self) -> bytes:
        return _row(self._columns)

    def _piece(self, image: str, faces: Sequence[Face], error: str | None) -> bytes:
        if not faces:
            # The path stands in a column of its own.
            reason = (error or "").removeprefix(f"{image}: ")
            return _row([image, "", 0, *[""] * (len(self._columns) - 4), reason])
        cells = (_values(face, self._more) for face in faces)
        return b"".join(_row([image, number, len(faces), *each, ""]) for number, each in enumerate(cells, 1))

    def _read(self) -> int:
        """Cut off a photo whose rows are not all there, too."""
        rows = self._rows()
        first = next(rows, None)
        if first is None and self._header().startswith(self.path.read_bytes()):
            return 0
        if first is None or first[1] != list(self._columns):
            asked = " --mc_dropout" if self._more else ""
            raise DataError(
                f"{self.path} doesn't begin with the columns of infer.py --csv{asked}, so --resume can't go on with "
                "this file"
            )
        size = first[2]
        for number, row, end in rows:
            try:
                image, face, faces, error = row[0], int(row[1] or 0), int(row[2]), row[-1]
                if len(row) != len(self._columns) or not 0 <= face <= faces:
                    raise ValueError
            except (ValueError, IndexError):
                if next(rows, None) is None:
                    break
                raise self._foreign(number) from None
            if face == faces:
                self._note(image, bool(error))
                size = end
        return size

    def _rows(self) -> Iterator[tuple[int, list[str], int]]:
        """Yield line number, cells and end of the rows, without a last one that has no line end."""
        end = 0
        with open(self.path, "rb") as file:

            def lines() -> Iterator[str]:
                nonlocal end
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    end += len(line)
                    yield line.decode(errors="surrogateescape")

            reader = csv.reader(lines())
            try:
                for row in reader:
                    yield reader.line_num, row, end
            except csv.Error:
                raise self._foreign(reader.line_num) from None

    def _foreign(self, line: int) -> DataError:
        return DataError(f"{self.path}:{line}: not a row of infer.py --csv, so --resume can't go on with this file")


def _values(face: Face, more: Sequence[str]) -> list[Any]:
    """Return the cells of a face with those named in ``more``, rounded as in JSON; what isn't known is empty."""
    known = face.to_json()
    low, high = known["age_interval"] or ("", "")
    cells = [*known["box"], known["score"], known["gender"], known["gender_probability"], known["age"], low, high]
    cells += [known.get(name) for name in more]
    return ["" if cell is None else cell for cell in cells]


def _row(cells: Sequence[Any]) -> bytes:
    stream = io.StringIO()
    # With this line end a name that has either of the two in it is quoted.
    csv.writer(stream, lineterminator="\r\n").writerow(cells)
    line = stream.getvalue().removesuffix("\r\n") + "\n"
    # A name that is no text goes in as the bytes it has.
    return line.encode(errors="surrogateescape")


def open_results(
    *,
    json_file: str | None,
    csv_file: str | None,
    resume: bool,
    distribution: bool,
    passes: bool = False,
    maker: Maker | None = None,
) -> list[ResultFile]:
    """Open the files that are wanted; all are closed again where one can't be opened."""
    files: list[ResultFile] = []
    try:
        if json_file is not None:
            files.append(JsonFile(Path(json_file), resume=resume, maker=maker, distribution=distribution))
        if csv_file is not None:
            files.append(CsvFile(Path(csv_file), resume=resume, maker=maker, passes=passes))
    except BaseException:
        for file in files:
            file.close()
        raise
    return files
