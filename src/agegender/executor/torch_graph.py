"""A graph with its parameters as a PyTorch module: to run, and to train."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from agegender.errors import CheckpointError, GraphError
from agegender.executor.attributes import Attributes
from agegender.executor.parameter_rules import check_given_shapes
from agegender.executor.torch_batch_norm import BatchNorm, has_fixed_gamma
from agegender.executor.torch_plan import Plan
from agegender.graph.operators import NORMS
from agegender.graph.symbol import Graph


class GraphModule(nn.Module):
    """Computes a graph's outputs. Losses are taken off (``Graph.inference``).

    Floating-point arguments are parameters in float32, auxiliary states are buffers; ``names`` says under which
    attribute each lies (PyTorch allows no dots in names). The gamma of a BatchNorm with ``fix_gamma`` is 1 and not
    trained. ``train()`` and ``eval()`` decide on dropout and on whose statistics BatchNorm takes.
    """

    def __init__(self, graph: Graph, params: Mapping[str, npt.NDArray[Any]], *, input_name: str | None = None) -> None:
        """Take ``params`` (``arg:fc1_weight``, ``aux:...``); those that the graph does not use are left out.

        ``input_name`` is the argument that ``forward`` is given: ``data``, or the first where there is none. Raises
        CheckpointError for a parameter that is missing or whose shape doesn't fit its layer, GraphError for operators
        that PyTorch lacks (all of them are named) and for attributes that make no sense.
        """
        super().__init__()
        self.graph = graph.inference()
        self.input = self.graph.input_name() if input_name is None else input_name
        if self.input not in self.graph.arguments():
            raise GraphError(f"the graph has no input {self.input!r} ({', '.join(self.graph.arguments())})")
        self._plan = Plan(self.graph)
        self._operators = nn.ModuleList(s.operator for s in self._plan.steps if isinstance(s.operator, nn.Module))
        self.names: dict[str, str] = {}
        self._load(params)
        self._held = [(slot, self.names[name]) for name, slot in self._plan.variables.items() if name in self.names]

    def forward(self, data: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name for ``data`` (n, 3, height, width) float32 RGB 0..255."""
        values: list[Any] = [None] * self._plan.slots
        values[self._plan.variables[f"arg:{self.input}"]] = data
        for slot, name in self._held:
            values[slot] = getattr(self, name)
        for step in self._plan.steps:
            result = step.operator(*[values[slot] for slot in step.inputs])
            results = result if isinstance(result, tuple) else (result,)
            for slot, value in zip(step.outputs, results, strict=True):
                values[slot] = value
            for slot in step.freed:
                values[slot] = None
        return {name: values[slot] for name, slot in self._plan.outputs}

    def tensor_named(self, name: str) -> Tensor:
        """Return the parameter (``arg:fc1_weight``) or state (``aux:bn0_moving_mean``) itself, not a copy."""
        tensor: Tensor = getattr(self, self.names[name])
        return tensor

    def export_params(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of the parameters, then the states, in MXNet's order; floats are float32, fixed gammas 1."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        fixed = self._fixed_gammas()
        for name in self.names:
            tensor = self.tensor_named(name).detach()
            tensor = torch.ones_like(tensor) if name in fixed else tensor
            tensor = tensor.float() if tensor.is_floating_point() else tensor
            arrays[name] = np.array(tensor.cpu().numpy(), order="C")
        return arrays

    def set_sync_batch_norm(self, group: ProcessGroup | None) -> None:
        """Let every BatchNorm take its statistics over all processes of ``group`` in training; None: over this one."""
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.group = group

    @torch.no_grad()
    def recount(self, batches: Iterable[Tensor]) -> int:
        """Replace the statistics of every BatchNorm by their mean over ``batches``; return how many batches these were.

        Everything else stays as it is, and dropout off. Batches have to be mixed as in training, and of one size. Where
        weights were changed by hand, as in a mean of networks, what BatchNorm had counted before fits no more.

        Source: Izmailov et al., Averaging Weights Leads to Wider Optima, UAI 2018, section 3.2.
        """
        self.eval()
        norms = [module for module in self.modules() if isinstance(module, BatchNorm)]
        before = [norm.momentum for norm in norms]
        count = 0
        for norm in norms:
            norm.train()
        try:
            for data in batches:
                for norm in norms:
                    norm.momentum = count / (count + 1)
                self(data)
                count += 1
        finally:
            for norm, momentum in zip(norms, before, strict=True):
                norm.momentum = momentum
                norm.eval()
        return count

    def _load(self, params: Mapping[str, npt.NDArray[Any]]) -> None:
        wanted = self.graph.parameters(self.input)
        for name in wanted:
            if name not in params:
                raise CheckpointError(f"the parameter {name} is missing")
        check_given_shapes(self.graph, {name: tuple(params[name].shape) for name in wanted})
        fixed = self._fixed_gammas()
        for number, name in enumerate(wanted):
            array = params[name]
            tensor = torch.from_numpy(np.array(array, np.float32 if array.dtype.kind == "f" else array.dtype))
            if name in fixed:
                tensor.fill_(1)
            attribute = name.replace(":", "_").replace(".", "_")
            if attribute in self.names.values():
                attribute = f"{attribute}_{number}"
            self.names[name] = attribute
            if name.startswith("aux:"):
                self.register_buffer(attribute, tensor)
            else:
                trained = tensor.is_floating_point() and name not in fixed
                self.register_parameter(attribute, nn.Parameter(tensor, requires_grad=trained))

    def _fixed_gammas(self) -> set[str]:
        nodes = self.graph.nodes
        return {
            f"arg:{nodes[node.inputs[1][0]].name}"
            for node in nodes
            if node.op in NORMS and has_fixed_gamma(Attributes(node))
        }
