"""A checkpoint: ``prefix-symbol.json``, ``prefix-0007.params``, ``prefix-0007.states`` and ``prefix.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import CheckpointError, GraphError
from agegender.files import write_text
from agegender.graph.info import ModelInfo, info_path, read_info, write_info
from agegender.graph.params import load_params, save_params
from agegender.graph.symbol import Graph

Arrays = dict[str, npt.NDArray[Any]]

_META = "__json__"
_NAMED_MISSING = 5


@dataclass(frozen=True)
class Checkpoint:
    """A network with its parameters, ready to run given ``data`` alone.

    ``params`` are named ``arg:fc1_weight`` and ``aux:bn0_moving_mean``; ``info`` is None where no ``prefix.json`` lies
    beside them (checkpoints of other programs).
    """

    prefix: Path
    epoch: int
    graph: Graph
    params: Arrays
    info: ModelInfo | None = None


def symbol_path(prefix: Path | str) -> Path:
    """Return where the graph of ``prefix`` lies."""
    return _beside(prefix, "-symbol.json")


def params_path(prefix: Path | str, epoch: int) -> Path:
    """Return where the parameters of an epoch lie: ``prefix-0007.params``, MXNet's own name."""
    return _beside(prefix, f"-{epoch:04d}.params")


def states_path(prefix: Path | str, epoch: int) -> Path:
    """Return where the optimizer's state of an epoch lies: ``prefix-0007.states``."""
    return _beside(prefix, f"-{epoch:04d}.states")


def saved_epochs(prefix: Path | str) -> list[int]:
    """Return the epochs whose parameters are there, in order."""
    prefix = Path(prefix)
    if not prefix.parent.is_dir():
        return []
    pattern = re.compile(re.escape(prefix.name) + r"-(\d{4,})\.params")
    found = (pattern.fullmatch(path.name) for path in prefix.parent.iterdir())
    return sorted(int(match[1]) for match in found if match)


def load_checkpoint(prefix: Path | str, epoch: int | str | None = None) -> Checkpoint:
    """Load the graph, the parameters of ``epoch`` and, if there, ``prefix.json``.

    ``epoch`` is a number, "best" or "last" as ``prefix.json`` says; None is the best one, where that is not known the
    last. Losses and labels of training graphs are taken off. Raises CheckpointError for what is missing (named),
    damaged or does not fit together, GraphError for a graph that can't be understood.
    """
    prefix = Path(prefix)
    info = read_info(prefix)
    path = symbol_path(prefix)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: {prefix} is no checkpoint")
    graph = Graph.from_json(path)
    try:
        graph = graph.inference()
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from None
    number, file = find_params(prefix, epoch, info=info)
    params = _with_kinds(load_params(file), graph)
    _check_complete(graph, params, file)
    return Checkpoint(prefix, number, graph, params, info)


def save_checkpoint(prefix: Path | str, epoch: int, *, graph: Graph | str, params: Mapping[str, Any]) -> None:
    """Write ``prefix-symbol.json`` (where it differs from what is there) and ``prefix-<epoch>.params``, atomically.

    ``params`` are named ``arg:...`` and ``aux:...``. ``graph`` is the inference graph, or its JSON.
    """
    text = graph if isinstance(graph, str) else graph.to_json()
    path = symbol_path(prefix)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    save_params(params_path(prefix, epoch), params)


def resolve_epoch(prefix: Path | str, epoch: int | str | None, *, info: ModelInfo | None = None) -> int:
    """Return the number that "best", "last" or None stands for. Raises CheckpointError where nothing says which."""
    if isinstance(epoch, int):
        return epoch
    if isinstance(epoch, str) and epoch.isdecimal():
        return int(epoch)
    if epoch not in ("best", "last", None):
        raise CheckpointError(f"epoch {epoch!r} is neither a number nor 'best' nor 'last'")
    best, last = (info.best, info.last) if info is not None else (None, None)
    if epoch == "best" and best is None:
        raise CheckpointError(f"{info_path(prefix)} does not say which epoch is best ({_epochs_there(Path(prefix))})")
    if epoch in ("best", None) and best is not None:
        return best
    if last is not None:
        return last
    epochs = saved_epochs(prefix)
    if not epochs:
        raise CheckpointError(f"{prefix} has no parameters: no {Path(prefix).name}-NNNN.params lies there")
    return epochs[-1]


def find_params(prefix: Path | str, epoch: int | str | None, *, info: ModelInfo | None = None) -> tuple[int, Path]:
    """Return the number that ``epoch`` stands for and where its parameters lie. Raises CheckpointError for neither."""
    number = resolve_epoch(prefix, epoch, info=info)
    file = params_path(prefix, number)
    if not file.is_file():
        best = info.best if info is not None else None
        # Of a run's epochs only the best and the last are kept, so that this is what most want.
        hint = f"; {prefix},best takes {best}" if best is not None and params_path(prefix, best).is_file() else ""
        raise CheckpointError(f"{file} does not exist ({_epochs_there(Path(prefix))}{hint})")
    return number, file


def save_states(path: Path | str, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write the state of a training, atomically: arrays, and whatever of ``meta`` JSON can say. Nothing is pickled."""
    text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    save_params(path, {**arrays, _META: text})


def load_states(path: Path | str) -> tuple[Arrays, dict[str, Any]]:
    """Read what ``save_states`` wrote: (arrays, meta). Raises CheckpointError for a missing or damaged file."""
    arrays = load_params(path)
    try:
        meta = json.loads(arrays.pop(_META).tobytes())
    except (KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no training state of this program: {_META} is missing or damaged") from error
    if not isinstance(meta, dict):
        raise CheckpointError(f"{path} is damaged: {_META} is no JSON object")
    return arrays, meta


def _with_kinds(params: Arrays, graph: Graph) -> Arrays:
    """Add ``arg:`` and ``aux:`` where names come without them (Gluon's ``save_parameters``)."""
    if any(name.startswith(("arg:", "aux:")) for name in params):
        return params
    states = set(graph.aux())
    return {f"aux:{name}" if name in states else f"arg:{name}": array for name, array in params.items()}


def _check_complete(graph: Graph, params: Arrays, path: Path) -> None:
    # The graph's own input is the one variable without a value; one that takes nothing needs all it has.
    wanted = graph.parameters(None if graph.arguments() else "")
    missing = [name for name in wanted if name not in params]
    if missing:
        shown = ", ".join(name.partition(":")[2] for name in missing[:_NAMED_MISSING])
        more = f" and {len(missing) - _NAMED_MISSING} more" if len(missing) > _NAMED_MISSING else ""
        raise CheckpointError(f"{path} lacks {len(missing)} of the graph's {len(wanted)} parameters: {shown}{more}")


def _epochs_there(prefix: Path) -> str:
    epochs = saved_epochs(prefix)
    if not epochs:
        return "no epoch is there"
    if len(epochs) > 1 and epochs == list(range(epochs[0], epochs[-1] + 1)):
        return f"epochs there: {epochs[0]} to {epochs[-1]}"
    return f"epochs there: {', '.join(map(str, epochs))}"


def _beside(prefix: Path | str, suffix: str) -> Path:
    prefix = Path(prefix)
    # Not with_suffix: a prefix such as `model-v1.2` has a dot of its own.
    return prefix.with_name(prefix.name + suffix)


__all__ = [
    "Arrays",
    "Checkpoint",
    "ModelInfo",
    "find_params",
    "load_checkpoint",
    "load_states",
    "params_path",
    "read_info",
    "resolve_epoch",
    "save_checkpoint",
    "save_states",
    "saved_epochs",
    "states_path",
    "symbol_path",
    "write_info",
]
