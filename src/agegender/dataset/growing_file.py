"""A file of the partial folder while it grows."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Executor, Future
from pathlib import Path

from agegender.errors import DataError

_BUFFER_BYTES = 1 << 20
# Buffers that may wait for the disk.
_WAITING = 8
# After so many bytes the disk is told to begin, so that little is left to wait for at the end.
_SYNC_BYTES = 16 << 20


class GrowingFile:
    """A file that is only appended to, with its SHA-256; opened at ``size``, the rest is cut off.

    Buffers are digested and written by the one thread of ``writer``, while the next one fills; ``syncer`` has what is
    written brought to the disk meanwhile.
    """

    def __init__(self, path: Path, *, size: int, writer: Executor, syncer: Executor) -> None:
        self.path = path
        self.size = size
        self._digest = hashlib.sha256()
        self._writer, self._syncer = writer, syncer
        self._buffer: list[bytes] = []
        self._buffer_bytes = 0
        self._waiting: deque[Future[None]] = deque()
        self._syncing: Future[None] | None = None
        self._unsynced = 0
        self._changed = False
        self._file = open(path, "r+b" if path.exists() else "x+b", buffering=0)  # noqa: SIM115 (closed in close)
        try:
            self._reopen(size)
        except BaseException:
            self._file.close()
            raise

    def append(self, data: bytes) -> None:
        """Append ``data``. Raises OSError on a full disk, perhaps only with a later call."""
        self.extend([data])

    def extend(self, pieces: list[bytes]) -> None:
        """Append all ``pieces``, as ``append`` does."""
        size = sum(map(len, pieces))
        self._buffer += pieces
        self._buffer_bytes += size
        self.size += size
        if self._buffer_bytes >= _BUFFER_BYTES:
            self._flush()

    def sync(self) -> None:
        """Write what is buffered, to the disk itself. Raises OSError on a full disk."""
        self._flush()
        self._wait()
        if self._syncing is not None:
            self._syncing.result()
            self._syncing = None
        if self._changed:
            os.fsync(self._file.fileno())
            self._changed = False
            self._unsynced = 0

    def sha256(self) -> str:
        """Return the hexadecimal SHA-256 of everything appended."""
        self._flush()
        self._wait()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close without writing what is buffered; ``sync`` comes before where the content matters."""
        for write in self._waiting:
            write.exception()
        if self._syncing is not None:
            self._syncing.exception()
        self._file.close()

    def _flush(self) -> None:
        if self._buffer:
            self._wait(_WAITING)
            self._waiting.append(self._writer.submit(self._write, self._buffer))
            self._buffer, self._buffer_bytes = [], 0
            self._changed = True

    def _wait(self, left: int = 0) -> None:
        """Wait until at most ``left`` buffers are not written yet. Raises OSError where one could not be."""
        while len(self._waiting) > left:
            self._waiting[0].result()
            self._waiting.popleft()

    def _write(self, buffer: list[bytes]) -> None:
        data = memoryview(b"".join(buffer))
        self._digest.update(data)
        self._unsynced += len(data)
        while data:
            data = data[self._file.write(data) :]
        if self._unsynced >= _SYNC_BYTES and (self._syncing is None or self._syncing.done()):
            self._syncing = self._syncer.submit(os.fsync, self._file.fileno())
            self._unsynced = 0

    def _reopen(self, size: int) -> None:
        left = size
        while left:
            data = self._file.read(min(left, _BUFFER_BYTES))
            if not data:
                raise DataError(f"{self.path} is shorter than its journal says; start again without --resume")
            self._digest.update(data)
            left -= len(data)
        self._file.truncate(size)
        self._file.seek(size)
