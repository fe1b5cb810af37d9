"""From a network's name and flags to its graph: built by ``symbols/`` in a checkout, else read from the package."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agegender.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from agegender.engine.config import TrainConfig

# Flags that belong to some networks only.
ARGUMENTS = ("num_layers", "width", "version_input", "version_output")


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a network is trained with unless told otherwise (the same as ``symbols.NETWORKS``, which tests prove)."""

    data_shape: tuple[int, int, int] = (3, 112, 112)
    embedding: int = 512
    head: str = "dex"
    optimizer: str = "sgd"
    lr: float = 0.1
    wd: float = 5e-4


# For an installed package, which has the graphs but not symbols/.
PACKAGED = {
    "r50": Defaults(),
    "m50": Defaults(embedding=256),
    "ssrnet": Defaults(data_shape=(3, 64, 64), embedding=64, optimizer="adam", lr=1e-3, wd=1e-4),
    "mobilefacenet": Defaults(embedding=128),
}


@dataclass(frozen=True, slots=True)
class BuiltNetwork:
    """A configuration without gaps, the inference graph as JSON, and the arguments it was built with."""

    config: TrainConfig
    graph_json: str
    arguments: dict[str, Any]


def build_network(config: TrainConfig) -> BuiltNetwork:
    """Fill in what ``config`` leaves to the network and build its graph.

    Raises UsageError for an unknown network (with a suggestion), head or argument, and for anything but the defaults
    where there is no checkout to build it from.
    """
    symbols = find_symbols()
    table: Mapping[str, Any] = PACKAGED if symbols is None else symbols.NETWORKS
    if config.network not in table:
        hint = did_you_mean(config.network, table, cutoff=0.4)
        raise UsageError(f"unknown network {config.network!r}{hint} ({', '.join(table)})")
    resolved = fill_in(config, table[config.network])
    given = {name: getattr(config, name) for name in ARGUMENTS if getattr(config, name) is not None}
    if symbols is None:
        return BuiltNetwork(resolved, _packaged(resolved, given), {})
    from agegender.executor.mxnet_runtime import load_mxnet

    load_mxnet()  # with its threads set, before symbols/ imports it
    arguments = {"embedding": resolved.embedding, **given}
    try:
        symbol = symbols.build(config.network, head=resolved.head, data_shape=resolved.data_shape, **arguments)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return BuiltNetwork(resolved, symbol.tojson(), {**table[config.network].arguments, **arguments})


def fill_in(config: TrainConfig, defaults: Any) -> TrainConfig:
    """Return ``config`` with the network's ``defaults`` where it has None."""
    names = ("data_shape", "embedding", "head", "optimizer")
    missing = {name: getattr(defaults, name) for name in names if getattr(config, name) is None}
    config = replace(config, **missing)
    # Rate and weight decay are those of the network's own optimizer; the field's usual ones for another.
    own = config.optimizer == defaults.optimizer
    usual = Defaults() if config.optimizer in ("sgd", "nag") else PACKAGED["ssrnet"]
    rates = defaults if own else usual
    if config.lr is None:
        config = replace(config, lr=rates.lr)
    if config.wd is None:
        config = replace(config, wd=rates.wd)
    if config.age_loss is None:
        config = replace(config, age_loss="mae" if config.head == "ssr" else "dldl")
    return config


def find_symbols() -> ModuleType | None:
    """Return the module ``symbols`` of the checkout; None for an installed package, and without MXNet to build with."""
    if importlib.util.find_spec("mxnet") is None:
        return None
    root = Path(__file__).resolve().parents[3]
    if (root / "symbols" / "registry.py").is_file() and str(root) not in sys.path:
        sys.path.append(str(root))
    spec = importlib.util.find_spec("symbols")
    if spec is None or spec.origin is None or Path(spec.origin).parent.parent != root:
        return None
    return importlib.import_module("symbols")


def _packaged(config: TrainConfig, given: dict[str, Any]) -> str:
    from agegender.graph import builtin_json

    defaults = PACKAGED[config.network]
    changed = [name for name in ("data_shape", "embedding") if getattr(config, name) != getattr(defaults, name)]
    if changed or given:
        raise UsageError(
            f"{', '.join([*changed, *given])}: only the network's defaults come with the package; "
            "a checkout, which has symbols/, builds others (with mxnet)"
        )
    return builtin_json(config.network if config.head == defaults.head else f"{config.network}-{config.head}")
