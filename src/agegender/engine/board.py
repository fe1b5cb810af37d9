"""Curves for TensorBoard: scalars by step, in event files that a resumed run goes on with."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from agegender.errors import UsageError

# What TensorBoard takes for its files. Its own writer would put the machine's name behind it.
FILES = "events.out.tfevents.*"
_VERSION = "brain.Event:2"


def check_tensorboard() -> None:
    """Raise UsageError where the package that writes the files is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard needs the package tensorboard, which is not installed: pip install tensorboard")


class Board:
    """Writes scalars into ``folder``; ``steps_done`` is how many steps a resumed run has behind it.

    What an earlier session wrote of later steps, which will be trained again, is then no longer shown. Raises
    UsageError where TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, steps_done: int) -> None:
        check_tensorboard()
        from tensorboard.compat.proto import event_pb2, summary_pb2  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = RecordWriter(open(_free(folder), "xb"))  # noqa: SIM115 - __exit__ closes it
        self._write(file_version=_VERSION)
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(step=steps_done + 1, session_log=start)
        self._writer.flush()

    def add(self, scalars: Mapping[str, float], *, step: int) -> None:
        """Add points at ``step``, the number of batches trained on so far; a nan is left out. On disk at return."""
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items() if value == value]
        self._write(step=step, summary=self._summary(value=values))
        self._writer.flush()

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def _write(self, **what: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **what).SerializeToString())


def _free(folder: Path) -> Path:
    """Return a name for a new file, behind all that are there: TensorBoard reads them in the order of their names."""
    numbers = [int(name) for path in folder.glob(FILES) if (name := path.name.split(".")[3]).isdecimal()]
    number = max([int(time.time()), *(number + 1 for number in numbers)])
    return folder / f"{FILES.removesuffix('*')}{number:010d}.{os.getpid()}"
