"""Initial parameters, drawn without any engine: what MXNet's Module draws by our rule, from NumPy's generator."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import GraphError
from agegender.graph import Graph

Arrays = dict[str, npt.NDArray[Any]]

# MXNet's rule for names that end so (mx.init.Initializer).
_ONES, _ZEROS = ("gamma", "moving_var", "running_var"), ("beta", "bias", "moving_mean", "running_mean", "moving_avg")


def initial_parameters(graph: Graph, shapes: Mapping[str, tuple[int, ...]], *, seed: int) -> Arrays:
    """Return parameters named ``arg:...`` and ``aux:...`` for ``shapes`` (named alike), float32.

    Weights are normal with the variance 2 / fan-in (He et al. 2015); what a variable's ``__init__`` says (PReLU's
    slope, Swin's small weights) goes before its name. Deterministic in ``seed``. Raises GraphError for an initialiser
    that is not known.
    """
    rng = np.random.default_rng(seed)
    stated = {
        node.name: node.attrs["__init__"] for node in graph.nodes if node.is_variable and "__init__" in node.attrs
    }
    drawn: Arrays = {}
    for name, shape in shapes.items():
        plain = name.partition(":")[2]
        mean, deviation = _stated(plain, stated[plain]) if plain in stated else _by_name(plain, shape)
        if deviation:
            drawn[name] = rng.normal(mean, deviation, shape).astype(np.float32)
        else:
            drawn[name] = np.full(shape, mean, np.float32)
    return drawn


def _stated(name: str, stated: str) -> tuple[float, float]:
    """Return mean and deviation of what a variable's ``__init__`` asks for; a constant has no deviation."""
    constants = {"zero": 0.0, "zeros": 0.0, "one": 1.0, "ones": 1.0}
    try:
        kind, arguments = json.loads(stated)
        if kind.lower() == "normal":
            return 0.0, float(arguments["sigma"])
        return constants[kind.lower()] if kind.lower() != "constant" else float(arguments["value"]), 0.0
    except (ValueError, KeyError, TypeError, AttributeError):
        raise GraphError(f"variable {name!r}: the initialiser {stated} is not known") from None


def _by_name(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return mean and deviation of a parameter that says nothing itself; a constant has no deviation."""
    if name.endswith(_ONES):
        return 1.0, 0.0
    if name.endswith(_ZEROS):
        return 0.0, 0.0
    # Fan-in as MXNet counts it: everything but the first axis.
    return 0.0, math.sqrt(2.0 / max(1, math.prod(shape[1:])))
