"""The training loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agegender.config import as_json
from agegender.engine.config import TrainConfig
from agegender.engine.interruption import Interruption
from agegender.engine.monitor import Monitor, shown
from agegender.engine.recorder import Recorder
from agegender.engine.run_folder import RunFolder
from agegender.engine.session import Session, open_session
from agegender.engine.start import place, with_recorded
from agegender.engine.statistics import Waiting
from agegender.engine.vectors import without_pictures
from agegender.files import write_text
from agegender.metrics import Scores
from agegender.pipeline import BalanceEffect, LoaderConfig

_log = logging.getLogger(__name__)

# Seconds between drawings of the curves, so that short epochs don't spend their time on pictures.
_DRAW_EVERY = 60.0
# Batches after which workers ask each other whether one of them was interrupted.
_ASK_EVERY = 10

History = list[dict[str, float]]
Draw = Callable[[History, Path], None]
DrawBalance = Callable[[BalanceEffect, Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """How a training ended: checkpoint numbers (files ``prefix-NNNN``), the best one's figures, records lost."""

    prefix: Path
    last: int | None
    best: int | None
    figures: dict[str, Any]
    interrupted: bool
    skipped: list[tuple[int, str, str]]


def train(
    config: TrainConfig,
    augmentation: LoaderConfig,
    *,
    network_json: str,
    arguments: dict[str, Any] | None = None,
    draw: Draw | None = None,
    draw_balance: DrawBalance | None = None,
) -> TrainResult:
    """Train the inference graph ``network_json`` on ``config.data_dir`` and leave checkpoints and a run folder.

    ``config`` has no None left where a network has its own default (see ``app.networks.resolve``); ``arguments`` are
    what the graph was built with, for ``prefix.json``; ``draw`` draws the history into a file, ``draw_balance`` the
    ages before and after balancing. Raises UsageError,
    DataError, CheckpointError as their messages say, TrainingError for a loss that is not finite.
    """
    config = with_recorded(config)
    augmentation = without_pictures(augmentation, config)
    with open_session(config, augmentation, network_json=network_json, arguments=arguments or {}) as session:
        folder = RunFolder(config.checkpoint_prefix, active=session.workers.first)
        earlier = None if session.start.info else folder.set_aside()
        with folder:
            if earlier is not None:
                _log.info("the run that was here is now in %s", earlier)
            flags = {**as_json(config), **as_json(augmentation)}
            folder.write_config(flags)
            folder.read_history(session.start.epoch)
            session.describe()
            if session.start.epoch >= config.end_epoch:
                done = session.start.epoch
                trained = "1 epoch is" if done == 1 else f"{done} epochs are"
                _log.info("nothing is left to do: %s trained; --end_epoch N, N above %d, trains more", trained, done)
            _note_balance(session, folder, draw_balance)
            with Recorder(session, folder.path, config=flags) as recorder:
                return _Fit(session, folder, draw, recorder).run()


def _note_balance(session: Session, folder: RunFolder, draw: DrawBalance | None) -> None:
    """Write what balancing does into the run folder: ``balance.csv``, ``balance.png``."""
    effect = session.data.balance
    if effect is None or not session.workers.first:
        return
    write_text(folder.path / "balance.csv", effect.csv())
    if draw is not None:
        draw(effect, folder.path / "balance.png")


