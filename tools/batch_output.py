"""The Parquet files of a batch job: one row per face, each file whole or not there at all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agegender.app.seen_names import SeenNames
from agegender.deploy.face import Face
from agegender.errors import DataError, UsageError
from agegender.files import atomic_path

# ``infer.py --csv`` has the same columns, rounded.
SCHEMA = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        ("face", pa.int32()),
        pa.field("faces", pa.int32(), nullable=False),
        *((name, pa.float32()) for name in ("x1", "y1", "x2", "y2")),
        ("score", pa.float64()),
        ("gender", pa.string()),
        ("gender_probability", pa.float64()),
        *((name, pa.float64()) for name in ("age", "age_low", "age_high")),
        ("error", pa.string()),
    ]
)
ROWS_PER_FILE = 200_000
# What a machine that dies can lose.
SECONDS_PER_FILE = 300.0
_PATTERN = "faces-*.parquet"
_METADATA = b"agegender"


def rows_of(image: str, faces: Sequence[Face], error: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of a photo: one per face, or one without a face, whose ``error`` says why there may be none."""
    if not faces:
        return [{"image": image, "faces": 0, "error": error}]
    return [{"image": image, "face": n, "faces": len(faces), **_values(face)} for n, face in enumerate(faces, 1)]


def _values(face: Face) -> dict[str, Any]:
    low, high = face.age_interval or (None, None)
    return {
        **dict(zip(("x1", "y1", "x2", "y2"), face.box.tolist(), strict=True)),
        "score": face.score,
        "gender": face.gender,
        "gender_probability": face.gender_probability,
        "age": face.age,
        "age_low": low,
        "age_high": high,
    }


def find_files(folder: Path) -> list[Path]:
    """Return the files of results in ``folder``, oldest first."""
    return sorted(folder.glob(_PATTERN), key=_number)


def read_images(files: Sequence[Path]) -> Iterator[tuple[str, bool]]:
    """Yield each photo of ``files`` and whether it has an error. Raises DataError for a file that isn't one of ours."""
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                if not file.schema_arrow.equals(SCHEMA):
                    raise DataError(
                        f"{path}: not the columns of batch_infer_ray.py; --resume can't go on in its folder"
                    )
                for batch in file.iter_batches(columns=["image", "face", "error"]):
                    # One row per photo: the first face, or the row that tells there is none.
                    first = pc.fill_null(pc.less_equal(batch["face"], 1), True)
                    part = batch.filter(first)
                    failed = pc.is_valid(part["error"]).to_pylist()
                    yield from zip(part["image"].to_pylist(), failed, strict=True)
        except pa.ArrowException as error:
            raise DataError(
                f"{path}: a damaged Parquet file ({error}); delete it, and --resume does it anew"
            ) from error


def seen_images(files: Sequence[Path]) -> SeenNames:
    """Return the photos that ``files`` have, at eight bytes each. Raises what ``read_images`` raises."""
    seen = SeenNames()
    for image, _ in read_images(files):
        seen.add(image)
    return seen


class ParquetFolder:
    """Writes rows to ``folder``; leave it as a context, which writes what is left.

    A file is written when it has ``ROWS_PER_FILE`` rows or the last was ``SECONDS_PER_FILE`` ago. ``about`` goes into
    each, as JSON: what made it. Raises UsageError where the folder can't be used, holds results already and ``resume``
    is False, or holds those of another ``about``; DataError for files that aren't ours.
    """

    def __init__(self, folder: Path, *, resume: bool, about: Mapping[str, Any]) -> None:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"--output {folder} is a file; name a folder")
        self.before = find_files(folder) if folder.is_dir() else []
        if self.before and not resume:
            raise UsageError(f"--output {folder} holds results already; --resume goes on with them, or name another")
        self.folder = folder
        self.written = 0
        self._schema = SCHEMA.with_metadata({_METADATA: json.dumps(about)})
        for path in self.before:
            _check_about(path, about)
        folder.mkdir(parents=True, exist_ok=True)
        self._next = _number(self.before[-1]) + 1 if self.before else 0
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._since = time.monotonic()

    def add(self, table: pa.Table) -> None:
        """Add the rows of whole photos."""
        self._tables.append(table.cast(SCHEMA))
        self._rows += table.num_rows
        if self._rows >= ROWS_PER_FILE or time.monotonic() - self._since >= SECONDS_PER_FILE:
            self._write()

    def __enter__(self) -> ParquetFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left, after an error or Ctrl-C too: all photos that were added are whole."""
        if self._rows:
            self._write()

    def _write(self) -> None:
        path = self.folder / f"faces-{self._next:05d}.parquet"
        with atomic_path(path) as temporary:
            pq.write_table(pa.concat_tables(self._tables).cast(self._schema), temporary, compression="zstd")
        self._next += 1
        self.written += 1
        self._tables, self._rows, self._since = [], 0, time.monotonic()


def read_about(path: Path) -> dict[str, Any]:
    """Return what a file says of how it was made. Raises DataError where it can't be read or says nothing."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        about: dict[str, Any] = json.loads(metadata[_METADATA])
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"{path}: not a whole file of batch_infer_ray.py; delete it, or name another folder") from error
    return about


def _check_about(path: Path, about: Mapping[str, Any]) -> None:
    before = read_about(path)
    for key, value in about.items():
        if before.get(key) != value:
            raise UsageError(
                f"{path} was made with {key} {before.get(key)!r}, not {value!r}; --resume needs the same options, or "
                "name another folder"
            )


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("faces-")
    return int(digits) if digits.isdecimal() else -1
