"""What every executor can do: run a saved graph forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Executor(Protocol):
    """A graph with its parameters, ready to run."""

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name (``fc1_output``) for ``data`` (n, 3, height, width) float32 RGB 0..255."""
        ...


def forward_any(
    data: npt.NDArray[np.float32], run: Callable[[npt.NDArray[np.float32]], dict[str, npt.NDArray[Any]]]
) -> dict[str, npt.NDArray[Any]]:
    """Return the outputs that ``run`` gives for ``data`` (n, channels, height, width), handed on as float32.

    ``run`` is never given an empty batch, which not every operator takes: its shapes come from a batch of one. Raises
    ValueError for data of other dimensions, and what ``run`` raises.
    """
    data = np.ascontiguousarray(data, np.float32)
    if data.ndim != 4:
        raise ValueError(f"data has shape {data.shape}, not (n, channels, height, width)")
    if len(data):
        return run(data)
    return {name: array[:0] for name, array in run(np.zeros((1, *data.shape[1:]), np.float32)).items()}
