"""Optimizer states of one engine for the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]

_MOMENTUM = "opt0:"


def convert_states(
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    optimizer: str,
    lr: float,
    source: str,
    target: str,
    rates: Mapping[str, float] | None = None,
) -> Arrays:
    """Return the states that ``source`` saved as ``target`` has them (mxnet or torch).

    Names and shapes are the same, and so are Adam's moments and RMSProp's mean square. The momentum of sgd and nag is
    not: MXNet keeps ``v = momentum * v - lr * gradient``, PyTorch ``v = momentum * v + gradient``; with ``lr``, the
    last step's rate, one becomes the other (exactly, where the rate did not change within the momentum's memory).
    ``rates`` has the share of it of the parameters that have one of their own.
    """
    converted = dict(arrays)
    if source == target or optimizer not in ("sgd", "nag"):
        return converted
    for name, array in arrays.items():
        if name.startswith(_MOMENTUM):
            own = lr * (rates or {}).get(name.removeprefix(_MOMENTUM), 1.0)
            factor = -own if target == "mxnet" else (-1.0 / own if own else 0.0)
            converted[name] = np.asarray(array * factor, array.dtype)
    return converted
