"""What every executor can do: run a saved graph forward."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Executor(Protocol):
    """A graph with its parameters, ready to run."""

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name (``fc1_output``) for ``data`` (n, 3, height, width) float32 RGB 0..255."""
        ...
