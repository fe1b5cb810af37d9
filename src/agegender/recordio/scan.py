"""Finding the records of a ``.rec`` without its index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agegender.recordio.layout import FIRST, LENGTH_BITS, LENGTH_MASK, MAGIC, MIDDLE, WHOLE

CHUNK_WORDS = 4 << 20


@dataclass(frozen=True, eq=False)
class Heads:
    """Every aligned magic of a file with the word after it: byte ``offsets`` (n,) int64, ``words`` (n,) uint32."""

    offsets: NDArray[np.int64]
    words: NDArray[np.uint32]
    file_size: int

    @property
    def flags(self) -> NDArray[np.uint32]:
        """Part flag per head: whole, first, middle, last (0..3); 4..7 is damage."""
        return (self.words >> LENGTH_BITS).astype(np.uint32)

    @property
    def ends(self) -> NDArray[np.int64]:
        """Byte offset after each part with its padding."""
        length = (self.words & LENGTH_MASK).astype(np.int64)
        return self.offsets + 8 + ((length + 3) & ~3)

    def intact(self) -> bool:
        """Return whether the parts follow each other without a gap from the first byte to the last, in legal order."""
        if not len(self.offsets):
            return self.file_size == 0
        ends, flags = self.ends, self.flags
        chained = self.offsets[0] == 0 and (ends[:-1] == self.offsets[1:]).all() and ends[-1] == self.file_size
        opens = (flags == FIRST) | (flags == MIDDLE)
        starts = (flags == FIRST) | (flags == WHOLE)
        # After an open part comes a later part of the same record, after a closed one a new record.
        ordered = starts[0] and not opens[-1] and (starts[1:] != opens[:-1]).all() and (flags <= 3).all()
        return bool(chained and ordered)

    def starts(self) -> NDArray[np.int64]:
        """Return the byte offsets at which records start, (n,) int64, in the file's order."""
        flags = self.flags
        starts: NDArray[np.int64] = self.offsets[(flags == WHOLE) | (flags == FIRST)]
        return starts


def scan_heads(path: Path) -> Heads:
    """Find every aligned magic of a file. Reads it once, in chunks of 16 MB; nothing is mapped into memory."""
    size = path.stat().st_size
    offsets: list[NDArray[np.int64]] = []
    words: list[NDArray[np.uint32]] = []
    with open(path, "rb") as file:
        base = 0
        # One word more than the chunk: the word after a magic in its last place.
        while base + 8 <= size:
            file.seek(base)
            chunk = np.fromfile(file, "<u4", CHUNK_WORDS + 1)
            hits = np.flatnonzero(chunk[:-1] == MAGIC)
            offsets.append(base + 4 * hits)
            words.append(chunk[hits + 1])
            if len(chunk) <= CHUNK_WORDS:
                break
            base += 4 * CHUNK_WORDS
    if not offsets:
        return Heads(np.empty(0, np.int64), np.empty(0, np.uint32), size)
    return Heads(np.concatenate(offsets), np.concatenate(words), size)
