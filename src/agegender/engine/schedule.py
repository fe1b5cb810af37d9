"""The learning rate as a function of the place in training, so that it can be entered anywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

STEP_FACTOR = 0.1


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """``step``: ``base`` times 0.1 at each of the epochs ``steps``; ``cosine``: from ``base`` to 0 at ``end_epoch``.

    Over the first ``warmup_epochs`` (which may be a fraction) the rate also rises linearly from 0.
    """

    base: float
    kind: str
    steps: tuple[float, ...]
    warmup_epochs: float
    end_epoch: int
    batches_per_epoch: int

    def at(self, epoch: int, batch: int) -> float:
        """Return the rate for batch ``batch`` (from 0) of epoch ``epoch`` (from 0)."""
        place = epoch + batch / self.batches_per_epoch
        rate = self.base
        if self.kind == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * min(place / self.end_epoch, 1.0)))
        else:
            rate *= STEP_FACTOR ** sum(place >= step for step in self.steps)
        if place < self.warmup_epochs:
            # The first batch already moves: its rate is one batch's share of the way.
            rate *= (place + 1 / self.batches_per_epoch) / (self.warmup_epochs + 1 / self.batches_per_epoch)
        return rate
