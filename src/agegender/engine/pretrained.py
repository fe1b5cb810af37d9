"""Starting from another checkpoint's parameters, old ones with other heads included."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import GraphError, UsageError
from agegender.graph import Graph, ModelInfo, find_model, load_params, read_info, symbol_path
from agegender.graph.checkpoint import find_params
from agegender.graph.layers import Difference, layer_differences

_log = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]

# Arguments of networks that only training knows: the same parameters mean the same whatever they are.
LEARNING = ("dropout", "drop_path")
# Layers that a message names; the first says what the others follow from.
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What parameters are taken for: the network's name, its graph as JSON and what that was built with."""

    name: str
    graph_json: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Taken:
    """``params`` complete for our network; names taken over, names kept as drawn, and what the other had besides."""

    params: Arrays
    taken: list[str]
    kept: list[str]
    unused: list[str]


def take_over(ours: Mapping[str, npt.NDArray[Any]], theirs: Mapping[str, npt.NDArray[Any]]) -> Taken:
    """Return our parameters with theirs where name and shape are the same. Names may lack ``arg:`` and ``aux:``."""
    prefixed = any(name.startswith(("arg:", "aux:")) for name in theirs)
    params: Arrays = {}
    taken, kept, seen = [], [], set()
    for name, array in ours.items():
        other_name = name if prefixed else name[4:]
        other = theirs.get(other_name)
        if other is not None:
            seen.add(other_name)
        if other is not None and other.shape == array.shape:
            params[name] = np.asarray(other, array.dtype)
            taken.append(name[4:])
        else:
            params[name] = array
            shape = "" if other is None else f" (there {_size(other)}, here {_size(array)})"
            kept.append(f"{name[4:]}{shape}")
    unused = [name for name in theirs if name not in seen]
    return Taken(params, taken, kept, unused)


def start_from(source: str, ours: Mapping[str, npt.NDArray[Any]], *, network: Network | None = None) -> Arrays:
    """Return ``ours`` with what fits of the checkpoint ``source`` (``PREFIX,EPOCH``), and log what was taken.

    Raises CheckpointError where it can't be read, UsageError where nothing in it fits, or where it fits ``network`` in
    name and shape only (``check_layers``).
    """
    found = find_model(source)
    path = find_params(found.prefix, found.epoch, info=read_info(found.prefix))[1]
    result = take_over(ours, load_params(path))
    if not result.taken:
        raise UsageError(f"{path}: none of its parameters fits this network in name and shape")
    if network is not None:
        check_layers(found.prefix, network, taken=result.taken)
    # What was not taken is named below; of hundreds that were, their number is enough.
    _log.info("%s: %d of %d parameters taken", path, len(result.taken), len(ours))
    if result.kept:
        _log.info("not there, drawn anew (%d): %s", len(result.kept), ", ".join(result.kept))
    if result.unused:
        _log.info("there, not used (%d): %s", len(result.unused), ", ".join(result.unused))
    return result.params


def check_layers(prefix: Path, network: Network, *, taken: Collection[str]) -> None:
    """Compare the layers of the checkpoint ``prefix`` with those of ``network`` that have the parameters ``taken``.

    Raises UsageError where the checkpoint says that it is the same network and yet a layer has another stride, pooling,
    activation or normalisation: its parameters would fit and be worth nothing. Of other networks and of checkpoints
    that say nothing, that is a warning, as it is where the checkpoint's graph can't be read.
    """
    try:
        there = Graph.from_json(symbol_path(prefix))
    except GraphError as error:
        _log.warning("whether its layers are this network's is not known: %s", error)
        return
    found = layer_differences(Graph.from_json(network.graph_json), there, taken=taken)
    if not found:
        return
    info = read_info(prefix)
    if info is None or info.network != network.name:
        _log.warning("%s: parameters fit layers that are not the same (%s)", symbol_path(prefix), _named(found))
        return
    flags = _other_arguments(info, network)
    if not flags:
        raise UsageError(
            f"{prefix} is a {network.name} of other layers than this one ({_named(found)}): its parameters fit in "
            "shape only; give the flags that it was built with, or another checkpoint"
        )
    wanted = " ".join(as_flag(name, value) for name, (value, _) in flags.items())
    raise UsageError(
        f"{prefix} was built with {wanted}, this network with "
        f"{' '.join(as_flag(name, value) for name, (_, value) in flags.items())} ({_named(found)}); "
        f"give {wanted}, or another checkpoint"
    )


def as_flag(name: str, value: Any) -> str:
    """Return an argument of a network as the flag that sets it: ``--version_input 0``, ``--depths 2,2,6,2``."""
    return f"--{name} {','.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"


def _other_arguments(info: ModelInfo, network: Network) -> dict[str, tuple[Any, Any]]:
    """Return (there, here) of the arguments that both have and that differ, but for bins, which are a head's."""
    both = [name for name in network.arguments if name in info.arguments and name not in ("age_bins", *LEARNING)]
    pairs = {name: (info.arguments[name], network.arguments[name]) for name in both}
    return {name: (there, here) for name, (there, here) in pairs.items() if as_flag("", there) != as_flag("", here)}


def _named(differences: list[Difference]) -> str:
    more = len(differences) - _NAMED
    shown = ", ".join(map(str, differences[:_NAMED]))
    return f"{shown} and {more} more" if more > 0 else shown


def _size(array: npt.NDArray[Any]) -> str:
    return "x".join(map(str, array.shape))
