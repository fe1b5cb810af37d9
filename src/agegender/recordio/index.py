"""The index beside a ``.rec``: one line ``key<TAB>offset`` per record, as MXIndexedRecordIO writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from agegender.errors import RecordError
from agegender.files import atomic_path

CHUNK_BYTES = 4 << 20
_TAB, _NEWLINE = 9, 10
_LONGEST_LINE = 64
# int64 text saturates there when it is parsed, so the value itself can't be told from an overflow.
_OVERFLOW = np.iinfo(np.int64).max

Index = tuple[NDArray[np.int64], NDArray[np.int64]]


def index_path(path: Path) -> Path:
    """Return the index that belongs to a ``.rec``: the same name ending in ``.idx``."""
    return path.with_suffix(".idx")


def read_index(path: Path) -> Index:
    """Return keys and byte offsets of an ``.idx``, both (n,) int64, in the file's order.

    The text is parsed in chunks straight into the arrays: 16 bytes per record, and no dict.
    Raises RecordError naming file and line when a line is not two whole numbers with a tab between.
    """
    lines = _count_lines(path)
    keys, offsets = np.empty(lines, np.int64), np.empty(lines, np.int64)
    done = 0
    with open(path, "rb") as file:
        for text in _whole_lines(file):
            numbers = _parse(text, path=path, line=done + 1)
            rows = numbers.shape[0]
            keys[done : done + rows] = numbers[:, 0]
            offsets[done : done + rows] = numbers[:, 1]
            done += rows
    # A blank end leaves fewer rows than lines.
    return keys[:done], offsets[:done]


def write_index(path: Path, keys: NDArray[np.int64], *, offsets: NDArray[np.int64]) -> None:
    """Write an ``.idx`` under a temporary name, then rename it."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="ascii", newline="\n") as file:
        for start in range(0, len(keys), 1 << 16):
            part = slice(start, start + (1 << 16))
            pairs = zip(keys[part].tolist(), offsets[part].tolist(), strict=True)
            file.write("".join(f"{key}\t{offset}\n" for key, offset in pairs))


def _count_lines(path: Path) -> int:
    lines, last = 0, b"\n"
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return lines + (last != b"\n")


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the file in chunks that end at a line's end; the last line may lack its newline."""
    rest = b""
    while chunk := file.read(CHUNK_BYTES):
        text = rest + chunk
        cut = text.rfind(b"\n") + 1
        rest = text[cut:]
        if len(rest) > _LONGEST_LINE:
            break  # not an index at all: don't pile it up in memory
        yield text[:cut]
    if rest:
        yield rest[: _LONGEST_LINE + 1] + b"\n"


def _parse(text: bytes, *, path: Path, line: int) -> NDArray[np.int64]:
    """Return the (rows, 2) numbers of whole lines; ``line`` is the number of the first one."""
    text = text.replace(b"\r\n", b"\n").rstrip(b"\n")
    if not text:
        return np.empty((0, 2), np.int64)
    text += b"\n"
    codes = np.frombuffer(text, np.uint8)
    separators = codes[(codes == _TAB) | (codes == _NEWLINE)]
    plain = not text.translate(None, b"0123456789\t\n")
    if plain and _alternate(separators) and not _has_empty_field(codes):
        numbers = np.fromstring(text, np.int64, sep=" ").reshape(-1, 2)
        if numbers.max() < _OVERFLOW:
            return numbers
    raise RecordError(_first_bad_line(text, path=path, line=line))


def _alternate(separators: NDArray[np.uint8]) -> bool:
    return bool(len(separators) % 2 == 0 and (separators[::2] == _TAB).all() and (separators[1::2] == _NEWLINE).all())


def _has_empty_field(codes: NDArray[np.uint8]) -> bool:
    separator = codes < ord("0")
    return bool(separator[0] or (separator[1:] & separator[:-1]).any())


def _first_bad_line(text: bytes, *, path: Path, line: int) -> str:
    for number, content in enumerate(text.split(b"\n"), start=line):
        fields = content.split(b"\t")
        good = len(fields) == 2 and all(field.isdigit() and int(field[:40]) < _OVERFLOW for field in fields)
        if not good:
            shown = content[:40].decode("utf-8", "replace")
            return f"{path}:{number}: {shown!r} is not 'key<TAB>offset'; tools/rec.py index rebuilds the file"
    return f"{path}:{line}: can't be understood as 'key<TAB>offset' lines; tools/rec.py index rebuilds the file"
