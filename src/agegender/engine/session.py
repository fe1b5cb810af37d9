"""Everything a training works with, made ready: data, network, optimizer, scorer, checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from agegender.config import as_json
from agegender.engine.backbone import Backbone, find_backbone
from agegender.engine.backend import Backend, SetScorer, Trainable, open_backend
from agegender.engine.commit import git_commit
from agegender.engine.config import TrainConfig
from agegender.engine.data import TrainingData, open_data
from agegender.engine.keeper import CheckpointKeeper
from agegender.engine.monitor import Monitor, Watch
from agegender.engine.pretrained import Network, check_layers, start_from
from agegender.engine.schedule import Schedule
from agegender.engine.start import Start, find_start
from agegender.engine.states import convert_states
from agegender.engine.step import StepResult
from agegender.engine.vectors import describe
from agegender.engine.workers import Workers
from agegender.errors import UsageError
from agegender.graph import Graph, ModelInfo
from agegender.graph.learned import learned_graph
from agegender.input_shape import is_vector
from agegender.metrics import Scores
from agegender.pipeline import LoaderConfig, SetInfo
from agegender.pipeline.batch import Batch, known_width

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Session:
    """The parts of one training and what the loop does with them."""

    config: TrainConfig
    backend: Backend
    data: TrainingData
    module: Trainable
    scorer: SetScorer | None
    schedule: Schedule
    keeper: CheckpointKeeper
    start: Start
    # What the place within an epoch depends on.
    setup: dict[str, Any]
    backbone: Backbone
    # What is saved of the parameters: those that the inference graph needs.
    saved: frozenset[str]

    @property
    def workers(self) -> Workers:
        """This process among those that train together."""
        return self.backend.workers

    def step(self, batch: Batch, *, epoch: int, number: int) -> StepResult:
        """Train on batch ``number`` of ``epoch``."""
        seed = self.config.seed * 1_000_003 + self.module.step_count * self.workers.count + self.workers.rank
        return self.module.step(batch, lr=self.schedule.at(epoch, number), seed=seed % 2**31)

    def last_rate(self, epoch: int, batch: int) -> float:
        """Return the learning rate of the step before batch ``batch`` of ``epoch``; 0 where there was none."""
        if batch:
            return self.schedule.at(epoch, batch - 1)
        return self.schedule.at(epoch - 1, self.data.train.batches_per_epoch - 1) if epoch else 0.0

    def validate(self, epoch: int) -> Scores | None:
        """Score on the validation set where that is due after ``epoch``: every ``eval_every`` and the last."""
        due = (epoch + 1) % self.config.eval_every == 0 or epoch + 1 == self.config.end_epoch
        if self.scorer is None or self.data.val is None or not due:
            return None
        return self.scorer.score(self.data.val.epoch(0), self.inference_parameters())

    def saved_parameters(self) -> dict[str, npt.NDArray[Any]]:
        """Return what of ``inference_parameters`` the saved graph needs."""
        return {name: array for name, array in self.inference_parameters().items() if name in self.saved}

    def inference_parameters(self) -> dict[str, npt.NDArray[Any]]:
        """Return what is validated: the moving average where there is one."""
        # First, because it waits for the steps still under way.
        current = self.module.parameters()
        averaged = self.module.averaged()
        return current if averaged is None else averaged

    def monitor(self, epoch: int, *, first_batch: int, watch: Watch | None = None) -> Monitor:
        """Return the monitor of an epoch that begins with ``first_batch``; ``watch`` sees each of its log lines."""
        return Monitor(
            epoch,
            first_batch=first_batch,
            frequent=self.config.frequent,
            faces_per_step=self.data.train.batch_size * self.workers.count,
            task=self.config.task,
            add_up=self.workers.add_up,
            watch=watch,
        )

    def describe(self) -> None:
        """Log what is about to happen."""
        config, train = self.config, self.data.train
        _log.info(
            "%s: %d faces, %d batches of %d per epoch on %s (%s%s); %s %g, %d epochs; checkpoints in %s-NNNN",
            config.network,
            train.samples_per_epoch,
            train.batches_per_epoch,
            train.batch_size,
            ",".join(self.backend.devices),
            self.backend.name,
            "" if self.workers.alone else f", worker {self.workers.rank} of {self.workers.count}",
            config.optimizer,
            config.lr,
            config.end_epoch,
            self.keeper.prefix,
        )
        if (vectors := describe(self.data.info)) is not None:
            _log.info("%s", vectors)
        self.backbone.describe()
        for line in self.data.balance.table() if self.data.balance is not None else ():
            _log.info("%s", line)


@contextmanager
def open_session(
    config: TrainConfig, augmentation: LoaderConfig, *, network_json: str, arguments: dict[str, Any]
) -> Iterator[Session]:
    """Make everything ready; see ``trainer.train`` for arguments and errors."""
    network_json = learned_graph(network_json, config.task)
    with open_backend(config, network_json) as backend:
        workers = backend.workers
        data = open_data(config, backend.loader_config(augmentation), contexts=backend.contexts, workers=workers)
        with data:
            setup = {"seed": config.seed, "batch": data.train.batch_size * workers.count, "data": data.digest}
            setup |= {"balance": config.balance}
            start = find_start(config.checkpoint_prefix, resume=config.resume, setup=setup)
            backbone = find_backbone(network_json, config)
            network = Network(name=config.network, graph_json=network_json, arguments=arguments)
            module = _ready_module(
                config, augmentation, backend, data=data, start=start, backbone=backbone, network=network
            )
            info = start.info or _describe_model(config, augmentation, data, arguments)
            if config.bins and info.age_bins != _age_bins(config):
                raise UsageError(f"age_bins {config.age_bins}: this run was begun with others, {info.age_bins}")
            yield Session(
                config=config,
                backend=backend,
                data=data,
                module=module,
                scorer=_scorer(backend, data) if workers.first else None,
                schedule=_schedule(config, data.train.batches_per_epoch),
                keeper=CheckpointKeeper(
                    config.checkpoint_prefix,
                    graph_json=network_json,
                    info=info,
                    save_every=config.save_every,
                    best_by=config.best_by,
                ),
                start=start,
                setup=setup,
                backbone=backbone,
                saved=frozenset(Graph.from_json(network_json).parameters()),
            )


def _ready_module(
    config: TrainConfig,
    augmentation: LoaderConfig,
    backend: Backend,
    *,
    data: TrainingData,
    start: Start,
    backbone: Backbone,
    network: Network,
) -> Trainable:
    """Return the module with parameters and optimizer as ``start`` has them."""
    width = known_width(binned=data.train.binned)
    module = backend.trainable(augmentation, rows=data.train.batch_size, size=data.size, label_width=width)
    initial = module.initialise(seed=config.seed)
    if start.arrays is None and config.pretrained:
        module.set_parameters(start_from(config.pretrained, initial, network=network))
    elif start.arrays is not None:
        check_layers(config.checkpoint_prefix, network, taken=[name.partition(":")[2] for name in initial])
        # Before the optimizer starts: the key-value store and the moving average copy what is there then.
        module.set_parameters(start.arrays)
    optimizer = str(config.optimizer)
    module.start_optimizer(
        optimizer, momentum=config.mom, wd=float(config.wd or 0.0), steps_done=start.step, ema=config.ema
    )
    if start.arrays is not None:
        states = convert_states(
            start.arrays,
            optimizer=optimizer,
            lr=start.lr,
            source=start.engine,
            target=backend.name,
            rates=backbone.rates,
        )
        module.restore(states)
    return module


def _scorer(backend: Backend, data: TrainingData) -> SetScorer | None:
    return None if data.val is None else backend.scorer(rows=data.val.batch_size, size=data.size)


def _schedule(config: TrainConfig, batches: int) -> Schedule:
    return Schedule(
        base=float(config.lr or 0.0),
        kind=config.lr_schedule,
        steps=config.lr_steps,
        warmup_epochs=config.warmup_epochs,
        end_epoch=config.end_epoch,
        batches_per_epoch=batches,
    )


def _describe_model(
    config: TrainConfig, augmentation: LoaderConfig, data: TrainingData, arguments: dict[str, Any]
) -> ModelInfo:
    """Return what ``prefix.json`` says before the first checkpoint."""
    info = data.info
    bins: dict[str, Any] = {"age_bins": _age_bins(config)} if config.bins else {}
    return ModelInfo(
        **bins,
        network=config.network,
        arguments=arguments,
        head=str(config.head),
        task=config.task,
        input=_input(config, info),
        template=info.template if info is not None else {},
        labels=data.label_order,
        best_by=config.best_by,
        data={
            "train": str(config.data_dir),
            "records": data.records,
            "digest": data.digest,
            "sha256": info.sha256 if info is not None else {},
        },
        config={**as_json(config), **as_json(augmentation)},
        git_commit=git_commit(),
        synthetic=info.synthetic if info is not None else False,
    )


def _age_bins(config: TrainConfig) -> list[list[int]]:
    return [list(ages) for ages in config.bins]


def _input(config: TrainConfig, info: SetInfo | None) -> dict[str, Any]:
    """Return what goes into the net: pictures, or the embeddings of which model."""
    shape = list(config.data_shape or ())
    if is_vector(tuple(shape)):
        return {"shape": shape, "embedding": info.embedding if info is not None else {}}
    return {"shape": shape, "colour": "RGB", "range": [0, 255]}
