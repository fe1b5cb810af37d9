"""An exponential moving average of the parameters, kept on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import CheckpointError
from agegender.executor.mxnet_runtime import load_mxnet

# multi_sgd_update takes up to 60 arrays at once.
_AT_ONCE = 60


def share_of_step(decay: float, step: int) -> float:
    """Return how much the values after step ``step`` (from 1) count: more at first, so that the start is forgotten."""
    return 1 - min(decay, (1 + step) / (10 + step))


class MovingAverage:
    """``average = decay * average + (1 - decay) * value`` after each step, BatchNorm's statistics included.

    ``decay`` is lower over the first steps, (1 + step) / (10 + step), so that the initial weights are soon forgotten.
    """

    def __init__(self, arrays: Mapping[str, Any], *, decay: float) -> None:
        self._decay = decay
        self._arrays = {name: array.copy() for name, array in arrays.items()}

    def update(self, arrays: Mapping[str, Any], *, step: int) -> None:
        """Take in the values after step ``step`` (from 1)."""
        share = share_of_step(self._decay, step)
        nd = load_mxnet().nd
        names = list(self._arrays)
        for start in range(0, len(names), _AT_ONCE):
            chosen = names[start : start + _AT_ONCE]
            averages = [self._arrays[name] for name in chosen]
            pairs = [array for name in chosen for array in (self._arrays[name], arrays[name])]
            # SGD computes (1 - lr * wd) * w - lr * g: with lr = -share, wd = -1 that is the average, in one call.
            nd.multi_sgd_update(
                *pairs, lrs=[-share] * len(chosen), wds=[-1.0] * len(chosen), num_weights=len(chosen), out=averages
            )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the averages."""
        return {name: array.asnumpy() for name, array in self._arrays.items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``arrays`` returned. Raises CheckpointError where some are missing."""
        for name, array in self._arrays.items():
            if name not in arrays or arrays[name].shape != array.shape:
                raise CheckpointError(f"the saved state has no moving average of {name}; was it trained with --ema?")
            array[:] = np.asarray(arrays[name])
