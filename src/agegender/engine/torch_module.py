"""Training on PyTorch: the network as a module, its optimizer, and a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from agegender.engine.backbone import Backbone
from agegender.engine.config import TrainConfig
from agegender.engine.initial import initial_parameters
from agegender.engine.step import Results, StepResult
from agegender.engine.torch_average import MovingAverage
from agegender.engine.torch_losses import AGE, GENDER, losses, needed_outputs
from agegender.engine.torch_optimizer import Optimizer
from agegender.engine.workers import Workers
from agegender.errors import CheckpointError
from agegender.executor.torch_graph import GraphModule
from agegender.executor.torch_shapes import parameter_shapes
from agegender.graph import Graph
from agegender.input_shape import Size, face_memory
from agegender.pipeline.batch import Batch

Arrays = dict[str, npt.NDArray[Any]]
Augment = Callable[[torch.Tensor, Batch], torch.Tensor]
LOSS = "loss"


class TorchTraining:
    """A network with its losses on one device, for batches of faces of ``size`` (see ``Batch``).

    With several ``workers`` gradients are averaged by DistributedDataParallel over the default process group.
    ``autocast`` computes in bf16 where that is safe; parameters stay float32. ``augment`` changes images on the device.
    ``backbone`` has rates of its own, which ``graph`` is ready for (``backbone.with_still_norms``).
    """

    def __init__(
        self,
        graph: Graph,
        config: TrainConfig,
        *,
        device: torch.device,
        workers: Workers,
        size: Size,
        autocast: bool,
        augment: Augment | None = None,
        backbone: Backbone | None = None,
    ) -> None:
        backbone = Backbone(1.0) if backbone is None else backbone
        inner = {f"{node.name}_output" for node in graph.nodes if not node.is_variable}
        wanted = needed_outputs(config, inner)
        # All parameters of the graph, so that what is saved is complete; the losses read some nodes besides.
        self._watched = [name for name in (GENDER, AGE) if name in inner]
        self._graph = graph.select(list(dict.fromkeys([*graph.outputs(), *self._watched, *wanted])))
        reached = set(graph.select(wanted).arguments())
        self._frozen = {name for name in self._graph.arguments() if name not in reached} | set(backbone.frozen)
        self._rates, self._still = backbone.rates, {f"aux:{name}" for name in backbone.still}
        self._config = config
        self._device = device
        self._workers = workers
        self._autocast = autocast
        self._augment = augment
        height, width, channels = face_memory(size)[0]
        self._shapes = parameter_shapes(self._graph, (channels, height, width))
        self._draws = "Dropout" in self._graph.operators()
        self._average: MovingAverage | None = None
        self._optimizer: Optimizer | None = None
        self.step_count = 0

    def initialise(self, *, seed: int) -> Arrays:
        """Draw initial parameters (He et al. 2015; deterministic in ``seed``), use and return them."""
        self._use(initial_parameters(self._graph, self._shapes, seed=seed))
        return self.parameters()

    def set_parameters(self, params: Mapping[str, npt.NDArray[Any]]) -> None:
        """Use ``params``. Raises CheckpointError for parameters that are missing or do not fit."""
        for name, shape in self._shapes.items():
            if name not in params or params[name].shape != shape:
                found = params[name].shape if name in params else "nothing"
                raise CheckpointError(f"parameter {name}: {found} where this network has {shape}")
        self._use({name: params[name] for name in self._shapes})

    def start_optimizer(self, kind: str, *, momentum: float, wd: float, steps_done: int = 0, ema: float = 0) -> None:
        """Make the optimizer, and a moving average of the parameters where ``ema`` is not 0."""
        trained = {name[4:]: tensor for name, tensor in self._tensors().items() if tensor.requires_grad}
        self._optimizer = Optimizer(kind, trained, momentum=momentum, wd=wd, steps_done=steps_done, rates=self._rates)
        self.step_count = steps_done
        if ema:
            self._average = MovingAverage(self._tensors(), decay=ema)

    def step(self, batch: Batch, *, lr: float, seed: int) -> StepResult:
        """Train on ``batch``. Returns at once where the device is a GPU; ``seed`` is that of this step's dropout."""
        if self._optimizer is None:
            raise RuntimeError("step before start_optimizer")
        if self._draws:
            torch.manual_seed(seed)
        labels = batch.known_labels.copy()
        # uint8 goes to the device, a quarter of the bytes; NHWC memory seen as NCHW is what channels_last means.
        data = self.to_device(batch.data).permute(0, 3, 1, 2).float()
        if self._augment is not None:
            data = self._augment(data, batch)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._autocast):
            outputs = self._forward(data)
        terms = losses(outputs, self.to_device(labels), self._config, count=self._count)
        # DistributedDataParallel takes the mean over workers; the terms of all of them already sum to the mean.
        torch.autograd.backward(terms.sum() * self._workers.count)
        self._optimizer.step(lr)
        self.step_count += 1
        if self._average is not None:
            self._average.update(self._tensors(), step=self.step_count)
        read = _fetch({LOSS: terms, **{name: outputs[name] for name in self._watched}}, device=self._device)
        return StepResult(read, labels, batch.keys.copy())

    def settle(self) -> None:
        """Give BatchNorm the mean of all workers' statistics; each has seen its own share of the batches."""
        if self._workers.alone:
            return
        kept = [self._tensors()] if self._average is None else [self._tensors(), self._average.tensors]
        moving = [t for tensors in kept for name, t in tensors.items() if _is_state(name) and name not in self._still]
        for tensor in moving:
            dist.all_reduce(tensor)
            tensor /= self._workers.count

    def parameters(self) -> Arrays:
        """Return the trained parameters."""
        return self._module.export_params()

    def averaged(self) -> Arrays | None:
        """Return the moving average of the parameters, None where there is none."""
        return None if self._average is None else self._average.arrays()

    def states(self) -> Arrays:
        """Return all that a training needs to go on: parameters, optimizer arrays, moving average."""
        arrays = self.parameters()
        if self._optimizer is not None:
            arrays |= self._optimizer.states(untouched=self._untouched())
        return arrays | {f"ema:{name}": array for name, array in (self.averaged() or {}).items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``states`` returned. Raises CheckpointError where it is of another net or optimizer."""
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(torch.from_numpy(np.array(arrays[name], np.float32)))
        if self._optimizer is not None and self.step_count:
            self._optimizer.restore(arrays)
        if self._average is not None:
            self._average.restore({name[4:]: array for name, array in arrays.items() if name.startswith("ema:")})

    def _use(self, params: Arrays) -> None:
        """Make the module anew with ``params``."""
        module = GraphModule(self._graph, params).to(self._device)
        for parameter in module.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        for name in self._frozen:
            if f"arg:{name}" in params:
                module.tensor_named(f"arg:{name}").requires_grad_(False)
        module.train()
        if self._config.sync_bn and not self._workers.alone:
            module.set_sync_batch_norm(dist.group.WORLD)
        self._module = module
        forward: Callable[..., Any] = torch.compile(module) if self._config.compile else module
        if not self._workers.alone:
            forward = _distributed(forward, self._device)
        self._forward = forward

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {name: self._module.tensor_named(name) for name in self._shapes}

    def _untouched(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of gammas fixed at 1: nothing moves them, but MXNet's optimizers keep a state of each."""
        return {
            name[4:]: self._shapes[name]
            for name, tensor in self._tensors().items()
            if not _is_state(name) and not tensor.requires_grad and name[4:] not in self._frozen
        }

    def _count(self, known: torch.Tensor) -> torch.Tensor:
        if not self._workers.alone:
            dist.all_reduce(known)
        return known

    def to_device(self, array: npt.NDArray[Any]) -> torch.Tensor:
        """Copy an array, whose memory is used again, to the device."""
        tensor = torch.from_numpy(array.copy())
        return tensor.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else tensor


def _distributed(module: Any, device: torch.device) -> DistributedDataParallel:
    """Average the gradients of ``module`` over processes.

    BatchNorm's statistics are brought together once an epoch (``settle``), not sent round at every step.
    """
    # The older name, which versions up to 2.12 know, warns in later ones.
    known = inspect.signature(DistributedDataParallel).parameters
    sent_round = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    devices = [device.index] if device.type == "cuda" else None
    options: dict[str, Any] = {sent_round: False, "gradient_as_bucket_view": True}
    return DistributedDataParallel(module, device_ids=devices, **options)


def _is_state(name: str) -> bool:
    return name.startswith("aux:")


def _fetch(tensors: Mapping[str, torch.Tensor], *, device: torch.device) -> Callable[[], Results]:
    """Start to copy results to the processor; what is returned waits for them alone, not for later steps."""
    detached = {name: tensor.detach().float() for name, tensor in tensors.items()}
    if device.type != "cuda":
        return partial(_arrays, detached)
    copies = {name: torch.empty(tensor.shape, pin_memory=True) for name, tensor in detached.items()}
    for name, tensor in detached.items():
        copies[name].copy_(tensor, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()

    def read() -> Results:
        event.synchronize()
        return _arrays(copies)

    return read


def _arrays(tensors: Mapping[str, torch.Tensor]) -> Results:
    found = {name: tensor.numpy() for name, tensor in tensors.items()}
    return found[LOSS], found.get(GENDER), found.get(AGE)
