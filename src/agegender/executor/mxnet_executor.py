"""The reference executor: MXNet's own engine runs the graph, forward only."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import CheckpointError, DeviceError, GraphError
from agegender.executor.base import forward_any
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph.symbol import Graph

# Bound executors that are kept per device, one for each (batch, height, width): a photo's pyramid has about ten sizes.
_KEPT = 16
# And how many input pixels (n * h * w) these may have together: memory grows with them, by 200 bytes each in P-Net.
_KEPT_PIXELS = 4_000_000
# A batch runs padded in an executor that is bound for at most this many times its size: binding costs more than that.
_SLACK = 1.25


class MXNetExecutor:
    """Runs a graph on MXNet for any batch and image size. Not for two threads at once."""

    def __init__(
        self,
        graph: Graph | str,
        params: Mapping[str, npt.NDArray[Any]],
        *,
        contexts: Sequence[Any] | None = None,
        source: Path | str = "the checkpoint",
    ) -> None:
        """Load ``graph`` (or its JSON) with ``params`` (``arg:fc1_weight``, ``aux:...``) onto each of ``contexts``.

        The default is the processor. With several contexts a batch is divided among them. Floating-point parameters
        of other widths become float32. ``source`` is the file that errors name. Raises CheckpointError for a missing
        parameter, GraphError for an operator that MXNet does not have.
        """
        mx = load_mxnet()
        self._source = source
        self._graph = Graph.from_json(graph) if isinstance(graph, str) else graph
        self.outputs = self._graph.outputs()
        self.input = self._graph.input_name()
        symbol = _load_symbol(self._graph, source=source)
        arguments = [name for name in self._graph.arguments() if name != self.input]
        args = _parameters(params, "arg", arguments, source=source)
        aux = _parameters(params, "aux", self._graph.aux(), source=source)
        self._symbol = symbol
        self._shapes = {name: array.shape for name, array in (args | aux).items()}
        self._checked_sizes: set[tuple[int, ...]] = set()
        self._devices = [_Device(symbol, self.input, args, aux, context) for context in contexts or [mx.cpu()]]

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name for ``data`` (n, 3, height, width) float32; n may be 0.

        Raises CheckpointError where a parameter's shape does not fit this image size, DeviceError where the device
        fails (its memory is full), ValueError for data of other dimensions.
        """
        return forward_any(data, self._forward)

    def _forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        self._check_shapes(data.shape[1:])
        devices = self._devices[: len(data)]
        parts = np.array_split(data, len(devices))
        # Every device gets its part before the first result is waited for.
        try:
            pending = [device.start(part) for device, part in zip(devices, parts, strict=True)]
            results = [[array.asnumpy()[: _rows(array, *counts)] for array in arrays] for arrays, counts in pending]
        except load_mxnet().MXNetError as error:
            # The engine computes in the background; what went wrong there (memory, mostly) comes up here.
            raise DeviceError(f"MXNet can't run a batch of shape {data.shape}: {_first_line(error)}") from error
        joined = [np.concatenate(pieces) if len(pieces) > 1 else pieces[0] for pieces in zip(*results, strict=True)]
        return dict(zip(self.outputs, joined, strict=True))

    def _check_shapes(self, image: tuple[int, ...]) -> None:
        """Compare every parameter with what the graph wants for images of this size."""
        if image in self._checked_sizes:
            return
        mx = load_mxnet()
        try:
            wanted, _, wanted_aux = self._symbol.infer_shape(**{self.input: (1, *image)})
        except mx.MXNetError as error:
            problem = f"the graph can't take images of shape {image}: {_first_line(error)}"
            raise CheckpointError(f"{self._source}: {problem}") from error
        names = [*self._symbol.list_arguments(), *self._symbol.list_auxiliary_states()]
        for name, shape in zip(names, [*(wanted or ()), *(wanted_aux or ())], strict=False):
            given = self._shapes.get(name)
            if given is not None and given != shape:
                raise CheckpointError(
                    f"{self._source}: {name} has shape {given}, the graph wants {shape} for images of shape {image}"
                )
        self._checked_sizes.add(image)


class _Device:
    """The parameters on one context, and the executors that are bound there."""

    def __init__(
        self, symbol: Any, input_name: str, args: Mapping[str, Any], aux: Mapping[str, Any], context: Any
    ) -> None:
        nd = load_mxnet().nd
        self._symbol = symbol
        self._input = input_name
        self._context = context
        self._args = {name: nd.array(array, ctx=context, dtype=array.dtype) for name, array in args.items()}
        self._aux = {name: nd.array(array, ctx=context, dtype=array.dtype) for name, array in aux.items()}
        self._bound: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def start(self, data: npt.NDArray[np.float32]) -> tuple[list[Any], tuple[int, int]]:
        """Begin to compute; return the outputs, and how many images count (the first ones) of how many."""
        executor = self._executor(data.shape)
        held = executor.arg_dict[self._input]
        if len(data) < held.shape[0]:
            padding = np.zeros((held.shape[0] - len(data), *data.shape[1:]), np.float32)
            held[:] = np.concatenate([data, padding])
        else:
            held[:] = data
        return executor.forward(is_train=False), (len(data), held.shape[0])

    def _executor(self, shape: tuple[int, ...]) -> Any:
        fitting = [
            bound for bound in self._bound if bound[1:] == shape[1:] and shape[0] <= bound[0] <= shape[0] * _SLACK
        ]
        key = min(fitting) if fitting else shape
        if key in self._bound:
            self._bound.move_to_end(key)
            return self._bound[key]
        held = load_mxnet().nd.zeros(shape, ctx=self._context)
        executor = self._symbol.bind(
            self._context, {**self._args, self._input: held}, grad_req="null", aux_states=self._aux
        )
        self._bound[key] = executor
        while len(self._bound) > 1 and (len(self._bound) > _KEPT or self._pixels() > _KEPT_PIXELS):
            self._bound.popitem(last=False)
        return executor

    def _pixels(self) -> int:
        return sum(shape[0] * math.prod(shape[2:]) for shape in self._bound)


def _rows(array: Any, count: int, bound: int) -> int:
    """Return how many rows of an output belong to the first ``count`` of ``bound`` images; each may have several."""
    rows = int(array.shape[0])
    return rows if rows % bound else rows // bound * count


def _parameters(
    params: Mapping[str, npt.NDArray[Any]], kind: str, names: list[str], *, source: Path | str
) -> dict[str, npt.NDArray[Any]]:
    """Pick the parameters that the graph uses; floats become float32, which is what images are."""
    picked: dict[str, npt.NDArray[Any]] = {}
    for name in names:
        array = params.get(f"{kind}:{name}")
        if array is None:
            raise CheckpointError(f"{source} lacks the parameter {kind}:{name}")
        picked[name] = array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array
    return picked


def _load_symbol(graph: Graph, *, source: Path | str) -> Any:
    mx = load_mxnet()
    try:
        return mx.sym.load_json(graph.to_json())
    except mx.MXNetError as error:
        known = set(mx.operator.get_all_registered_operators())
        for node in graph.nodes:
            if not node.is_variable and node.op not in known:
                raise GraphError(f"{source}: node {node.name!r}: MXNet has no operator {node.op!r}") from error
        raise GraphError(f"{source}: MXNet can't read the graph: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
