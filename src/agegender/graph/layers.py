"""Where two graphs compute otherwise with the same parameters: strides, pooling, activations, normalisations.

Channels, sizes of the input, dropout and names are no such difference: either the parameters' shapes tell, or the
parameters mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from agegender.errors import GraphError
from agegender.graph.node import Node
from agegender.graph.operators import NORMS, is_true
from agegender.graph.symbol import Graph

# By operator what its parameters, or what comes after it, depend on: attributes with MXNet's defaults.
_SPATIAL = {"kernel": (), "stride": (1, 1), "dilate": (1, 1), "pad": (0, 0)}
_ATTRIBUTES: dict[str, dict[str, object]] = {
    "Convolution": {**_SPATIAL},
    "Deconvolution": {**_SPATIAL},
    "Pooling": {
        "pool_type": "max",
        "global_pool": False,
        "kernel": (),
        "stride": (1, 1),
        "pad": (0, 0),
        "pooling_convention": "valid",
    },
    "Activation": {"act_type": "relu"},
    "LeakyReLU": {"act_type": "leaky", "slope": 0.25},
    "BatchNorm": {"fix_gamma": True, "eps": 1e-3, "axis": 1.0},
    "LayerNorm": {"eps": 1e-5, "axis": -1.0},
    "InstanceNorm": {"eps": 1e-3},
    "LRN": {"alpha": 1e-4, "beta": 0.75, "knorm": 2.0, "nsize": 0.0},
    "clip": {"a_min": 0.0, "a_max": 0.0},
    "_plus_scalar": {"scalar": 0.0},
    "_minus_scalar": {"scalar": 0.0},
    "_mul_scalar": {"scalar": 1.0},
    "_div_scalar": {"scalar": 1.0},
}
# Embeddings come out here; what lies above is a head, and another one may be put on.
_EMBEDDING = "fc1_output"


@dataclass(frozen=True, slots=True)
class Difference:
    """One attribute of the layer ``layer``, or its operator, as it is ``there`` and ``here``."""

    layer: str
    what: str
    there: str
    here: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.what} {self.there}, not {self.here}"


def layer_differences(here: Graph, there: Graph, *, taken: Collection[str]) -> list[Difference]:
    """Return where layers of one name differ, in the order of ``here``.

    ``taken`` names the parameters (``conv0_weight``) that ``here`` has from ``there``; layers with others are left out,
    and so are layers above the embedding ``fc1`` and those that only one graph has.
    """
    with suppress(GraphError):  # a network of others, which has none, is compared to its end
        here = here.select([_EMBEDDING])
    known = set(taken)
    theirs = {node.name: node for node in there.nodes if not node.is_variable}
    variables = set(here.arguments() + here.aux()) - {here.input_name()}
    found = []
    for node in here.nodes:
        other = theirs.get(node.name)
        if node.is_variable or other is None:
            continue
        own = {here.nodes[source].name for source, _ in node.inputs} & variables
        if own <= known:
            found += _compare(node, other)
    return found


def _compare(here: Node, there: Node) -> list[Difference]:
    ours, theirs = _family(here.op), _family(there.op)
    if ours not in _ATTRIBUTES or theirs not in _ATTRIBUTES:
        return []
    if ours != theirs:
        return [Difference(here.name, "operator", theirs, ours)]
    mine, other = _meaning(here, ours), _meaning(there, ours)
    return [
        Difference(here.name, name, str(other[name]), str(value))
        for name, value in mine.items()
        if name in other and other[name] != value
    ]


def _family(op: str) -> str:
    return "BatchNorm" if op in NORMS else op.removesuffix("_v1")


def _meaning(node: Node, op: str) -> dict[str, object]:
    """Return the attributes that count, read, whether the file states them or leaves them to MXNet's defaults."""
    found = {name: _read(node.attrs.get(name), default) for name, default in _ATTRIBUTES[op].items()}
    if found.get("global_pool"):
        return {name: found[name] for name in ("pool_type", "global_pool")}
    if op == "LeakyReLU" and found["act_type"] not in ("leaky", "elu"):
        del found["slope"]
    return found


def _read(text: str | None, default: object) -> object:
    if text is None:
        return default
    if isinstance(default, bool):
        return is_true(text)
    if isinstance(default, tuple):
        # Python 2 wrote (3L, 3L); () stands for the default.
        return tuple(map(int, re.findall(r"\d+", text))) or default
    if isinstance(default, float):
        try:
            return float(text)
        except ValueError:
            return text
    return text


__all__ = ["Difference", "layer_differences"]
