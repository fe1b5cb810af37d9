"""Writing checkpoints and deciding which stay: the best, the last, every n-th."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from agegender.engine.monitor import is_better
from agegender.errors import CheckpointError
from agegender.graph.checkpoint import (
    ModelInfo,
    params_path,
    save_checkpoint,
    save_states,
    saved_epochs,
    states_path,
    write_info,
)
from agegender.metrics import Scores

_log = logging.getLogger(__name__)

Arrays = Mapping[str, npt.NDArray[Any]]


class CheckpointKeeper:
    """Save checkpoints ``prefix-NNNN`` and remove those that nobody needs.

    NNNN counts finished epochs: what is there after ``Epoch[0]`` is ``prefix-0001.params``, as MXNet has it. Best,
    last and every ``save_every``-th (0: none) stay, the ``.states`` of the last alone. ``prefix.json`` is written
    last, so that what it names is always complete.
    """

    def __init__(self, prefix: Path, *, graph_json: str, info: ModelInfo, save_every: int, best_by: str) -> None:
        self.prefix = prefix
        self.info = info
        self._graph_json = graph_json
        self._save_every = save_every
        self._best_by = best_by

    def save(
        self, epoch: int, *, params: Arrays, states: Arrays, meta: Mapping[str, Any], scores: Scores | None = None
    ) -> None:
        """Write the checkpoint ``epoch``; ``scores`` on the validation set may make it the best.

        Raises CheckpointError where it can't be written; the checkpoints before it are untouched then.
        """
        try:
            save_checkpoint(self.prefix, epoch, graph=self._graph_json, params=params)
            save_states(states_path(self.prefix, epoch), states, meta)
            self._name(epoch, scores)
        except OSError as error:
            if epoch != self.info.last:
                # A half of a pair is of no use, and takes room on a disk that is full.
                params_path(self.prefix, epoch).unlink(missing_ok=True)
                states_path(self.prefix, epoch).unlink(missing_ok=True)
            before = f"checkpoint {self.info.last} is intact" if self.info.last else "there is no earlier one"
            raise CheckpointError(
                f"checkpoint {epoch} could not be written to {self.prefix.parent}: {error.strerror}; {before}"
            ) from error
        self._prune()

    def _name(self, epoch: int, scores: Scores | None) -> None:
        """Write down what ``last`` and ``best`` are now."""
        before = (self.info.last, self.info.best)
        self.info.metrics.pop(str(epoch), None)
        if scores is not None:
            figures = scores.as_json()
            best = self.info.metrics.get(str(self.info.best))
            if is_better(figures, best, best_by=self._best_by):
                self.info.best = epoch
            self.info.metrics[str(epoch)] = figures
        self.info.last = epoch
        try:
            write_info(self.prefix, self.info)
        except OSError:
            self.info.last, self.info.best = before
            raise

    def _prune(self) -> None:
        named = {self.info.best, self.info.last}
        for epoch in saved_epochs(self.prefix):
            if epoch not in named and not (self._save_every and epoch % self._save_every == 0):
                params_path(self.prefix, epoch).unlink(missing_ok=True)
            if epoch != self.info.last:
                states_path(self.prefix, epoch).unlink(missing_ok=True)
