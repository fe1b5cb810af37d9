"""The partial folder: where a set grows until it is complete, and what lets a killed run go on.

``<output>/.partial/`` holds the growing files and ``journal.jsonl``. Its first line names the plan (a digest of data
and options), each further line a state: the sizes that the files had, flushed to disk, and how far the job was. Going
on means cutting every file to the last state's size. The last line of all lists the files to rename: from there on the
set is complete, and a run that is killed while renaming is finished by the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agegender.dataset.growing_file import GrowingFile
from agegender.errors import UsageError

PARTIAL = ".partial"
JOURNAL = "journal.jsonl"


class Journal:
    """The journal of the partial folder of ``output``, locked against a second run."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output / PARTIAL
        self.folder.mkdir(parents=True, exist_ok=True)
        self._growing: list[GrowingFile] = []
        self._writer, self._syncer = (
            ThreadPoolExecutor(1, thread_name_prefix=f"packing-{work}") for work in ("write", "sync")
        )
        self._file = open(self.folder / JOURNAL, "a+b", buffering=0)  # noqa: SIM115 (closed in close)
        try:
            self._lock()
            self.lines, self._size = self._read()
        except BaseException:
            self._file.close()
            raise

    @property
    def interrupted(self) -> bool:
        """Tell whether an earlier run left something here."""
        return bool(self.lines)

    @property
    def complete(self) -> bool:
        """Tell whether an earlier run only had renames left to do."""
        return bool(self.lines) and "rename" in self.lines[-1]

    def begin(self, plan: dict[str, Any]) -> None:
        """Drop what an earlier run left and note the plan of this one."""
        for child in self.folder.iterdir():
            if child.name != JOURNAL:
                child.unlink()
        self._file.truncate(0)
        self.lines, self._size = [], 0
        self.note(plan)

    def resume(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Return the last state of an earlier run with the same plan, an empty one where none was noted.

        Raises UsageError where data or options have changed since.
        """
        if self.lines[0] != plan:
            changed = ", ".join(key for key in plan if self.lines[0].get(key) != plan[key])
            raise UsageError(
                f"{self.folder} was packed from other data or with other options ({changed} differ); "
                "give the same ones, or start again without --resume"
            )
        self._file.truncate(self._size)  # a line that a kill cut off
        return self.lines[-1] if len(self.lines) > 1 else {}

    def grow(self, name: str, *, size: int = 0) -> GrowingFile:
        """Open a file of the partial folder at ``size``, to append to it."""
        file = GrowingFile(self.folder / name, size=size, writer=self._writer, syncer=self._syncer)
        self._growing.append(file)
        return file

    def note(self, line: dict[str, Any]) -> None:
        """Append a line, on the disk when this returns."""
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
        self._file.write(data)
        os.fsync(self._file.fileno())
        self.lines = [*self.lines[:1], line]
        self._size += len(data)

    def publish(self, names: list[str], *, remove: list[str]) -> None:
        """Give the files ``names`` their final place in the output folder, after removing the files ``remove`` there.

        ``names`` come in the order of renaming; the partial folder is removed.
        """
        for file in self._growing:
            file.close()
        _sync_folder(self.folder)
        self.note({"rename": names, "remove": remove})
        self.finish()

    def finish(self) -> None:
        """Do the renames of a complete set that are not done yet, and remove the partial folder."""
        line = self.lines[-1]
        for name in line["remove"]:
            (self.output / name).unlink(missing_ok=True)
        for name in line["rename"]:
            if (self.folder / name).exists():
                os.replace(self.folder / name, self.output / name)
        _sync_folder(self.output)
        self.discard()

    def discard(self) -> None:
        """Remove the partial folder and all that is in it."""
        self.close()
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """Close all growing files as they are, and unlock; the folder stays for ``--resume``."""
        for file in self._growing:
            file.close()
        self._writer.shutdown()
        self._syncer.shutdown()
        self._file.close()

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:
            return  # Windows: a second run fails when it replaces the files that this one has open
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another run is packing into {self.output}; wait for it, or give another --output"
            ) from None
        except OSError:
            return  # a network file system without locks

    def _read(self) -> tuple[list[dict[str, Any]], int]:
        """Return the first and the last whole line, and where the last one ends."""
        self._file.seek(0)
        lines: list[dict[str, Any]] = []
        size = 0
        for text in self._file.readall().splitlines(keepends=True):
            if not text.endswith(b"\n"):
                break
            try:
                lines = [*lines[:1], json.loads(text)]
            except ValueError:
                break
            size += len(text)
        return lines, size


def _sync_folder(folder: Path) -> None:
    """Make renames durable where a folder can be synced (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
