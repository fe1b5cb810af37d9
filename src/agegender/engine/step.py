"""What a training step gives back, whatever engine took it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
# Loss, gender probabilities, age; None of a head that the network hasn't.
Results = tuple[Floats, Floats | None, Floats | None]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step will have computed: per face loss (n,), gender probabilities (n, 2), age (n, 1); None: no such head.

    ``read`` waits for it: until then it is still on the device. ``labels`` (n, 2 or 5) and ``keys`` (n,) are copies:
    the batch's own memory is used again.
    """

    read: Callable[[], Results]
    labels: npt.NDArray[np.float32]
    keys: npt.NDArray[np.int64]
