"""One ``.rec`` file: records by position, straight from the memory map."""

from __future__ import annotations

import contextlib
import logging
import mmap
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from agegender.errors import RecordError
from agegender.recordio.index import Index, index_path, read_index
from agegender.recordio.layout import (
    FIRST,
    IMAGE_HEADER,
    LAST,
    LENGTH_BITS,
    LENGTH_MASK,
    MAGIC,
    MAGIC_BYTES,
    MIDDLE,
    PART_HEAD,
    WHOLE,
    padded,
)
from agegender.recordio.scan import scan_heads

log = logging.getLogger(__name__)

# So many records are looked at when a file is opened, to notice an index that belongs to another one.
SPOT_CHECKS = 64
# Offsets are checked so many at a time: whole arrays in between would double the memory.
CHECK_ROWS = 1 << 20


class RecordFile:
    """The records of one ``.rec``, by position 0..n-1 in the order of its index.

    The ``.idx`` is looked for beside the file; where there is none the file is scanned, and the log says so. An index
    given by ``index`` may name a part of the records; one found beside the file must reach the file's end.
    Reading is thread-safe. Raises RecordError when the file is missing or the index does not fit.
    """

    def __init__(self, path: Path | str, *, index: Path | str | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise RecordError(missing_file(self.path))
        self.size = self.path.stat().st_size
        self.data = map_file(self.path, self.size)
        try:
            beside = index_path(self.path)
            if index is None and not beside.is_file():
                log.info("%s has no %s: scanning it (tools/rec.py index writes one)", self.path, beside.name)
                self.keys, self.offsets = scan_index(self.path)
            else:
                self.index = Path(index) if index is not None else beside
                self.keys, self.offsets = read_index(self.index)
                self._check_index(self.index, whole=index is None)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, position: int) -> bytes | memoryview:
        """Return the payload of a record: a read-only view of the file, or bytes where it is stored in parts.

        Raises RecordError when the record is damaged or the position is not within 0..n-1.
        """
        if not 0 <= position < len(self.keys):
            raise RecordError(f"{self.path}: there is no position {position}, only 0..{len(self.keys) - 1}")
        offset = int(self.offsets[position])
        try:
            return read_record(self.data, offset, size=self.size)[0]
        except RecordError as error:
            raise RecordError(
                f"{self.path}: record key {self.keys[position]} at byte {offset}: {error}; "
                f"tools/rec.py verify says what is damaged"
            ) from error

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return (self.read(position) for position in range(len(self)))

    def find(self, key: int) -> int:
        """Return the position of a key. Raises RecordError where there is none."""
        found = np.flatnonzero(self.keys == key)
        if not found.size:
            raise RecordError(f"{self.path}: there is no record with key {key}")
        return int(found[0])

    def close(self) -> None:
        """Give the memory map back. Views that were read and are still held keep it alive until they go."""
        # BufferError says that such views exist; the map then closes itself after the last of them.
        with contextlib.suppress(BufferError):
            self.data.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_index(self, index: Path, *, whole: bool) -> None:
        """Notice an index that does not belong to the file: by its range, and by looking at some of its records."""
        if not len(self.keys):
            if self.size and whole:
                raise RecordError(_misfit(index, self.path, f"it is empty, the file has {self.size} bytes"))
            return
        for begin in range(0, len(self), CHECK_ROWS):
            offsets = self.offsets[begin : begin + CHECK_ROWS]
            wrong = np.flatnonzero((offsets & 3 != 0) | (offsets > self.size - PART_HEAD.size))
            if wrong.size:
                at = begin + int(wrong[0])
                place = f"key {self.keys[at]} is at byte {self.offsets[at]}, the file has {self.size}"
                raise RecordError(_misfit(index, self.path, place))
        self._check_spots(index)
        last = int(np.argmax(self.offsets))
        end = self._check_spot(index, last)
        if whole and (self.offsets.min() != 0 or end != self.size):
            covered = f"its records fill bytes {self.offsets.min()} to {end}, the file has {self.size}"
            raise RecordError(_misfit(index, self.path, covered))

    def _check_spots(self, index: Path) -> None:
        """Refuse an index that is wrong at most of the spots. Single ones are damaged records, for ``read`` to name."""
        errors = []
        spots = spot_positions(len(self.keys))
        for position in spots:
            try:
                self._check_spot(index, int(position))
            except RecordError as error:
                errors.append(error)
        if 2 * len(errors) > len(spots):
            raise errors[0]

    def _check_spot(self, index: Path, position: int) -> int:
        offset = int(self.offsets[position])
        try:
            return read_record(self.data, offset, size=self.size)[1]
        except RecordError as error:
            place = f"key {self.keys[position]} at byte {offset}: {error}"
            raise RecordError(_misfit(index, self.path, place)) from error


