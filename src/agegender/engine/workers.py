"""The processes that train together, as far as the loop has to know of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Sums = npt.NDArray[np.float64]


def _alone(sums: Sums) -> Sums:
    return sums


@dataclass(frozen=True, slots=True)
class Workers:
    """This worker's ``rank`` of ``count``.

    ``add_up`` returns the sum of an array (float64) over all workers, which all have to call it at the same place; an
    engine whose workers can't talk about anything but gradients gives back each one's own.
    """

    rank: int = 0
    count: int = 1
    add_up: Callable[[Sums], Sums] = _alone

    @property
    def alone(self) -> bool:
        """Whether there is one worker."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this worker writes, scores and logs for all."""
        return self.rank == 0

    @property
    def talk(self) -> bool:
        """Whether ``add_up`` reaches the others."""
        return self.add_up is not _alone
