"""A set of names that stays small: a million take eight megabytes."""

from __future__ import annotations

import hashlib
import os

import numpy as np

# How many may wait outside the sorted array; each merge copies it.
_PENDING = 1 << 16


class SeenNames:
    """Remembers which names were added, at eight bytes each.

    Only a 64-bit hash of each is kept: among a million names one is taken for another once in 30 million sets.
    """

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._pending: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._pending)

    def __contains__(self, name: str) -> bool:
        return self._has(_digest(name))

    def add(self, name: str) -> bool:
        """Add ``name``; True where it is new."""
        digest = _digest(name)
        if self._has(digest):
            return False
        self._pending.add(digest)
        if len(self._pending) >= _PENDING:
            merged = np.concatenate([self._sorted, np.fromiter(self._pending, np.uint64, len(self._pending))])
            merged.sort()
            self._sorted, self._pending = merged, set()
        return True

    def _has(self, digest: int) -> bool:
        if digest in self._pending:
            return True
        value = np.uint64(digest)
        place = int(self._sorted.searchsorted(value))
        return place < len(self._sorted) and bool(self._sorted[place] == value)


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest(), "little")
