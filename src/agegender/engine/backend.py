"""What the training loop asks of an engine, and how it gets one: MXNet's Module, or PyTorch on the same graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy.typing as npt

from agegender.engine.config import TrainConfig
from agegender.engine.step import StepResult
from agegender.engine.workers import Workers
from agegender.executor.choice import choose_engine
from agegender.input_shape import Size
from agegender.metrics import Scores
from agegender.pipeline.batch import Batch
from agegender.pipeline.config import LoaderConfig

Arrays = dict[str, npt.NDArray[Any]]


class Trainable(Protocol):
    """A network with its losses and, once started, its optimizer. Parameters are named ``arg:...`` and ``aux:...``."""

    step_count: int

    def initialise(self, *, seed: int) -> Arrays:
        """Draw initial parameters (He et al. 2015; deterministic in ``seed``), use and return them."""
        ...

    def set_parameters(self, params: Mapping[str, npt.NDArray[Any]]) -> None:
        """Use ``params``. Raises CheckpointError for parameters that are missing or do not fit."""
        ...

    def start_optimizer(self, kind: str, *, momentum: float, wd: float, steps_done: int = 0, ema: float = 0) -> None:
        """Make the optimizer, and a moving average of the parameters where ``ema`` is not 0."""
        ...

    def step(self, batch: Batch, *, lr: float, seed: int) -> StepResult:
        """Train on ``batch``. Returns at once; ``seed`` is that of this step's dropout."""
        ...

    def settle(self) -> None:
        """Bring what workers keep apart (BatchNorm's statistics) to one value; all of them call it after an epoch."""
        ...

    def parameters(self) -> Arrays:
        """Return the trained parameters."""
        ...

    def averaged(self) -> Arrays | None:
        """Return the moving average of the parameters, None where there is none."""
        ...

    def states(self) -> Arrays:
        """Return all that a training needs to go on: parameters, ``opt0:NAME``, ``ema:arg:...``."""
        ...

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``states`` returned. Raises CheckpointError where it is of another net or optimizer."""
        ...


class SetScorer(Protocol):
    """Scores parameters on a set."""

    def score(self, batches: Iterable[Batch], params: Mapping[str, npt.NDArray[Any]]) -> Scores:
        """Return the scores of ``params`` over ``batches``."""
        ...


class Backend(Protocol):
    """An engine on its devices, joined with its workers. ``contexts`` is how many devices this process trains on."""

    name: str
    devices: list[str]
    workers: Workers
    contexts: int

    def loader_config(self, augmentation: LoaderConfig) -> LoaderConfig:
        """Return what of ``augmentation`` the loader has to do; the rest happens on the device."""
        ...

    def trainable(self, augmentation: LoaderConfig, *, rows: int, size: Size, label_width: int = 2) -> Trainable:
        """Return the network with its losses for batches of ``rows`` faces of ``size`` (see ``Batch``).

        ``label_width`` is 2, or 5 where the batches are ``binned``.
        """
        ...

    def scorer(self, *, rows: int, size: Size) -> SetScorer:
        """Return a scorer for batches of ``rows`` faces."""
        ...

    def leave(self, *, failed: bool) -> None:
        """Part from the other workers; after an error without waiting for them."""
        ...


@contextmanager
def open_backend(config: TrainConfig, network_json: str) -> Iterator[Backend]:
    """Open the engine ``config.engine`` (``auto``: see ``choose_engine``) with the inference graph ``network_json``.

    Raises DeviceError for a library or device that is not there, UsageError for workers that can't be joined.
    """
    backend: Backend
    if choose_engine(config.engine, config.gpu_ids)[0] == "torch":
        from agegender.engine.torch_backend import TorchBackend

        backend = TorchBackend(config, network_json)
    else:
        from agegender.engine.mxnet_backend import MXNetBackend

        backend = MXNetBackend(config, network_json)
    failed = True
    try:
        yield backend
        failed = False
    finally:
        backend.leave(failed=failed)
