"""A net whose input is a face's embedding from another net, not a picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.calibration import Calibration
from agegender.deploy.net import calibrated, read_outputs, read_readout
from agegender.deploy.open_net import check_onnx_passes, check_runs_onnx, open_onnx
from agegender.errors import CheckpointError
from agegender.executor import open_executor
from agegender.executor.base import Executor
from agegender.executor.choice import choose_executor
from agegender.executor.monte_carlo import with_passes
from agegender.graph.checkpoint import load_checkpoint
from agegender.graph.info import ModelInfo, info_path
from agegender.graph.lookup import ModelRef, find_model
from agegender.input_shape import is_vector
from agegender.readout import Reading


class VectorNet:
    """Age and gender of embeddings. ``width`` is how many numbers one has.

    In ``prefix.json`` the input's shape is ``[width, 1, 1]``. ``source`` is that file, for errors to name. Raises
    CheckpointError where it is missing, or describes a net on pictures.
    """

    def __init__(self, info: ModelInfo | None, executor: Executor, *, source: Path, epoch: int | None = None) -> None:
        if info is None or info.data_shape is None:
            raise CheckpointError(f"{source} doesn't say what goes into the model")
        if not is_vector(info.data_shape):
            raise CheckpointError(
                f"{source}: the model takes pictures {list(info.data_shape)}, not embeddings [width, 1, 1]"
            )
        self.readout = read_readout(info, source)
        self.width, self.source = info.data_shape[0], source
        # Which embeddings these are, as the JSON of the set says that it learned from; {} unknown.
        self.embedding = dict(info.input.get("embedding") or {})
        self.calibration = Calibration.from_json(info.calibration, epoch=epoch, where=f"{source}: calibration")
        self._executor = executor

    def read(self, vectors: npt.NDArray[np.float32]) -> Reading:
        """Return what the net tells of n > 0 embeddings (n, width) float32, as they are: nothing is normalised."""
        data = np.asarray(vectors, np.float32)
        if data.ndim != 2 or data.shape[1] != self.width:
            raise ValueError(f"embeddings have shape {data.shape}, not (n, {self.width})")
        return calibrated(read_outputs(self.readout, self._executor, data[:, :, None, None]), self.calibration)


def open_vector_net(
    model: str | Path | ModelRef, *, engine: str = "auto", mc_dropout: int | None = None, seed: int = 0, **how: Any
) -> VectorNet:
    """Return the net ``model``, named as for ``Predictor``; ``how`` is its ``gpu_ids``, ``providers``, ``threads``.

    ``mc_dropout`` and ``seed`` as there.

    Raises what ``open_net`` raises, and CheckpointError for a net that takes pictures.
    """
    if isinstance(model, str | Path) and str(model).endswith(".onnx"):
        path = Path(model).expanduser()
        check_runs_onnx(engine, path)
        check_onnx_passes(mc_dropout, path)
        file, info, source = open_onnx(path, **how)
        return VectorNet(info, file, source=source)
    found = model if isinstance(model, ModelRef) else find_model(str(model))
    checkpoint = load_checkpoint(found.prefix, found.epoch)
    chosen, _ = choose_executor(engine, how.get("gpu_ids"))
    executor = with_passes(checkpoint, partial(open_executor, engine=chosen, **how), passes=mc_dropout, seed=seed)
    return VectorNet(checkpoint.info, executor, source=info_path(checkpoint.prefix), epoch=checkpoint.epoch)
