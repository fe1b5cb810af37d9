"""From a network's name and flags to its graph: built by ``symbols/`` in a checkout, else read from the package."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agegender.age_bins import DEFAULT_SCHEME, parse_bins
from agegender.app.inherited import find_origin, inherit, saved_graph
from agegender.errors import UsageError, did_you_mean
from agegender.input_shape import is_vector

if TYPE_CHECKING:
    from agegender.engine.config import TrainConfig

# Rate and weight decay that are usual with an optimizer, for a network whose own is another.
USUAL_RATES = {"sgd": (0.1, 5e-4), "nag": (0.1, 5e-4)}
USUAL_ADAPTIVE_RATES = (1e-3, 1e-4)


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a network is trained with unless told otherwise: fields of ``symbols.Network``, for where that isn't."""

    data_shape: tuple[int, int, int]
    embedding: int
    head: str
    arguments: Mapping[str, Any]
    optimizer: str
    lr: float
    wd: float


@cache
def packaged_networks() -> dict[str, Defaults]:
    """Return the networks of an installed package, which has the graphs but not ``symbols/``, by name, sorted.

    Their files are written from ``symbols/`` by tools/build_symbols.py, and tests prove that they are the same.
    """
    from agegender.graph import builtin_defaults

    names = [field.name for field in fields(Defaults)]
    return {name: Defaults(**{key: values[key] for key in names}) for name, values in builtin_defaults().items()}


@dataclass(frozen=True, slots=True)
class BuiltNetwork:
    """A configuration without gaps, the inference graph as JSON, and the arguments it was built with.

    ``inherited`` says what it has of the checkpoint that its training begins with, "" where that is nothing.
    """

    config: TrainConfig
    graph_json: str
    arguments: dict[str, Any]
    inherited: str = ""


def build_network(config: TrainConfig) -> BuiltNetwork:
    """Fill in what ``config`` leaves to the network and build its graph.

    What a checkpoint of the same network was built with, with which the training begins, comes before the defaults.
    Raises UsageError for an unknown network (with a suggestion), head or argument, and for anything but the defaults
    where there is no checkout to build it from.
    """
    symbols = find_symbols()
    table: Mapping[str, Any] = packaged_networks() if symbols is None else symbols.NETWORKS
    if config.network not in table:
        hint = did_you_mean(config.network, table, cutoff=0.4)
        raise UsageError(f"unknown network {config.network!r}{hint} ({', '.join(table)})")
    config = _sized_by_set(config, table[config.network])
    origin = find_origin(config)
    config, inherited = inherit(config, table[config.network], origin)
    resolved = fill_in(config, table[config.network])
    given = _given_arguments(config, table)
    arguments = {"embedding": resolved.embedding, **given}
    if resolved.bins:
        arguments["age_bins"] = resolved.bins
    complete = {**table[config.network].arguments, **arguments}
    if symbols is None:
        # A checkpoint brings its graph along, which needs no checkout.
        saved = saved_graph(resolved, complete, origin)
        if saved is not None:
            return BuiltNetwork(resolved, saved, complete, inherited)
        return BuiltNetwork(resolved, _packaged(resolved, given), {})
    from agegender.executor.mxnet_runtime import load_mxnet

    load_mxnet()  # with its threads set, before symbols/ imports it
    try:
        symbol = symbols.build(config.network, head=resolved.head, data_shape=resolved.data_shape, **arguments)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return BuiltNetwork(resolved, symbol.tojson(), complete, inherited)


def fill_in(config: TrainConfig, defaults: Any) -> TrainConfig:
    """Return ``config`` with the network's ``defaults`` where it has None."""
    names = ("data_shape", "embedding", "head", "optimizer")
    missing = {name: getattr(defaults, name) for name in names if getattr(config, name) is None}
    config = replace(config, **missing)
    # Rate and weight decay are those of the network's own optimizer; the field's usual ones for another.
    lr, wd = defaults.lr, defaults.wd
    if config.optimizer != defaults.optimizer:
        lr, wd = USUAL_RATES.get(str(config.optimizer), USUAL_ADAPTIVE_RATES)
    if config.lr is None:
        config = replace(config, lr=lr)
    if config.wd is None:
        config = replace(config, wd=wd)
    if config.age_loss is None:
        from agegender.engine.config import HEAD_LOSSES

        config = replace(config, age_loss=HEAD_LOSSES[str(config.head)][0])
    if config.head == "bins" and config.age_bins is None:
        config = replace(config, age_bins=DEFAULT_SCHEME)
    return config


def _sized_by_set(config: TrainConfig, defaults: Any) -> TrainConfig:
    """Return ``config`` with the length of the set's embeddings, for a network that takes embeddings of any."""
    if config.data_shape is not None or not is_vector(defaults.data_shape):
        return config
    from agegender.engine.vectors import shape_of_set

    return replace(config, data_shape=shape_of_set(config.data_dir))


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


def _given_arguments(config: TrainConfig, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags given that belong to some networks only: those that a network names among its arguments."""
    flags = {name for network in table.values() for name in network.arguments}
    values = {field.name: getattr(config, field.name) for field in fields(config) if field.name in flags}
    return {name: value for name, value in values.items() if value is not None}


def _packaged(config: TrainConfig, given: dict[str, Any]) -> str:
    from agegender.graph import builtin_json

    defaults = packaged_networks()[config.network]
    # A graph on embeddings takes any number of them.
    fixed = ("embedding",) if is_vector(defaults.data_shape) else ("data_shape", "embedding")
    changed = [name for name in fixed if getattr(config, name) != getattr(defaults, name)]
    if config.bins not in ((), parse_bins(DEFAULT_SCHEME)):
        changed.append("age_bins")
    if changed or given:
        raise UsageError(
            f"{', '.join([*changed, *given])}: only the network's defaults come with the package; "
            "a checkout, which has symbols/, builds others (with mxnet)"
        )
    return builtin_json(config.network if config.head == defaults.head else f"{config.network}-{config.head}")
