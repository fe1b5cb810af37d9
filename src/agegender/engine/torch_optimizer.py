"""PyTorch's optimizers with MXNet's settings, and their state under the names of our ``.states`` files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agegender.errors import CheckpointError

# What PyTorch calls the arrays that MXNet has as the first, the second state of a parameter.
_STATES = {
    "sgd": ("momentum_buffer",),
    "nag": ("momentum_buffer",),
    "adam": ("exp_avg", "exp_avg_sq"),
    "rmsprop": ("square_avg",),
}
# MXNet's RMSProp forgets with gamma1.
_RMSPROP_DECAY = 0.9
_EPSILON = 1e-8


class RMSProp(torch.optim.Optimizer):
    """RMSProp as MXNet has it: ``w -= lr * g / sqrt(n + eps)``, n the running mean of g squared.

    PyTorch's adds eps after the root. For gradients below 1e-4, which most are, that is another step altogether.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = parameter.grad.add(parameter, alpha=group["weight_decay"])
                state = self.state[parameter]
                mean = state.setdefault("square_avg", torch.zeros_like(parameter))
                mean.mul_(_RMSPROP_DECAY).addcmul_(gradient, gradient, value=1 - _RMSPROP_DECAY)
                parameter.addcdiv_(gradient, mean.add(_EPSILON).sqrt_(), value=-group["lr"])


class Optimizer:
    """The optimizer ``kind`` over named parameters. Weight decay is MXNet's: of ``*_weight`` and ``*_gamma`` alone.

    ``rates`` has the share of the learning rate of the parameters that have one of their own.
    """

    def __init__(
        self,
        kind: str,
        parameters: Mapping[str, torch.Tensor],
        *,
        momentum: float,
        wd: float,
        steps_done: int,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        self._kind = kind
        self._parameters = dict(parameters)
        self._momentum = momentum
        self._steps_done = steps_done
        groups: dict[tuple[float, float], dict[str, Any]] = {}
        for name, parameter in parameters.items():
            decay, rate = wd if name.endswith(("_weight", "_gamma")) else 0.0, (rates or {}).get(name, 1.0)
            group = groups.setdefault((decay, rate), {"params": [], "weight_decay": decay, "rate": rate})
            group["params"].append(parameter)
        self._optimizer = _make(kind, [*groups.values()], momentum=momentum)

    def step(self, lr: float) -> None:
        """Update the parameters with the rate ``lr`` and forget the gradients."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group["rate"]
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def states(self, *, untouched: Mapping[str, tuple[int, ...]]) -> dict[str, npt.NDArray[Any]]:
        """Return the state as ``opt0:NAME``, ``opt1:NAME``; empty before the first step.

        Parameters ``untouched`` by any gradient, name to shape, have a state of zeros.
        """
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name, parameter in self._parameters.items():
            state = self._optimizer.state.get(parameter, {})
            for number, key in enumerate(_STATES[self._kind]):
                if state.get(key) is not None:
                    arrays[f"opt{number}:{name}"] = np.ascontiguousarray(state[key].detach().cpu().numpy())
        for number in range(len(_STATES[self._kind])) if arrays else ():
            arrays |= {f"opt{number}:{name}": np.zeros(shape, np.float32) for name, shape in untouched.items()}
        return arrays

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``states`` returned. Raises CheckpointError where it is of another optimizer or net."""
        if self._kind in ("sgd", "nag") and not self._momentum:
            return
        for name, parameter in self._parameters.items():
            state: dict[str, Any] = {}
            for number, key in enumerate(_STATES[self._kind]):
                array = arrays.get(f"opt{number}:{name}")
                if array is None or array.shape != tuple(parameter.shape):
                    raise CheckpointError(
                        f"the saved optimizer state has no opt{number}:{name}: it is of another optimizer or net"
                    )
                value = torch.empty_like(parameter)
                state[key] = value.copy_(torch.from_numpy(np.array(array, np.float32)))
            if self._kind == "adam":
                # Fused and plain variants alike take the count as a tensor.
                fused = bool(self._optimizer.param_groups[0].get("fused"))
                state["step"] = torch.tensor(
                    float(self._steps_done), device=parameter.device if fused else torch.device("cpu")
                )
            self._optimizer.state[parameter] = state


def _make(kind: str, groups: list[dict[str, Any]], *, momentum: float) -> torch.optim.Optimizer:
    on_gpu = groups[0]["params"][0].device.type == "cuda"
    if kind == "adam":
        return torch.optim.Adam(groups, eps=_EPSILON, fused=on_gpu)
    if kind == "rmsprop":
        return RMSProp(groups)
    return torch.optim.SGD(groups, lr=0.0, momentum=momentum, nesterov=kind == "nag" and momentum > 0, fused=on_gpu)