def read_record(data: mmap.mmap | bytes, offset: int, *, size: int) -> tuple[bytes | memoryview, int]:
    """Return the payload of the record at byte ``offset`` and the offset after it.

    A record in one part is a view of ``data``, one in several is joined with the magic between its parts.
    Raises RecordError when no record starts there or it does not end within ``size`` bytes.
    """
    flag, begin, length = _read_part(data, offset, size=size)
    if flag == WHOLE:
        return memoryview(data)[begin : begin + length], begin + padded(length)
    if flag != FIRST:
        raise RecordError(f"no record starts there, but part {flag} of one")
    parts = []
    while flag in (FIRST, MIDDLE):
        parts.append(data[begin : begin + length])
        flag, begin, length = _read_part(data, begin + padded(length), size=size)
        if flag not in (MIDDLE, LAST):
            raise RecordError("the later parts of the record are missing")
    parts.append(data[begin : begin + length])
    return MAGIC_BYTES.join(parts), begin + padded(length)


def _read_part(data: mmap.mmap | bytes, offset: int, *, size: int) -> tuple[int, int, int]:
    """Return the flag of the part at ``offset``, where its payload begins, and its length."""
    begin = offset + PART_HEAD.size
    if offset < 0 or begin > size:
        raise RecordError(f"the file ends before it, at byte {size}")
    magic, word = PART_HEAD.unpack_from(data, offset)
    if magic != MAGIC:
        raise RecordError(f"no record starts there (0x{magic:08x} instead of 0x{MAGIC:08x})")
    flag, length = word >> LENGTH_BITS, word & LENGTH_MASK
    if flag > LAST:
        raise RecordError(f"part flag {flag} is none of 0..3")
    if begin + padded(length) > size:
        raise RecordError(f"it announces {length} bytes, but the file ends after {max(0, size - begin)} of them")
    return flag, begin, length


def scan_index(path: Path) -> Index:
    """Return keys and offsets of a file found by scanning it, both (n,) int64.

    The keys are the ids in the image headers where every record has its own, else 0..n-1.
    Raises RecordError when the file is damaged: which records are whole is then for ``repair`` to say.
    """
    heads = scan_heads(path)
    if not heads.intact():
        raise RecordError(
            f"{path} is damaged; tools/rec.py verify says where, repair writes what is left to a new file"
        )
    offsets = heads.starts()
    with mapped(path, heads.file_size) as data:
        return header_keys(data, offsets), offsets


def header_keys(data: mmap.mmap | bytes, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the ids in the image headers of the records at ``offsets``, or 0..n-1 where those can't be keys."""
    count = len(offsets)
    words = np.frombuffer(data, "<u4", count=len(data) // 4)
    first = offsets // 4
    lengths = words[first + 1] & LENGTH_MASK
    if count and (lengths >= IMAGE_HEADER.size).all():
        low, high, id2 = (words[first + place].astype(np.int64) for place in (4, 5, 6))
        ids: NDArray[np.int64] = high << 32 | low
        if not id2.any() and (ids >= 0).all() and len(np.unique(ids)) == count:
            return ids
    return np.arange(count, dtype=np.int64)


def spot_positions(count: int) -> NDArray[np.int64]:
    """Return the positions that are looked at when a file of ``count`` records is opened."""
    return np.unique(np.linspace(0, count - 1, min(count, SPOT_CHECKS)).astype(np.int64))


def map_file(path: Path, size: int) -> mmap.mmap:
    """Map a file of ``size`` bytes into memory, to be read only."""
    if not size:
        # An empty file can't be mapped; an anonymous byte stands in for it and is never read.
        return mmap.mmap(-1, 1)
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _misfit(index: Path, path: Path, reason: str) -> str:
    return (
        f"{index} does not fit {path.name} ({reason}): one is damaged or from another set; "
        f"tools/rec.py verify says which, index rebuilds the .idx, repair saves what is left of the .rec"
    )


@contextlib.contextmanager
def mapped(path: Path, size: int) -> Iterator[mmap.mmap]:
    """Map a file for the length of a ``with`` block. Views still held then keep the map alive until they go."""
    data = map_file(path, size)
    try:
        yield data
    finally:
        with contextlib.suppress(BufferError):
            data.close()


def missing_file(path: Path) -> str:
    """Say that a ``.rec`` is not there, and which are."""
    if path.is_dir():
        return f"{path} is a folder, not a .rec file"
    others = sorted(other.name for other in path.parent.glob("*.rec")) if path.parent.is_dir() else []
    there = f"there are {', '.join(others[:8])}" if others else "create_dataset.py writes one"
    return f"there is no {path} ({there})"
