"""Telling whole records from damaged stretches, from the magics of a file."""

from __future__ import annotations

import mmap
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agegender.errors import RecordError
from agegender.recordio.layout import LAST, LENGTH_BITS, LENGTH_MASK, PART_HEAD, WHOLE, padded
from agegender.recordio.reader import read_record
from agegender.recordio.scan import Heads

_JPEG_END = b"\xff\xd9"


@dataclass(frozen=True)
class Stretch:
    """Bytes ``begin`` to ``end`` of a file that hold no whole record."""

    begin: int
    end: int
    reason: str


@dataclass(eq=False)
class Walk:
    """What a file holds: where whole records start and end, (n,) int64 each, and the damaged stretches between.

    ``mended`` are the starts of records whose magic is damaged and nothing else: they are among the whole ones.
    ``unsplit`` are the starts of records with an aligned magic in the payload, which should have been split there.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    damaged: list[Stretch] = field(default_factory=list)
    mended: set[int] = field(default_factory=set)
    unsplit: set[int] = field(default_factory=set)

    def payload(self, data: mmap.mmap | bytes, record: int) -> bytes | memoryview:
        """Return the payload of the whole record number ``record``."""
        start, end = int(self.starts[record]), int(self.ends[record])
        if start in self.mended:
            length = PART_HEAD.unpack_from(data, start)[1] & LENGTH_MASK
            return memoryview(data)[start + PART_HEAD.size :][:length]
        return read_record(data, start, size=end)[0]


def walk_records(heads: Heads, data: mmap.mmap | bytes) -> Walk:
    """Separate whole records from damage.

    A record counts as whole when its parts are in order and a record, or the file's end, follows where it says. After
    damage the next magic that starts a whole record is the way back.
    """
    if heads.intact():
        starts = heads.starts()
        return Walk(starts, np.append(starts[1:], heads.file_size)[: len(starts)])
    return _Walker(heads, data).run()


class _Walker:
    """The slow way through a damaged file, one record at a time."""

    def __init__(self, heads: Heads, data: mmap.mmap | bytes) -> None:
        self.data = data
        self.size = heads.file_size
        self.offsets: list[int] = heads.offsets.tolist()
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.walk = Walk(np.empty(0, np.int64), np.empty(0, np.int64))

    def run(self) -> Walk:
        position, damage = 0, ""
        begin = 0
        while position < self.size:
            end, problem = self._record(position)
            if problem:
                if not damage:
                    begin, damage = position, problem
                position = self._next_magic(position)
                continue
            if damage:
                self.walk.damaged.append(Stretch(begin, position, damage))
                damage = ""
            self.starts.append(position)
            self.ends.append(end)
            if position not in self.walk.mended and self._magics_inside(position, end):
                self.walk.unsplit.add(position)
            position = end
        if damage:
            self.walk.damaged.append(Stretch(begin, self.size, damage))
        self.walk.starts = np.array(self.starts, np.int64)
        self.walk.ends = np.array(self.ends, np.int64)
        return self.walk

    def _record(self, position: int) -> tuple[int, str]:
        """Return the end of the record at ``position``, and what is wrong with it ("" when it is whole)."""
        if not self._is_magic(position):
            end = self._end_despite_magic(position)
            if end:
                self.walk.mended.add(position)
                return end, ""
        try:
            payload, end = read_record(self.data, position, size=self.size)
        except RecordError as error:
            return 0, str(error)
        if end == self.size or self._is_magic(end) or self._end_despite_magic(end):
            return end, ""
        # What follows is damaged beyond doubt, or this length is; a JPEG that ends where it should decides.
        if payload[-2:] == _JPEG_END:
            return end, ""
        return 0, f"its length of {len(payload)} bytes leads to byte {end}, where no record starts"

    def _end_despite_magic(self, position: int) -> int:
        """Return where a record ends whose magic alone is damaged: its length leads exactly to the next; else 0."""
        if position + PART_HEAD.size > self.size:
            return 0
        word = PART_HEAD.unpack_from(self.data, position)[1]
        end = position + PART_HEAD.size + padded(word & LENGTH_MASK)
        if word >> LENGTH_BITS != WHOLE or word == 0 or not (end == self.size or self._is_magic(end)):
            return 0
        return 0 if self._magic_between(position, end) else end

    def _is_magic(self, position: int) -> bool:
        place = bisect_left(self.offsets, position)
        return place < len(self.offsets) and self.offsets[place] == position

    def _magic_between(self, begin: int, end: int) -> bool:
        place = bisect_right(self.offsets, begin)
        return place < len(self.offsets) and self.offsets[place] < end

    def _next_magic(self, position: int) -> int:
        place = bisect_right(self.offsets, position)
        return self.offsets[place] if place < len(self.offsets) else self.size

    def _magics_inside(self, begin: int, end: int) -> bool:
        """Return whether the record has magics that start no part of it."""
        found = bisect_left(self.offsets, end) - bisect_left(self.offsets, begin)
        return found > self._parts(begin, end)

    def _parts(self, begin: int, end: int) -> int:
        parts = 0
        while begin < end:
            word = PART_HEAD.unpack_from(self.data, begin)[1]
            begin += PART_HEAD.size + padded(word & LENGTH_MASK)
            parts += 1
            if word >> LENGTH_BITS in (WHOLE, LAST):
                break
        return parts
