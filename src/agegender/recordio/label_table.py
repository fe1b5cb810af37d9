"""All labels of a file at once, gathered from the record headers without a Python loop over them."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from agegender.errors import RecordError
from agegender.recordio.layout import IMAGE_HEADER, LENGTH_BITS, MAGIC, PART_HEAD, label_of
from agegender.recordio.reader import RecordFile

# So many records are gathered from at a time; then the pages they lie on are let go, to keep memory flat.
ROWS = 1 << 16
# Offsets in words from a record's start: magic, part word, flag, scalar label, ids (4 words), label array.
_WORD, _FLAG, _SCALAR, _ARRAY = 1, 2, 3, 8
_HEADER_WORDS = (PART_HEAD.size + IMAGE_HEADER.size) // 4


def read_labels(file: RecordFile, out: NDArray[np.float32]) -> None:
    """Fill ``out`` (n, width) float32 with the first labels of every record; those that one does not have are -1.

    Raises RecordError naming file and key of a record whose header is damaged.
    """
    for begin in range(0, len(file), ROWS):
        end = min(begin + ROWS, len(file))
        for row in _gather(file, file.offsets[begin:end], out[begin:end]):
            out[begin + row] = _read_one(file, begin + int(row), width=out.shape[1])
        if hasattr(mmap, "MADV_DONTNEED"):
            file.data.madvise(mmap.MADV_DONTNEED)


def _gather(file: RecordFile, offsets: NDArray[np.int64], out: NDArray[np.float32]) -> NDArray[np.int64]:
    """Fill the rows of plain records and return the others: in several parts, too short, or damaged."""
    out[:] = -1.0
    words = np.frombuffer(file.data, "<u4", count=len(file.data) // 4)
    first = offsets // 4
    inside = first + _HEADER_WORDS <= len(words)
    first = np.where(inside, first, 0)
    if not inside.any():
        return np.arange(len(offsets))
    # The part word of a whole record is its length alone: part flag 0.
    length = words[first + _WORD].astype(np.int64)
    flag = words[first + _FLAG].astype(np.int64)
    plain = inside & (words[first] == MAGIC) & (length < 1 << LENGTH_BITS) & (offsets + 8 + length <= file.size)
    plain &= IMAGE_HEADER.size + 4 * flag <= length
    scalar = plain & (flag == 0)
    for column in range(out.shape[1]):
        rows = np.flatnonzero(plain & (flag > column))
        out[rows, column] = words[first[rows] + _ARRAY + column].view("<f4")
    if out.shape[1]:
        out[scalar, 0] = words[first[scalar] + _SCALAR].view("<f4")
    return np.flatnonzero(~plain)


def _read_one(file: RecordFile, position: int, *, width: int) -> NDArray[np.float32]:
    payload = file.read(position)
    try:
        return label_of(payload, width)
    except RecordError as error:
        raise RecordError(f"{file.path}: record key {file.keys[position]}: {error}") from error
