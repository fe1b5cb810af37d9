"""The networks that exist: every file of this folder that says ``NETWORK = Network(...)``, or ``NETWORKS`` for several.

A new network is a file, and nothing here names it. The files load no MXNet (``symbols.lazy``), so that this table can
be read for defaults and lists at once.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from symbols.network import Network


def find_networks(modules: Iterable[ModuleType]) -> dict[str, Network]:
    """Return the networks that ``modules`` define, by name, sorted.

    Raises ValueError where two have one name and where a NETWORK is none; it names the file.
    """
    found: dict[str, Network] = {}
    homes: dict[str, str] = {}
    for module in modules:
        for network in _defined(module):
            if network.name in found:
                raise ValueError(f"network {network.name!r} is in {homes[network.name]} and in {module.__name__}")
            found[network.name], homes[network.name] = network, module.__name__
    return {name: found[name] for name in sorted(found)}


def _defined(module: ModuleType) -> Iterator[Network]:
    own = [getattr(module, "NETWORK", None), *getattr(module, "NETWORKS", ())]
    for network in own:
        if network is None:
            continue
        if not isinstance(network, Network):
            raise ValueError(f"{module.__name__}: {network!r} is no symbols.network.Network")
        yield network


def _modules() -> Iterator[ModuleType]:
    # Sorted; this very file is being imported.
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        name = f"symbols.{module.name}"
        if name != __name__:
            yield importlib.import_module(name)


NETWORKS: dict[str, Network] = find_networks(_modules())
HEADS: tuple[str, ...] = tuple(sorted({head for network in NETWORKS.values() for head in network.heads}))


def build(
    network: str,
    *,
    head: str | None = None,
    embedding: int | None = None,
    data_shape: tuple[int, int, int] | None = None,
    age_bins: Sequence[tuple[int, int]] | None = None,
    **arguments: Any,
) -> Any:
    """Build the inference graph of ``network``: ``data`` (N,3,H,W) float32 RGB 0..255 in, outputs as in ``heads``.

    What is not given is the network's default; ``age_bins`` are first and last year of each class of head ``bins``
    (default: Adience's eight); ``arguments`` are the network's own (``NETWORKS[name].arguments``).
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
    entry.check_shape(shape)
    unknown = sorted(set(arguments) - set(entry.arguments))
    if unknown:
        accepted = ", ".join(entry.arguments) or "none"
        raise ValueError(f"unknown argument {unknown[0]!r} for {network} ({accepted})")
    if age_bins is not None:
        if head != "bins":
            raise ValueError(f"age_bins are for head 'bins', not for {head!r}")
        arguments["age_bins"] = tuple(age_bins)
    return entry.builder(head=head, embedding=embedding, data_shape=shape, **{**entry.arguments, **arguments})
