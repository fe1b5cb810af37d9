"""Training on PyTorch: one device per process, several processes through torch.distributed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from agegender.cores import usable_cores
from agegender.engine.backbone import find_backbone, with_still_norms
from agegender.engine.config import TrainConfig
from agegender.engine.torch_augment import DeviceAugmenter, left_to_the_loader
from agegender.engine.torch_losses import AGE, GENDER
from agegender.engine.torch_module import TorchTraining
from agegender.engine.workers import Sums, Workers
from agegender.errors import DeviceError, UsageError
from agegender.executor.torch_graph import GraphModule
from agegender.executor.torch_runtime import load_torch, torch_devices
from agegender.graph import Graph
from agegender.input_shape import Size
from agegender.metrics import ScoreKeeper, Scores
from agegender.pipeline.batch import Batch
from agegender.pipeline.config import LoaderConfig

_log = logging.getLogger(__name__)

# The first worker validates while the others wait for it; a set of millions of faces takes its time.
_TIMEOUT = timedelta(hours=1)


class TorchBackend:
    """PyTorch on one device, among the workers that torchrun's variables name (see ``backend.Backend``)."""

    name = "torch"
    contexts = 1

    def __init__(self, config: TrainConfig, network_json: str) -> None:
        load_torch()
        self._config = config
        self._network_json = network_json
        self._graph = Graph.from_json(network_json)
        self._device = _own_device(config.gpu_ids)
        self.devices = [str(self._device)]
        self.workers = _join(self._device)
        self._autocast = _autocast(config.precision, self._device)
        if self._device.type == "cpu":
            if _local_world() > 1 and "OMP_NUM_THREADS" not in os.environ:
                torch.set_num_threads(max(1, usable_cores() // _local_world()))
        else:
            torch.backends.cudnn.benchmark = True

    def loader_config(self, augmentation: LoaderConfig) -> LoaderConfig:
        """Return what of ``augmentation`` the loader has to do: on a GPU only what can't be done there."""
        return augmentation if self._device.type == "cpu" else left_to_the_loader(augmentation)

    def trainable(self, augmentation: LoaderConfig, *, rows: int, size: Size, label_width: int = 2) -> TorchTraining:
        """Return the network with its losses on this process's device."""
        on_device = DeviceAugmenter(augmentation, seed=self._config.seed) if self._device.type != "cpu" else None
        backbone = find_backbone(self._network_json, self._config)
        return TorchTraining(
            Graph.from_json(with_still_norms(self._network_json, backbone)),
            self._config,
            backbone=backbone,
            device=self._device,
            workers=self.workers,
            size=size,
            autocast=self._autocast,
            augment=on_device,
        )

    def scorer(self, *, rows: int, size: Size) -> TorchScorer:
        """Return a scorer on the same device."""
        return TorchScorer(self._graph, device=self._device, task=self._config.task)

    def leave(self, *, failed: bool) -> None:
        """Part from the others; after an error without waiting for what they still send."""
        if dist.is_initialized() and not failed:
            # Nobody is gone while another still waits for an answer.
            dist.barrier()
            dist.destroy_process_group()


class TorchScorer:
    """The inference graph in float32, scored batch by batch on what ``task`` learns."""

    def __init__(self, graph: Graph, *, device: torch.device, task: str = "both") -> None:
        self._task = task
        self._graph = graph.select({"age": [AGE], "gender": [GENDER]}.get(task, [GENDER, AGE]))
        self._device = device

    @torch.inference_mode()
    def score(self, batches: Iterable[Batch], params: Mapping[str, npt.NDArray[Any]]) -> Scores:
        """Return the scores of ``params`` (named ``arg:...``, ``aux:...``) over ``batches``."""
        module = GraphModule(self._graph, params).to(self._device).eval()
        keeper = ScoreKeeper()
        for batch in batches:
            data = torch.from_numpy(batch.data[: batch.valid]).to(self._device).permute(0, 3, 1, 2).float()
            outputs = module(data)
            keeper.update(
                gender_probability=None if self._task == "age" else outputs[GENDER].cpu().numpy(),
                age=None if self._task == "gender" else outputs[AGE].cpu().numpy(),
                labels=batch.known_labels[: batch.valid],
            )
        return keeper.compute()


def _join(device: torch.device) -> Workers:
    """Join the process group that torchrun (or our own start of several processes) describes."""
    count = _number("WORLD_SIZE", 1)
    if count == 1:
        return Workers()
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise UsageError(f"WORLD_SIZE is {count}, but {', '.join(missing)} is not set; torchrun sets all of them")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)

    def add_up(sums: Sums) -> Sums:
        total = torch.from_numpy(np.asarray(sums, np.float64).copy()).to(device)
        dist.all_reduce(total)
        return np.asarray(total.cpu().numpy())

    return Workers(dist.get_rank(), dist.get_world_size(), add_up)


def _own_device(gpu_ids: str | None) -> torch.device:
    """Return the device of this process: of those asked for, the one that its local rank has the number of."""
    rank, local_world = _number("LOCAL_RANK", 0), _local_world()
    devices = torch_devices(gpu_ids)
    if gpu_ids is None and devices[0].type == "cuda":
        there = torch.cuda.device_count()
        if rank >= there:
            raise DeviceError(f"process {rank} of {local_world} has no GPU of its own; this machine has {there}")
        return torch.device("cuda", rank)
    if len(devices) not in (1, local_world):
        raise UsageError(f"--gpu_ids {gpu_ids} names {len(devices)} devices for {local_world} processes")
    if len(devices) == 1 and local_world > 1 and devices[0].type == "cuda":
        raise UsageError(f"--gpu_ids {gpu_ids} names one GPU for {local_world} processes; leave it out, or name all")
    return devices[rank % len(devices)]


def _local_world() -> int:
    return _number("LOCAL_WORLD_SIZE", 1)


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdecimal():
        raise UsageError(f"the environment variable {variable} is {text!r}, not a number")
    return int(text)


def _autocast(precision: str, device: torch.device) -> bool:
    """Return whether to compute in bf16."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DeviceError(f"{torch.cuda.get_device_name(device)} has no bf16; take --precision fp32")
    return precision == "bf16"
