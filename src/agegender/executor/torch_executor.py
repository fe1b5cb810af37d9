"""The torch executor: PyTorch runs the graph, forward only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agegender.errors import CheckpointError, DeviceError, GraphError
from agegender.executor.base import forward_any
from agegender.executor.torch_graph import GraphModule
from agegender.executor.torch_shapes import parameter_shapes
from agegender.graph.symbol import Graph


class TorchExecutor:
    """Runs a graph on PyTorch for any batch and image size."""

    def __init__(
        self,
        graph: Graph | str,
        params: Mapping[str, npt.NDArray[Any]],
        *,
        devices: Sequence[torch.device] | None = None,
        source: Path | str = "the checkpoint",
    ) -> None:
        """Load ``graph`` (or its JSON) with ``params`` (``arg:fc1_weight``, ``aux:...``) onto each of ``devices``.

        The default is the processor. With several devices a batch is divided among them. Floating-point parameters of
        other widths become float32. ``source`` is the file that errors name. Raises CheckpointError for a parameter
        that is missing or doesn't fit its layer, GraphError for operators that PyTorch does not have.
        """
        self._source = source
        self._devices = [torch.device("cpu")] if devices is None else list(devices)
        graph = Graph.from_json(graph) if isinstance(graph, str) else graph
        try:
            self._modules = [GraphModule(graph, params).to(device).eval() for device in self._devices]
        except (CheckpointError, GraphError) as error:
            raise type(error)(f"{source}: {error}") from None
        first = self._modules[0]
        self.outputs = first.graph.outputs()
        self.input = first.input
        self._shapes = {name: tuple(first.tensor_named(name).shape) for name in first.names}

    @torch.inference_mode()
    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by name for ``data`` (n, 3, height, width) float32; n may be 0.

        Raises CheckpointError where a parameter's shape does not fit this image size, DeviceError where the device
        fails (its memory is full), ValueError for data of other dimensions.
        """
        return forward_any(data, self._forward)

    def _forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        parts = np.array_split(data, min(len(self._modules), len(data)))
        # Every device gets its part before the first result is waited for.
        try:
            pending = [
                module(torch.tensor(part, device=device))
                for module, device, part in zip(self._modules, self._devices, parts, strict=False)
            ]
            results = [[outputs[name].cpu().numpy() for name in self.outputs] for outputs in pending]
        except (RuntimeError, IndexError, GraphError) as error:
            self._check_shapes(data.shape[1:])
            problem = str(error).partition("\n")[0]
            raise DeviceError(f"PyTorch can't run a batch of shape {data.shape}: {problem}") from error
        joined = [np.concatenate(pieces) if len(pieces) > 1 else pieces[0] for pieces in zip(*results, strict=True)]
        return dict(zip(self.outputs, joined, strict=True))

    def _check_shapes(self, image: tuple[int, ...]) -> None:
        """Find out whether something went wrong because images of this size don't fit the graph or a parameter."""
        try:
            wanted = parameter_shapes(self._modules[0].graph, image, input_name=self.input, given=self._shapes)
        except GraphError as error:
            raise CheckpointError(f"{self._source}: {error}") from error
        for name, shape in wanted.items():
            if self._shapes[name] != shape:
                raise CheckpointError(
                    f"{self._source}: {name.partition(':')[2]} has shape {self._shapes[name]}, "
                    f"the graph wants {shape} for images of shape {image}"
                )
