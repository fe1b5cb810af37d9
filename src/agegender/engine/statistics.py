"""What a training did, as JSON in its run folder: ``statistics.json``."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from agegender.errors import DataError
from agegender.files import write_json
from agegender.machine import machine, peak_gpu_memory, peak_memory, versions

NAME = "statistics.json"
RUNNING, FINISHED, INTERRUPTED, FAILED, LOST = "running", "finished", "interrupted", "failed", "lost"
T = TypeVar("T")


class Waiting:
    """Counts how long one waits for the next of something."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Yield ``items``; ``seconds`` grows by the time that each takes to come."""
        iterator = iter(items)
        while True:
            started = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - started
            yield item


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """A finished epoch, counted from 1: ``train`` and ``val`` (None where it was not validated) by name of figure.

    ``loader_seconds`` of its ``seconds`` went by in waiting for batches; ``val_seconds`` come on top of them.
    """

    number: int
    lr: float
    faces: int
    train: Mapping[str, float]
    val: Mapping[str, float] | None
    samples_per_second: float
    seconds: float
    loader_seconds: float
    val_seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return it as ``statistics.json`` has it: seconds to the millisecond, null for what is not known."""
        return {
            "epoch": self.number,
            "lr": self.lr,
            "faces": self.faces,
            "train": _known(self.train),
            "val": None if self.val is None else _known(self.val),
            "samples_per_second": round(self.samples_per_second, 2),
            "seconds": round(self.seconds, 3),
            "loader_seconds": round(self.loader_seconds, 3),
            "loader_share": round(self.loader_seconds / max(self.seconds, 1e-9), 4),
            "val_seconds": round(self.val_seconds, 3),
            "peak_memory": peak_memory(),
            "peak_gpu_memory": peak_gpu_memory(),
        }


class RunStatistics:
    """Keeps ``statistics.json`` in ``folder`` up to date, written anew after each epoch, never half.

    ``about`` is what stays the same over the run (network, data, configuration), ``session`` what belongs to this start
    of it. A run that is resumed takes the first ``resumed_at`` epochs up from the file; None begins a new one.
    ``active`` False, for workers other than the first, writes nothing. Raises DataError where the file that is there is
    damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        about: Mapping[str, Any],
        session: Mapping[str, Any],
        resumed_at: int | None,
        active: bool,
    ) -> None:
        self._path = folder / NAME
        self._active = active
        earlier = _read(self._path) if active and resumed_at is not None else {}
        self._about = dict(about)
        self._epochs = [epoch for epoch in earlier.get("epochs", []) if epoch["epoch"] <= (resumed_at or 0)]
        self._earlier = [_ended(session) for session in earlier.get("sessions", [])]
        self._session = {"started": _now(), **session}
        self._best: dict[str, Any] | None = earlier.get("best")
        self._began = time.perf_counter()
        self._write(RUNNING)

    def add(self, epoch: Epoch) -> None:
        """Take note of a finished epoch."""
        if self._active:
            self._epochs.append(epoch.as_json())
            self._write(RUNNING)

    def name_best(self, epoch: int | None, figures: Mapping[str, Any]) -> None:
        """Take note of the checkpoint that is the best now."""
        if self._active and epoch is not None:
            best = {"epoch": epoch, **figures}
            if best != self._best:
                self._best = best
                self._write(RUNNING)

    def end(self, state: str, *, reason: str | None = None, at: Mapping[str, int] | None = None) -> None:
        """Write how it ended; ``at`` is the epoch and the batch, both from 0, that a resumed run begins with."""
        self._session |= {"reason": reason} if reason else {}
        self._session |= {"left_at": dict(at)} if at else {}
        self._write(state)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Write down an error that ends the run, and let it pass."""
        try:
            yield
        except BaseException as error:
            # What went wrong matters more than that a full disk can't take note of it.
            with contextlib.suppress(OSError):
                self.end(FAILED, reason=str(error) or type(error).__name__)
            raise

    def _write(self, state: str) -> None:
        if not self._active:
            return
        # What the process has loaded by now has its versions; a library that loads late is there the next time.
        session = {
            **self._session,
            "state": state,
            "updated": _now(),
            "seconds": round(time.perf_counter() - self._began, 3),
            "machine": machine(),
            "versions": versions(),
        }
        sessions = [*self._earlier, session]
        document = {
            "format": 1,
            "state": state,
            **self._about,
            "wall_seconds": round(sum(each["seconds"] for each in sessions), 3),
            "best": self._best,
            "epochs": self._epochs,
            "sessions": sessions,
        }
        write_json(self._path, document)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        # Read here, so that damage is told before anything is trained.
        _ = [int(epoch["epoch"]) for epoch in found.get("epochs", [])]
        _ = [float(session["seconds"]) for session in found.get("sessions", [])]
    except FileNotFoundError:
        return {}  # a run of before there were statistics
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} can't be read ({error}); delete it to go on without the epochs before") from error
    return dict(found)


def _ended(session: dict[str, Any]) -> dict[str, Any]:
    """Return an earlier session as it is now known: one that still runs in the file was ended without a word."""
    return {**session, "state": LOST} if session.get("state") == RUNNING else session


def _known(figures: Mapping[str, float]) -> dict[str, float | None]:
    """JSON knows no nan: null stands for what can't be told."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
