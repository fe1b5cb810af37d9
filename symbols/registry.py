"""The networks that exist. A new one is a file with its builder and an entry here.

Builders are named, not imported: this table can be read (for ``--help``, for defaults) without loading MXNet.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

HEADS = ("dex", "ssr")


@dataclass(frozen=True, kw_only=True)
class Network:
    """A builder (``module:function``) with its defaults: input (3,H,W), embedding, head and how it is trained."""

    name: str
    builder: str
    data_shape: tuple[int, int, int] = (3, 112, 112)
    embedding: int = 512
    head: str = "dex"
    heads: tuple[str, ...] = ("dex",)
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    optimizer: str = "sgd"
    lr: float = 0.1
    wd: float = 5e-4


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network(
            name="r50",
            builder="symbols.resnet:resnet",
            embedding=512,
            arguments=MappingProxyType({"num_layers": 50, "version_input": 1, "version_output": "E"}),
        ),
        Network(
            name="m50",
            builder="symbols.mobilenet:mobilenet",
            embedding=256,
            arguments=MappingProxyType({"width": 1.0, "version_input": 1, "version_output": "GAP"}),
        ),
        Network(
            name="ssrnet",
            builder="symbols.ssrnet:ssrnet",
            data_shape=(3, 64, 64),
            embedding=64,
            heads=("dex", "ssr"),
            arguments=MappingProxyType({"width": 1.0, "dropout": 0.2}),
            optimizer="adam",
            lr=1e-3,
            wd=1e-4,
        ),
        Network(name="mobilefacenet", builder="symbols.mobilefacenet:mobilefacenet", embedding=128),
    )
}


def build(
    network: str,
    *,
    head: str | None = None,
    embedding: int | None = None,
    data_shape: tuple[int, int, int] | None = None,
    **arguments: Any,
) -> Any:
    """Build the inference graph of ``network``: ``data`` (N,3,H,W) float32 RGB 0..255 in, outputs as in ``heads``.

    What is not given is the network's default; ``arguments`` are the network's own (``NETWORKS[name].arguments``).
    Raises ValueError for an unknown network, head or argument and for a shape that the network can't take.
    """
    if network not in NETWORKS:
        raise ValueError(f"unknown network {network!r} ({', '.join(NETWORKS)})")
    entry = NETWORKS[network]
    head = entry.head if head is None else head
    embedding = entry.embedding if embedding is None else embedding
    shape = entry.data_shape if data_shape is None else tuple(data_shape)
    if head not in entry.heads:
        raise ValueError(f"unknown head {head!r} for {network} ({', '.join(entry.heads)})")
    if embedding < 1:
        raise ValueError(f"embedding {embedding} is not a positive number")
    if len(shape) != 3 or shape[0] != 3 or min(shape) < 1 or shape[1] % 16 or shape[2] % 16:
        raise ValueError(f"data shape {shape} is not 3,height,width with both sides multiples of 16")
    unknown = sorted(set(arguments) - set(entry.arguments))
    if unknown:
        accepted = ", ".join(entry.arguments) or "none"
        raise ValueError(f"unknown argument {unknown[0]!r} for {network} ({accepted})")
    module, function = entry.builder.split(":")
    builder: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return builder(head=head, embedding=embedding, data_shape=shape, **{**entry.arguments, **arguments})
