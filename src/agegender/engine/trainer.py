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
from agegender.engine.run_folder import RunFolder
from agegender.engine.session import Session, open_session
from agegender.engine.start import place, with_recorded
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
    with open_session(config, augmentation, network_json=network_json, arguments=arguments or {}) as session:
        folder = RunFolder(config.checkpoint_prefix, active=session.workers.first)
        earlier = None if session.start.info else folder.set_aside()
        with folder:
            if earlier is not None:
                _log.info("the run that was here is now in %s", earlier)
            folder.write_config({**as_json(config), **as_json(augmentation)})
            folder.read_history(session.start.epoch)
            session.describe()
            _note_balance(session, folder, draw_balance)
            return _Fit(session, folder, draw).run()


def _note_balance(session: Session, folder: RunFolder, draw: DrawBalance | None) -> None:
    """Write what balancing does into the run folder: ``balance.csv``, ``balance.png``."""
    effect = session.data.balance
    if effect is None or not session.workers.first:
        return
    write_text(folder.path / "balance.csv", effect.csv())
    if draw is not None:
        draw(effect, folder.path / "balance.png")


class _Fit:
    def __init__(self, session: Session, folder: RunFolder, draw: Draw | None) -> None:
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
                monitor = session.monitor(epoch, first_batch=done)
                for batch in session.data.train.epoch(epoch, start_batch=done):
                    monitor.add(session.step(batch, epoch=epoch, number=done))
                    done += 1
                    if self._stops(stop, done):
                        break
                monitor.finish()
                session.module.settle()
                if done < batches:
                    self._save(epoch, done)
                    return self._result(interrupted=True)
                scores = session.validate(epoch)
                self._note(epoch, monitor, scores)
                self._save(epoch + 1, 0, scores)
                if self._all_agree(stop) and epoch + 1 < config.end_epoch:
                    return self._result(interrupted=True)
        return self._result(interrupted=False)

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

    def _note(self, epoch: int, monitor: Monitor, scores: Scores | None) -> None:
        """Log a finished epoch, add it to the history, draw."""
        trained, known = monitor.scores(), partial(shown, task=self._config.task)
        row = {"epoch": float(epoch + 1), "lr": self._session.schedule.at(epoch, 0), "train_loss": monitor.loss}
        row |= {f"train_{name}": value for name, value in known(trained).items()}
        _log.info("Epoch[%d] Train-loss=%.6f", epoch, monitor.loss)
        for name, value in known(trained).items():
            _log.info("Epoch[%d] Train-%s=%.6f", epoch, name, value)
        _log.info("Epoch[%d] Time cost=%.3f", epoch, monitor.seconds)
        validated = dict.fromkeys(known(trained), float("nan")) if scores is None else known(scores)
        for name, value in validated.items():
            if scores is not None:
                _log.info("Epoch[%d] Validation-%s=%.6f", epoch, name, value)
            row[f"val_{name}"] = value
        self._folder.add_history(row | {"samples_per_second": monitor.speed, "seconds": monitor.seconds})
        if time.monotonic() - self._drawn > _DRAW_EVERY:
            self._draw_curves()

    def _draw_curves(self) -> None:
        self._drawn = time.monotonic()
        if self._draw is not None and self._session.workers.first and self._folder.history:
            self._draw(self._folder.history, self._folder.path / "curves.png")

    def _result(self, *, interrupted: bool) -> TrainResult:
        self._draw_curves()
        info = self._session.keeper.info
        return TrainResult(
            prefix=self._session.keeper.prefix,
            last=info.last,
            best=info.best,
            figures=info.metrics.get(str(info.best), {}),
            interrupted=interrupted,
            skipped=self._session.data.train.skipped,
        )
