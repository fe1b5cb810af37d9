"""Starting from another checkpoint's parameters, old ones with other heads included."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import UsageError
from agegender.graph import find_model, load_params, params_path, read_info
from agegender.graph.checkpoint import resolve_epoch

_log = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]


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


def start_from(source: str, ours: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Return ``ours`` with what fits of the checkpoint ``source`` (``PREFIX,EPOCH``), and log what was taken.

    Raises CheckpointError where it can't be read, UsageError where nothing in it fits.
    """
    found = find_model(source)
    epoch = resolve_epoch(found.prefix, found.epoch, info=read_info(found.prefix))
    path = params_path(found.prefix, epoch)
    result = take_over(ours, load_params(path))
    if not result.taken:
        raise UsageError(f"{path}: none of its parameters fits this network in name and shape")
    # What was not taken is named below; of hundreds that were, their number is enough.
    _log.info("%s: %d of %d parameters taken", path, len(result.taken), len(ours))
    if result.kept:
        _log.info("not there, drawn anew (%d): %s", len(result.kept), ", ".join(result.kept))
    if result.unused:
        _log.info("there, not used (%d): %s", len(result.unused), ", ".join(result.unused))
    return result.params


def _size(array: npt.NDArray[Any]) -> str:
    return "x".join(map(str, array.shape))