class _Fit:
    def __init__(self, session: Session, folder: RunFolder, draw: Draw | None, recorder: Recorder) -> None:
        self._recorder = recorder
        self._session = session
        self._config = session.config
        self._folder = folder
        self._draw = draw
        self._drawn = time.monotonic()

    def run(self) -> TrainResult:
        session, config, start = self._session, self._config, self._session.start
        batches = session.data.train.batches_per_epoch
        with Interruption(saves=session.workers.alone or session.workers.talk) as stop:
            for epoch in range(start.epoch, config.end_epoch):
                done = start.batch if epoch == start.epoch else 0
                watch, waiting = self._recorder.watch(epoch=epoch, done=done), Waiting()
                monitor = session.monitor(epoch, first_batch=done, watch=watch)
                for batch in waiting.over(session.data.train.epoch(epoch, start_batch=done)):
                    monitor.add(session.step(batch, epoch=epoch, number=done))
                    done += 1
                    if self._stops(stop, done):
                        break
                monitor.finish()
                session.module.settle()
                if done < batches:
                    self._save(epoch, done)
                    return self._result(left_at=(epoch, done))
                self._validate(epoch, monitor, waited=waiting.seconds)
                if self._all_agree(stop) and epoch + 1 < config.end_epoch:
                    return self._result(left_at=(epoch + 1, 0))
        return self._result(left_at=None)

    def _validate(self, epoch: int, monitor: Monitor, *, waited: float) -> None:
        """Score a finished epoch, write down what it brought, and save it."""
        began = time.perf_counter()
        scores = self._session.validate(epoch)
        seconds = time.perf_counter() - began
        known = partial(shown, task=self._config.task)
        trained, validated = known(monitor.scores()), None if scores is None else known(scores)
        self._note(epoch, monitor, trained, validated)
        self._recorder.note(epoch, monitor, trained=trained, validated=validated, waited=waited, val_seconds=seconds)
        self._save(epoch + 1, 0, scores)
        self._recorder.name_best()

    def _stops(self, stop: Interruption, done: int) -> bool:
        """Tell whether to stop after ``done`` batches; several workers only ask each other now and then."""
        if self._session.workers.alone:
            return stop.asked
        return done % _ASK_EVERY == 0 and self._all_agree(stop)

    def _all_agree(self, stop: Interruption) -> bool:
        """Tell whether any worker was asked to stop: then all do, after the same batch."""
        return bool(self._session.workers.add_up(np.array([float(stop.asked)]))[0])

    def _save(self, epoch: int, batch: int, scores: Scores | None = None) -> None:
        """Save what is there with ``batch`` of epoch ``epoch`` as the next one to train on."""
        session = self._session
        if not session.workers.first:
            return
        states = session.module.states()
        meta = place(
            epoch=epoch,
            batch=batch,
            step=session.module.step_count,
            engine=session.backend.name,
            lr=session.last_rate(epoch, batch),
            setup=session.setup,
        )
        # Saved within an epoch, it takes the number that the finished epoch will overwrite.
        session.keeper.save(
            epoch + 1 if batch else epoch,
            params=session.saved_parameters(),
            states=states,
            meta=meta,
            scores=scores,
        )

    def _note(
        self, epoch: int, monitor: Monitor, trained: dict[str, float], validated: dict[str, float] | None
    ) -> None:
        """Log a finished epoch, add it to the history, draw."""
        row = {"epoch": float(epoch + 1), "lr": self._session.schedule.at(epoch, 0), "train_loss": monitor.loss}
        row |= {f"train_{name}": value for name, value in trained.items()}
        _log.info("Epoch[%d] Train-loss=%.6f", epoch, monitor.loss)
        for name, value in trained.items():
            _log.info("Epoch[%d] Train-%s=%.6f", epoch, name, value)
        _log.info("Epoch[%d] Time cost=%.3f", epoch, monitor.seconds)
        for name, value in (validated or {}).items():
            _log.info("Epoch[%d] Validation-%s=%.6f", epoch, name, value)
        # The same columns in every row.
        row |= {f"val_{name}": value for name, value in (validated or dict.fromkeys(trained, float("nan"))).items()}
        self._folder.add_history(row | {"samples_per_second": monitor.speed, "seconds": monitor.seconds})
        if time.monotonic() - self._drawn > _DRAW_EVERY:
            self._draw_curves()

    def _draw_curves(self) -> None:
        self._drawn = time.monotonic()
        if self._draw is not None and self._session.workers.first and self._folder.history:
            self._draw(self._folder.history, self._folder.path / "curves.png")

    def _result(self, *, left_at: tuple[int, int] | None) -> TrainResult:
        """Close the run, through or ``left_at`` an epoch and a batch (from 0), and return how it ended."""
        self._draw_curves()
        self._recorder.end(left_at=left_at)
        info = self._session.keeper.info
        return TrainResult(
            prefix=self._session.keeper.prefix,
            last=info.last,
            best=info.best,
            figures=info.metrics.get(str(info.best), {}),
            interrupted=left_at is not None,
            skipped=self._session.data.train.skipped,
        )
