"""The training executor: MXNet's Module over one or several contexts, with what we need to know inside it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.engine.average import MovingAverage
from agegender.engine.losses import IMAGE, LABEL, TrainingGraph
from agegender.engine.step import Results, StepResult
from agegender.errors import CheckpointError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.input_shape import Size, face_memory
from agegender.pipeline.batch import Batch

Arrays = dict[str, npt.NDArray[Any]]

# Module talks about every step it takes.
SILENT = logging.getLogger("agegender.engine.mxnet")
SILENT.setLevel(logging.ERROR)


class TrainingModule:
    """A network with its losses, bound to ``contexts`` for batches of ``rows`` faces of ``size`` (see ``Batch``).

    Parameters are arrays named ``arg:...`` and ``aux:...``. With several contexts each takes its share of the rows
    and all keep the same parameters. Gradients of ``workers`` processes meet in ``kvstore``.
    ``rates`` has the share of the learning rate of the parameters that have one of their own.
    """

    def __init__(
        self,
        graph: TrainingGraph,
        *,
        contexts: list[Any],
        rows: int,
        size: Size,
        kvstore: Any = "device",
        workers: int = 1,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        mx = load_mxnet()
        self._mx = mx
        self._outputs = graph.symbol.list_outputs()
        self._contexts = contexts
        self._kvstore, self._workers = kvstore, workers
        self._rates = dict(rates or {})
        self._module = mx.mod.Module(
            graph.symbol,
            data_names=[IMAGE],
            label_names=[LABEL],
            context=contexts,
            fixed_param_names=list(graph.frozen),
            logger=SILENT,
        )
        shape, kind = face_memory(size)
        self._module.bind(
            data_shapes=[mx.io.DataDesc(IMAGE, (rows, *shape), kind, layout="NHWC")],
            label_shapes=[mx.io.DataDesc(LABEL, (rows, graph.label_width), np.float32, layout="NT")],
        )
        self._average: MovingAverage | None = None
        # Seeding costs a millisecond: only where the net draws numbers itself.
        self._draws = '"op": "Dropout"' in graph.symbol.tojson()
        self.step_count = 0

    def initialise(self, *, seed: int) -> Arrays:
        """Draw initial parameters (He et al. 2015; deterministic in ``seed``), use and return them."""
        mx = self._mx
        mx.random.seed(seed % 2**31)
        self._module.init_params(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
        return self.parameters()

    def set_parameters(self, params: Mapping[str, npt.NDArray[Any]]) -> None:
        """Use ``params`` on all contexts. Raises CheckpointError for parameters that are missing or do not fit."""
        nd = self._mx.nd
        named: dict[str, dict[str, Any]] = {"arg": {}, "aux": {}}
        here = self.parameters()
        for name, array in here.items():
            if name not in params or params[name].shape != array.shape:
                found = params[name].shape if name in params else "nothing"
                raise CheckpointError(f"parameter {name}: {found} where this network has {array.shape}")
            kind, _, plain = name.partition(":")
            named[kind][plain] = nd.array(params[name], dtype=array.dtype)
        self._module.set_params(named["arg"], named["aux"])

    def start_optimizer(self, kind: str, *, momentum: float, wd: float, steps_done: int = 0, ema: float = 0) -> None:
        """Make the optimizer. It runs in the workers, never in the key-value store, so that we can save its state."""
        options: dict[str, Any] = {
            "wd": wd,
            "begin_num_update": steps_done,
            # Each context's loss is a mean over its own rows; the store adds up the gradients of all.
            "rescale_grad": 1.0 / (len(self._contexts) * self._workers),
        }
        if kind in ("sgd", "nag"):
            options["momentum"] = momentum
        before = os.environ.get("MXNET_UPDATE_ON_KVSTORE")
        os.environ["MXNET_UPDATE_ON_KVSTORE"] = "0"
        try:
            self._module.init_optimizer(kvstore=self._kvstore, optimizer=kind, optimizer_params=options)
        finally:
            if before is None:
                del os.environ["MXNET_UPDATE_ON_KVSTORE"]
            else:
                os.environ["MXNET_UPDATE_ON_KVSTORE"] = before
        self._module._optimizer.set_lr_mult(self._rates)
        self.step_count = steps_done
        if ema:
            self._average = MovingAverage(self._first_device(), decay=ema)

    def step(self, batch: Batch, *, lr: float, seed: int) -> StepResult:
        """Train on ``batch``. Returns at once; the work goes on behind. ``seed`` is that of this step's dropout."""
        mx, module = self._mx, self._module
        if self._draws:
            mx.random.seed(seed)
        labels = batch.known_labels.copy()
        module._optimizer.lr = lr
        # Our own copies lent to MXNet: mx.nd.array would wait here until all earlier steps are through.
        data = [mx.nd.from_numpy(batch.data.copy())]
        module.forward_backward(mx.io.DataBatch(data=data, label=[mx.nd.from_numpy(labels.copy())]))
        # Copied on the device: the next step overwrites the outputs.
        outputs = [output.copy() for output in module.get_outputs()]
        module.update()
        self.step_count += 1
        if self._average is not None:
            self._average.update(self._first_device(), step=self.step_count)
        return StepResult(partial(_read, dict(zip(self._outputs, outputs))), labels, batch.keys.copy())

    def settle(self) -> None:
        """Do nothing: each MXNet worker keeps BatchNorm statistics of its own, and the first one's are saved."""

    def parameters(self) -> Arrays:
        """Return the trained parameters; BatchNorm's statistics are the mean over contexts."""
        # Without it BatchNorm's running statistics may silently be those of some steps ago.
        self._mx.nd.waitall()
        group = self._module._exec_group
        params = {f"arg:{name}": arrays[0].asnumpy() for name, arrays in zip(group.param_names, group.param_arrays)}
        for name, arrays in zip(group.aux_names, group.aux_arrays):
            values = [array.asnumpy() for array in arrays]
            params[f"aux:{name}"] = (
                values[0] if len(values) == 1 else np.mean(values, axis=0, dtype=np.float64).astype(values[0].dtype)
            )
        return params

    def averaged(self) -> Arrays | None:
        """Return the moving average of the parameters, None where there is none."""
        return None if self._average is None else self._average.arrays()

    def states(self) -> Arrays:
        """Return all that a training needs to go on: parameters, optimizer arrays, moving average."""
        arrays = self.parameters()
        for name, index in self._indices().items():
            if index in self._module._updater.states:
                for number, array in enumerate(_flat(self._module._updater.states[index])):
                    arrays[f"opt{number}:{name}"] = array.asnumpy()
        averaged = self.averaged() or {}
        return arrays | {f"ema:{name}": array for name, array in averaged.items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``states`` returned. Raises CheckpointError where it is of another net or optimizer."""
        self.set_parameters(arrays)
        optimizer, updater = self._module._optimizer, self._module._updater
        for place, (name, first) in enumerate(self._indices().items()):
            for device, weight in enumerate(self._weights(place)):
                if self.step_count == 0 or name in self._module._fixed_param_names:
                    continue
                state = optimizer.create_state_multi_precision(first + device, weight)
                for number, array in enumerate(_flat(state)):
                    key = f"opt{number}:{name}"
                    if key not in arrays or arrays[key].shape != array.shape:
                        raise CheckpointError(
                            f"the saved optimizer state has no {key}: it is of another optimizer or net"
                        )
                    array[:] = arrays[key]
                updater.states[first + device] = state
                updater.states_synced[first + device] = True
        if self._average is not None:
            self._average.restore({name[4:]: array for name, array in arrays.items() if name.startswith("ema:")})

    def _indices(self) -> dict[str, int]:
        """Return what Module calls the first context's copy of each parameter in its updater."""
        return {name: place * len(self._contexts) for place, name in enumerate(self._module._exec_group.param_names)}

    def _weights(self, place: int) -> list[Any]:
        weights: list[Any] = self._module._exec_group.param_arrays[place]
        return weights

    def _first_device(self) -> dict[str, Any]:
        group = self._module._exec_group
        arrays = {f"arg:{name}": arrays[0] for name, arrays in zip(group.param_names, group.param_arrays)}
        return arrays | {f"aux:{name}": arrays[0] for name, arrays in zip(group.aux_names, group.aux_arrays)}


def _read(outputs: dict[str, Any]) -> Results:
    found = {name: output.asnumpy() for name, output in outputs.items()}
    return found["loss_loss"], found.get("gender_softmax_output"), found.get("age_output")


def _flat(state: Any) -> list[Any]:
    """Return the arrays of an optimizer state, which is None, an array, or a tuple of states."""
    if state is None:
        return []
    if isinstance(state, (tuple, list)):
        return [array for part in state for array in _flat(part)]
    return [state]
