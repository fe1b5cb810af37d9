"""The onnxruntime executor: ONNX Runtime runs the graph, or an ONNX file, forward."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import CheckpointError, DeviceError, GraphError
from agegender.executor.base import forward_any
from agegender.executor.onnx_runtime import CPU, choose_providers, load_onnxruntime, session_options, thread_count
from agegender.graph.symbol import Graph

Provider = tuple[str, dict[str, Any]]

# Sessions that are kept, one per image size, where a graph can't leave the size free.
_KEPT = 4


class ONNXExecutor:
    """Runs a graph on ONNX Runtime for any batch and image size; several threads may call it at once.

    ``workers`` is how many of them the processor has room for, 1 on other devices.
    """

    def __init__(
        self,
        graph: Graph | str,
        params: Mapping[str, npt.NDArray[Any]],
        *,
        providers: Sequence[Provider] | None = None,
        threads: int | None = None,
        free_size: bool = False,
        source: Path | str = "the checkpoint",
    ) -> None:
        """Take ``graph`` (or its JSON) with ``params`` (``arg:fc1_weight``, ``aux:...``).

        The default is the processor. ``threads`` compute one operator, by default as many as there are cores. With
        ``free_size`` one session serves all image sizes, which only graphs without dense layers on maps can do; else
        there is one for each. Floating-point parameters of other widths become float32. ``source`` is the file that
        errors name. Raises CheckpointError for a parameter that is missing or doesn't fit its layer, GraphError for
        operators that can't be written as ONNX.
        """
        from agegender.executor.onnx_graph import check_exportable

        graph = Graph.from_json(graph) if isinstance(graph, str) else graph
        self._source = source
        try:
            self._graph = graph.inference()
            check_exportable(self._graph, params)
        except (CheckpointError, GraphError) as error:
            raise type(error)(f"{source}: {error}") from None
        self.outputs = self._graph.outputs()
        self.input = self._graph.input_name()
        self._params = params
        self._free_size = free_size
        self._providers = list(providers or choose_providers("cpu"))
        self._options = session_options(threads=threads)
        self.workers = thread_count(threads) if self._providers[0][0] == CPU else 1
        self._sessions: OrderedDict[tuple[int | None, ...], Any] = OrderedDict()
        # Sessions may run in several threads at once; one of them opens what is missing.
        self._opening = threading.Lock()

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name for ``data`` (n, 3, height, width) float32; n may be 0.

        Raises CheckpointError where a parameter's shape does not fit this image size, DeviceError where the device
        fails (its memory is full), ValueError for data of other dimensions.
        """
        return forward_any(data, self._forward)

    def _forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        size = (data.shape[1], None, None) if self._free_size else data.shape[1:]
        with self._opening:
            session = self._session(size)
        return run_session(session, {self.input: data})

    def _session(self, size: tuple[int | None, ...]) -> Any:
        if size in self._sessions:
            self._sessions.move_to_end(size)
            return self._sessions[size]
        from agegender.executor.onnx_graph import to_onnx

        try:
            model = to_onnx(self._graph, self._params, image=size, for_cpu=self._providers[0][0] == CPU)
        except CheckpointError as error:
            raise CheckpointError(f"{self._source}: {error}") from None
        except GraphError as error:
            raise CheckpointError(f"{self._source}: the graph can't take images of shape {size}: {error}") from None
        session = open_session(
            model.SerializeToString(), providers=self._providers, options=self._options, source=self._source
        )
        self._sessions[size] = session
        while len(self._sessions) > _KEPT:
            self._sessions.popitem(last=False)
        return session


class ONNXFile:
    """Runs an ONNX file of one image input, for the sizes that it takes; a fixed batch is filled up.

    ``workers`` as in ``ONNXExecutor``; 1 where the batch is fixed, since small parts of one would be filled up.
    """

    def __init__(self, path: Path, *, providers: Sequence[Provider] | None = None, threads: int | None = None) -> None:
        """Open ``path``. ``metadata`` is what it holds as key and text. Raises CheckpointError where it is no model."""
        try:
            model = path.read_bytes()
        except FileNotFoundError:
            raise CheckpointError(f"{path} does not exist") from None
        chosen = list(providers or choose_providers("cpu"))
        self._path = path
        self._session = open_session(model, providers=chosen, options=session_options(threads=threads), source=path)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            told = ", ".join(f"{each.name} {each.shape}" for each in inputs)
            raise CheckpointError(f"{path} takes {told or 'nothing'}, not one batch of images")
        self.input = inputs[0].name
        self.outputs = [output.name for output in self._session.get_outputs()]
        self.shape = tuple(side if isinstance(side, int) else None for side in inputs[0].shape)
        self.workers = thread_count(threads) if chosen[0][0] == CPU and self.shape[0] is None else 1
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name for ``data`` (n, 3, height, width) float32; n may be 0.

        Raises CheckpointError for images of a size that the file doesn't take, DeviceError where the device fails,
        ValueError for data of other dimensions.
        """
        return forward_any(data, self._forward)

    def _forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        if any(want not in (None, side) for want, side in zip(self.shape[1:], data.shape[1:])):
            raise CheckpointError(f"{self._path} takes images of shape {self.shape[1:]}, not {data.shape[1:]}")
        rows = self.shape[0] or len(data)
        results = []
        for start in range(0, len(data), rows):
            part = data[start : start + rows]
            missing = rows - len(part)
            full = np.concatenate([part, np.zeros((missing, *data.shape[1:]), np.float32)]) if missing else part
            outputs = run_session(self._session, {self.input: full})
            results.append({name: array[: len(part)] for name, array in outputs.items()})
        return {name: np.concatenate([result[name] for result in results]) for name in self.outputs}


def open_session(
    model: bytes, *, providers: Sequence[Provider], options: Any = None, source: Path | str = "the model"
) -> Any:
    """Return ONNX Runtime's session of a serialised model. Raises CheckpointError, naming ``source``, for a bad one."""
    runtime = load_onnxruntime()
    try:
        return runtime.InferenceSession(model, sess_options=options or session_options(), providers=list(providers))
    except Exception as error:
        # ONNX Runtime's own errors have no common class of their own; others are ours and not caught.
        if type(error).__module__.startswith("onnxruntime"):
            raise CheckpointError(f"{source}: ONNX Runtime can't run it: {_first_line(error)}") from error
        raise


def run_session(session: Any, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the outputs by name. Raises DeviceError where the device fails."""
    try:
        results = session.run(None, dict(feeds))
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):
            shapes = ", ".join(str(array.shape) for array in feeds.values())
            raise DeviceError(f"ONNX Runtime can't run a batch of shape {shapes}: {_first_line(error)}") from error
        raise
    return dict(zip((output.name for output in session.get_outputs()), results, strict=True))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
