"""Writing a ``.rec`` with its ``.idx`` so that nobody ever sees half a set under the final name."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from agegender.errors import RecordError
from agegender.recordio.index import index_path, read_index
from agegender.recordio.layout import Payload, frame

BUFFER_BYTES = 1 << 20


class RecordWriter:
    """Writes records to ``path`` and their index beside it, the same bytes as MXIndexedRecordIO.

    Used in a ``with`` block: both files grow under temporary names (``.NAME.PID.tmp`` in the same folder), and get
    their final ones, flushed to disk, when the block ends well. When it ends with an exception they are removed and
    what stood under the final names stays. Memory does not grow with the number of records.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.index = index_path(self.path)
        if self.path == self.index:
            raise RecordError(f"{self.path}: a record file can't be named .idx, that is its index")
        self.records = 0
        self.bytes = 0
        self._last_key = -1
        self._ascending = True
        self._temporary = {final: _temporary_name(final) for final in (self.path, self.index)}
        self._closed = False
        self._files: list[BinaryIO] = []
        try:
            for temporary in self._temporary.values():
                self._files.append(open(temporary, "wb", buffering=BUFFER_BYTES))  # noqa: SIM115 (closed in close)
        except OSError as error:
            self.abort()
            raise self._failure(error) from error

    def write(self, key: int, payload: Payload) -> int:
        """Append one record and return the byte offset it starts at.

        Raises RecordError when the key is negative, the payload too long, or the disk is full.
        """
        if self._closed:
            raise RecordError(f"{self.path}: record {key} was written after the file was closed")
        if not 0 <= key < 2**63:
            raise RecordError(f"{self.path}: record key {key} is not within 0..2^63-1")
        try:
            framed = frame(payload)
        except RecordError as error:
            raise RecordError(f"{self.path}: record {key}: {error}") from error
        offset = self.bytes
        try:
            self._files[0].write(framed)
            self._files[1].write(b"%d\t%d\n" % (key, offset))
        except OSError as error:
            raise self._failure(error) from error
        self.bytes += len(framed)
        self.records += 1
        self._ascending = self._ascending and key > self._last_key
        self._last_key = key
        return offset

    def close(self) -> None:
        """Flush both files to disk and give them their final names. On failure nothing is left and RecordError raised.

        The index goes first: a ``.rec`` that is there always has one, and a kill in between leaves an old ``.rec``
        with an index that does not fit, which every reader notices.
        """
        if self._closed:
            return
        try:
            for file in self._files:
                file.flush()
                os.fsync(file.fileno())
                file.close()
            self._check_keys()
            for final in (self.index, self.path):
                os.replace(self._temporary[final], final)
            _sync_folder(self.path.parent)
        except OSError as error:
            self.abort()
            raise self._failure(error) from error
        except BaseException:
            self.abort()
            raise
        self._closed = True

    def abort(self) -> None:
        """Remove the temporary files; the final names are not touched."""
        self._closed = True
        for file in self._files:
            # On a full disk closing fails again, since it flushes what is buffered; the file goes away anyway.
            with contextlib.suppress(OSError):
                file.close()
        for temporary in self._temporary.values():
            temporary.unlink(missing_ok=True)

    def _check_keys(self) -> None:
        """Refuse keys given twice: MXNet's index is a dict and would hide the first record."""
        if self._ascending:
            return
        keys = np.sort(read_index(self._temporary[self.index])[0])
        twice = keys[1:][keys[1:] == keys[:-1]]
        if twice.size:
            raise RecordError(f"{self.path}: key {twice[0]} was written more than once ({twice.size} such records)")

    def _failure(self, error: OSError) -> RecordError:
        return RecordError(
            f"can't write {self.path}: {error.strerror or error}; nothing half-written is left under that name"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif not self._closed:
            self.abort()


def _temporary_name(final: Path) -> Path:
    return final.with_name(f".{final.name}.{os.getpid()}.tmp")


def _sync_folder(folder: Path) -> None:
    """Make the renames durable, where the system lets a folder be synced (Windows does not)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
