"""Watching a training: running scores, the log line, losses that are not finite."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from agegender.engine.step import StepResult
from agegender.engine.workers import Sums
from agegender.errors import TrainingError
from agegender.metrics import ScoreKeeper, Scores

_log = logging.getLogger(__name__)
_NAMED_RECORDS = 8
Watch = Callable[[int, dict[str, float]], None]


class Monitor:
    """Collect the results of one epoch's steps, always one step late, so that reading never keeps the device waiting.

    Logs a line every ``frequent`` batches. ``faces_per_step`` counts those of all workers; ``task`` says which heads
    are scored; ``add_up`` sums over workers (``Workers.add_up``); ``watch`` sees each log line: batch and figures.
    """

    def __init__(
        self,
        epoch: int,
        *,
        first_batch: int,
        frequent: int,
        faces_per_step: int,
        task: str,
        add_up: Callable[[Sums], Sums],
        watch: Watch | None = None,
    ) -> None:
        self._watch = watch
        self._add_up = add_up
        self._epoch = epoch
        self._batch = self._window_start = first_batch
        self._first_batch = first_batch
        self._frequent = frequent
        self._faces = faces_per_step
        self._task = task
        self._scores_gender, self._scores_age = task != "age", task != "gender"
        self._pending: StepResult | None = None
        self._window, self._all = ScoreKeeper(), ScoreKeeper()
        self._loss_sum = self._window_loss = 0.0
        self._started = self._window_started = time.perf_counter()
        self._ended: float | None = None

    def add(self, result: StepResult) -> None:
        """Note a step that has been launched and read the one before it.

        Raises TrainingError, with the record keys, for a loss that is not finite.
        """
        before, self._pending = self._pending, result
        if before is not None:
            self._read(before)

    def finish(self) -> None:
        """Read the step that is still pending."""
        before, self._pending = self._pending, None
        if before is not None:
            self._read(before)
        self._collect()
        self._loss_sum = float(self._add_up(np.array([self._loss_sum]))[0])
        # What comes after, validation above all, is none of the epoch's time.
        self._ended = time.perf_counter()

    @property
    def loss(self) -> float:
        """Mean loss of the steps so far."""
        steps = self._batch - self._first_batch
        return self._loss_sum / steps if steps else float("nan")

    @property
    def seconds(self) -> float:
        """Time since the epoch began; once finished, what it took."""
        return (self._ended or time.perf_counter()) - self._started

    @property
    def faces(self) -> int:
        """Faces trained on so far, of all workers."""
        return (self._batch - self._first_batch) * self._faces

    @property
    def speed(self) -> float:
        """Faces per second since the epoch began."""
        return self.faces / max(self.seconds, 1e-9)

    def scores(self) -> Scores:
        """Return the scores of all steps once finished, each made with the parameters of its time."""
        return self._all.compute()

    def _read(self, result: StepResult) -> None:
        loss, gender, age = result.read()
        if not np.isfinite(loss).all():
            raise TrainingError(self._describe(loss, result.keys))
        self._loss_sum += float(loss.sum())
        self._window_loss += float(loss.sum())
        self._window.update(
            gender_probability=gender if self._scores_gender else None,
            age=age if self._scores_age else None,
            # In two columns: the log shows how far off the middle of a bin is; which bins there are is not known here.
            labels=result.labels[:, :2],
        )
        self._batch += 1
        if self._batch % self._frequent == 0:
            self._report()

    def _report(self) -> None:
        now = time.perf_counter()
        speed = (self._batch - self._window_start) * self._faces / max(now - self._window_started, 1e-9)
        known = shown(self._collect(), task=self._task)
        figures = "\t".join(f"{name}={value:.6f}" for name, value in known.items())
        _log.info(
            "Epoch[%d] Batch [%d-%d]\tSpeed: %.2f samples/sec\t%s",
            self._epoch,
            self._window_start,
            self._batch,
            speed,
            figures,
        )
        loss = float(self._add_up(np.array([self._window_loss]))[0]) / (self._batch - self._window_start)
        if self._watch is not None:
            self._watch(self._batch, {"loss": loss, **known, "samples_per_second": speed})
        self._window_start, self._window_started, self._window_loss = self._batch, now, 0.0

    def _collect(self) -> Scores:
        """Return the scores of the window over all workers, and begin a new one."""
        window = ScoreKeeper.of(self._add_up(self._window.sums()))
        self._all.merge(window)
        self._window.reset()
        return window.compute()

    def _describe(self, loss: npt.NDArray[np.float32], keys: npt.NDArray[np.int64]) -> str:
        bad = keys[~np.isfinite(loss)]
        named = ", ".join(map(str, bad[:_NAMED_RECORDS].tolist()))
        more = f" and {len(bad) - _NAMED_RECORDS} more" if len(bad) > _NAMED_RECORDS else ""
        return (
            f"the loss is not finite in epoch {self._epoch}, batch {self._batch} (record keys {named}{more}); "
            "a lower --lr or some --warmup_epochs may help; the checkpoints so far are good"
        )


def shown(scores: Scores, *, task: str = "both") -> dict[str, float]:
    """Return the figures of the log line by their names there; only what ``task`` learns."""
    figures = {} if task == "age" else {"acc": scores.acc}
    if task == "gender":
        return figures
    figures |= {"MAE": scores.mae, "CUM_5": scores.cum[5]}
    return figures | {"bin_acc": scores.bin_acc, "bin_1off": scores.bin_1off} if scores.n_bin else figures


def is_better(new: dict[str, float | None], old: dict[str, float | None] | None, *, best_by: str) -> bool:
    """Return whether the figures ``new`` beat ``old`` (None: nothing so far) by ``best_by``.

    ``auto`` is the lowest MAE; where no ages are known the share in the right bin, and without bins gender accuracy.
    """
    name = best_by
    if best_by == "auto":
        name = next((name for name in ("MAE", "bin_acc") if new.get(name) is not None), "acc")
    value, before = new.get(name), None if old is None else old.get(name)
    if value is None or math.isnan(value):
        return False
    if before is None:
        return True
    return value < before if name == "MAE" else value > before
