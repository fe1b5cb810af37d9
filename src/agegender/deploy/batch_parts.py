"""Large batches in parts, on several threads: threads that share each layer wait for the slowest after every one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.executor.base import Executor

# Faces per part: their maps stay in the cache, and fifteen faces still keep four threads busy.
_ROWS = 4
_MOST_WORKERS = 8


class InParts:
    """Runs ``executor``, which several threads may call, on up to ``workers`` parts of a batch at once.

    Rows must not depend on one another, as those of a trained net don't.
    """

    def __init__(self, executor: Executor, *, workers: int) -> None:
        self.executor = executor
        # Its threads start with the first large batch.
        self._pool = ThreadPoolExecutor(min(workers, _MOST_WORKERS), thread_name_prefix="faces")

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name for ``data`` (n, ...), as the executor does for all at once."""
        if len(data) <= _ROWS:
            return self.executor.forward(data)
        parts = [data[start : start + _ROWS] for start in range(0, len(data), _ROWS)]
        outputs = list(self._pool.map(self.executor.forward, parts))
        return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}
