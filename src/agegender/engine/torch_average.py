"""The exponential moving average of the parameters, on PyTorch (see ``average`` for MXNet's)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agegender.engine.average import share_of_step
from agegender.errors import CheckpointError


class MovingAverage:
    """``average = decay * average + (1 - decay) * value`` after each step, BatchNorm's statistics included."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], *, decay: float) -> None:
        self._decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, torch.Tensor], *, step: int) -> None:
        """Take in the values after step ``step`` (from 1)."""
        values = [tensors[name].detach() for name in self.tensors]
        torch._foreach_lerp_([*self.tensors.values()], values, share_of_step(self._decay, step))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the averages."""
        return {name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in self.tensors.items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``arrays`` returned. Raises CheckpointError where some are missing."""
        for name, tensor in self.tensors.items():
            if name not in arrays or arrays[name].shape != tuple(tensor.shape):
                raise CheckpointError(f"the saved state has no moving average of {name}; was it trained with --ema?")
            tensor.copy_(torch.from_numpy(np.array(arrays[name], np.float32)))
