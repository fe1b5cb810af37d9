"""What a training writes down of itself besides log and history: ``statistics.json``, curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from agegender.engine.board import Board
from agegender.engine.commit import git_commit
from agegender.engine.monitor import Monitor, Watch
from agegender.engine.session import Session
from agegender.engine.statistics import FINISHED, INTERRUPTED, Epoch, RunStatistics

# The value of ``tensorboard`` that stands for the run's own folder.
OWN_FOLDER = "auto"


class Recorder:
    """Writes down a training in ``folder``; on workers other than the first nothing. ``config`` is all its flags."""

    def __init__(self, session: Session, folder: Path, *, config: Mapping[str, Any]) -> None:
        self._session = session
        self._folder = folder
        self._config = config
        self._stack = ExitStack()
        self._board: Board | None = None

    def __enter__(self) -> Recorder:
        session, start = self._session, self._session.start
        self._statistics = RunStatistics(
            self._folder,
            about=_about(session, self._config),
            session=_this_session(session),
            resumed_at=None if start.info is None else start.epoch,
            active=session.workers.first,
        )
        with self._stack as stack:
            stack.enter_context(self._statistics.watching())
            place = session.config.tensorboard
            if place is not None and session.workers.first:
                folder = self._folder if place == OWN_FOLDER else Path(place)
                self._board = stack.enter_context(Board(folder, steps_done=start.step))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def watch(self, *, epoch: int, done: int) -> Watch | None:
        """Return what the monitor of an epoch shows its log lines to; ``done`` of its batches are trained on."""
        board = self._board
        if board is None:
            return None
        before = self._session.module.step_count - done

        def note(batch: int, figures: dict[str, float]) -> None:
            rate = self._session.schedule.at(epoch, batch - 1)
            board.add({f"batch/{name}": value for name, value in {**figures, "lr": rate}.items()}, step=before + batch)

        return note

    def note(
        self,
        epoch: int,
        monitor: Monitor,
        *,
        trained: Mapping[str, float],
        validated: Mapping[str, float] | None,
        waited: float,
        val_seconds: float,
    ) -> None:
        """Write down the finished epoch ``epoch`` (from 0), ``waited`` seconds of which its batches took to come."""
        rate = self._session.schedule.at(epoch, 0)
        found = Epoch(
            number=epoch + 1,
            lr=rate,
            faces=monitor.faces,
            train={"loss": monitor.loss, **trained},
            val=validated,
            samples_per_second=monitor.speed,
            seconds=monitor.seconds,
            loader_seconds=waited,
            val_seconds=val_seconds,
        )
        self._statistics.add(found)
        if self._board is None:
            return
        points = {f"train/{name}": value for name, value in found.train.items()}
        points |= {f"val/{name}": value for name, value in (validated or {}).items()}
        points |= {"run/lr": rate, "run/epoch": float(epoch + 1), "run/samples_per_second": monitor.speed}
        points["run/loader_share"] = waited / max(monitor.seconds, 1e-9)
        self._board.add(points, step=self._session.module.step_count)

    def name_best(self) -> None:
        """Write down which checkpoint is the best now."""
        info = self._session.keeper.info
        self._statistics.name_best(info.best, info.metrics.get(str(info.best), {}))

    def end(self, *, left_at: tuple[int, int] | None) -> None:
        """Write down that the training is through, or the epoch and batch (from 0) at which it was interrupted."""
        if left_at is None:
            self._statistics.end(FINISHED)
        else:
            self._statistics.end(INTERRUPTED, at={"epoch": left_at[0], "batch": left_at[1]})


def _about(session: Session, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stays the same over all sessions of a run."""
    info, data = session.keeper.info, session.data
    trained = (array.size for name, array in session.saved_parameters().items() if name.startswith("arg:"))
    return {
        "command": "train",
        "prefix": session.keeper.prefix.as_posix(),
        "network": {"name": info.network, "arguments": info.arguments, "parameters": int(sum(trained))},
        "data": {
            **info.data,
            "faces_per_epoch": data.train.samples_per_epoch,
            "batches_per_epoch": data.train.batches_per_epoch,
            "val_faces": None if data.val is None else data.val.samples_per_epoch,
            "synthetic": info.synthetic,
        },
        "config": dict(config),
    }


def _this_session(session: Session) -> dict[str, Any]:
    start = session.start
    return {
        "engine": session.backend.name,
        "devices": session.backend.devices,
        "workers": session.workers.count,
        "git_commit": git_commit() if start.info is not None else session.keeper.info.git_commit,
        "began_at": {"epoch": start.epoch, "batch": start.batch},
    }
