"""A net whose input is a face's embedding from another net, not a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.calibration import Calibration
from agegender.deploy.net import calibrated
from agegender.errors import CheckpointError, UsageError
from agegender.executor import open_executor
from agegender.executor.base import Executor
from agegender.executor.choice import choose_executor
from agegender.graph.checkpoint import load_checkpoint
from agegender.graph.info import ModelInfo, info_path
from agegender.graph.lookup import ModelRef, find_model
from agegender.readout import Reading, Readout

# A picture has as many channels; more of them on a single pixel are a vector.
_COLOURS = 3


class VectorNet:
    """Age and gender of embeddings. ``width`` is how many numbers one has.

    In ``prefix.json`` the input's shape is ``[width, 1, 1]``. ``source`` is that file, for errors to name. Raises
    CheckpointError where it is missing, or describes a net on pictures.
    """

    def __init__(self, info: ModelInfo | None, executor: Executor, *, source: Path, epoch: int | None = None) -> None:
        if info is None or info.data_shape is None:
            raise CheckpointError(f"{source} doesn't say what goes into the model")
        channels, *size = info.data_shape
        if size != [1, 1] or channels <= _COLOURS:
            raise CheckpointError(
                f"{source}: the model takes pictures {list(info.data_shape)}, not embeddings [width, 1, 1]"
            )
        try:
            self.readout = Readout.of_model(info.readout, head=info.head, task=info.task)
        except UsageError as error:
            raise CheckpointError(f"{source}: {error}") from error
        self.width, self.source = channels, source
        self.calibration = Calibration.from_json(info.calibration, epoch=epoch, where=f"{source}: calibration")
        self._executor = executor

    def read(self, vectors: npt.NDArray[np.float32]) -> Reading:
        """Return what the net tells of n > 0 embeddings (n, width) float32, as they are: nothing is normalised."""
        data = np.asarray(vectors, np.float32)
        if data.ndim != 2 or data.shape[1] != self.width:
            raise ValueError(f"embeddings have shape {data.shape}, not (n, {self.width})")
        return calibrated(self.readout.read(self._executor.forward(data[:, :, None, None])), self.calibration)


def open_vector_net(model: str | Path | ModelRef, *, engine: str = "auto", **how: Any) -> VectorNet:
    """Return the net ``model``, named as for ``Predictor``; ``how`` is its ``gpu_ids``, ``providers``, ``threads``.

    Raises what ``open_net`` raises, and CheckpointError for a net that takes pictures.
    """
    found = model if isinstance(model, ModelRef) else find_model(str(model))
    checkpoint = load_checkpoint(found.prefix, found.epoch)
    chosen, _ = choose_executor(engine, how.get("gpu_ids"))
    executor = open_executor(checkpoint, engine=chosen, **how)
    return VectorNet(checkpoint.info, executor, source=info_path(checkpoint.prefix), epoch=checkpoint.epoch)
