"""Where a training starts: at the beginning, or where a saved one was left."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from agegender.engine.config import TrainConfig
from agegender.errors import CheckpointError, UsageError
from agegender.graph import ModelInfo, load_states, read_info, states_path

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Begin at batch ``batch`` of epoch ``epoch`` (both from 0) after ``step`` steps, with ``arrays`` if resumed.

    They were saved by ``engine``, whose last step had the rate ``lr``.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    engine: str = "mxnet"
    lr: float = 0.0
    arrays: dict[str, npt.NDArray[Any]] | None = None
    info: ModelInfo | None = None


def with_recorded(config: TrainConfig) -> TrainConfig:
    """Return ``config`` with the ``backbone_lr`` that a resumed run was begun with where none is given, 1 by default.

    Raises UsageError where a run with a frozen backbone is to go on with a moving one, or the other way round (the
    optimizer has no state of what did not move), and where it is to go on with another task.
    """
    info = read_info(config.checkpoint_prefix) if config.resume else None
    if info is None or info.last is None:
        return config if config.backbone_lr is not None else replace(config, backbone_lr=1.0)
    if config.task != info.task:
        raise UsageError(
            f"task {config.task!r}: this run was begun with {info.task!r}, and what it learns stays so to its end; "
            f"begin another with --pretrained {config.checkpoint_prefix},{info.last} and another --prefix"
        )
    stated = info.config.get("backbone_lr")
    begun = 1.0 if stated is None else float(stated)
    if config.backbone_lr is None:
        return replace(config, backbone_lr=begun)
    if (config.backbone_lr == 0) != (begun == 0):
        raise UsageError(
            f"backbone_lr {config.backbone_lr:g}: this run was begun with {begun:g}, and what is frozen stays so to "
            f"its end; begin another with --pretrained {config.checkpoint_prefix},{info.last} and another --prefix"
        )
    return config


def find_start(prefix: Path, *, resume: bool, setup: dict[str, Any]) -> Start:
    """Return where to start. ``setup`` is what the sampler's position depends on (see ``place``).

    Raises CheckpointError for a damaged state, UsageError where ``setup`` has changed in a way that the position
    within an epoch has lost its meaning.
    """
    info = read_info(prefix) if resume else None
    if info is None or info.last is None:
        if resume:
            _log.info("%s has no checkpoint yet: starting from the beginning", prefix)
        return Start()
    path = states_path(prefix, info.last)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: {prefix} can seed a new training (--pretrained), not go on")
    arrays, meta = load_states(path)
    try:
        start = Start(
            epoch=int(meta["epoch"]),
            batch=int(meta["batch"]),
            step=int(meta["step"]),
            # Not there in the first version's files.
            engine=str(meta.get("engine", "mxnet")),
            lr=float(meta.get("lr", 0.0)),
            arrays=arrays,
            info=info,
        )
        before = dict(meta["setup"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not say where the training was ({error})") from None
    changed = [f"{name} {before.get(name)} -> {value}" for name, value in setup.items() if before.get(name) != value]
    if changed and start.batch:
        raise UsageError(
            f"{path} was saved within an epoch, which can't be finished with another setup: {', '.join(changed)}"
        )
    if changed:
        _log.warning("going on with another setup than before: %s", ", ".join(changed))
    # What was measured after that point will be measured again.
    last_finished = start.epoch
    info.metrics = {key: value for key, value in info.metrics.items() if int(key) <= last_finished}
    _log.info("going on from %s: epoch %d, batch %d", path, start.epoch, start.batch)
    return start


def place(*, epoch: int, batch: int, step: int, engine: str, lr: float, setup: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON part of a saved state: the next batch to train on, the last step's engine and rate, ``setup``."""
    return {"format": 1, "epoch": epoch, "batch": batch, "step": step, "engine": engine, "lr": lr, "setup": setup}
