"""Write a checkpoint whose backbone is somebody else's, and whose embedding and heads are drawn anew."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import symbols
from agegender.engine.initial import initial_parameters
from agegender.errors import CheckpointError, UsageError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.files import sha256_file
from agegender.graph.checkpoint import params_path, save_checkpoint, symbol_path
from agegender.graph.info import ModelInfo, info_path, write_info
from agegender.graph.symbol import Graph

# Ours alone: the embedding, and all that comes after it.
_OWN = ("fc1_", "pre_fc1_", "gender_", "age_")


@dataclass(frozen=True)
class Written:
    """What a checkpoint was made of: our names (``arg:...``) of what was ``taken`` and what was ``drawn`` anew."""

    graph: Graph
    taken: list[str]
    drawn: list[str]

    def lines(self) -> Iterator[str]:
        """Return the lines that say so."""
        yield f"taken ({len(self.taken)}): every parameter of the backbone"
        yield f"drawn anew ({len(self.drawn)}): {', '.join(map(_plain, self.drawn))}"


def check_free(args: argparse.Namespace) -> None:
    """Raise UsageError where a file would be overwritten that nobody allowed to be."""
    prefix = Path(args.output)
    for path in (symbol_path(prefix), info_path(prefix), params_path(prefix, 0)):
        if path.exists() and not args.overwrite:
            raise UsageError(f"{path} exists already; --overwrite replaces it")


def write_backbone(
    args: argparse.Namespace,
    network: str,
    *,
    arguments: dict[str, Any],
    there: Collection[str],
    fitted: Callable[[str, tuple[int, ...]], npt.NDArray[Any]],
) -> Written:
    """Write ``args.output``-0000: ``network`` for ``args.data_shape``, its backbone from ``fitted(name, shape)``.

    ``arguments`` are the network's own, ``there`` the parameters (``arg:...``, ``aux:...``) that the weights have.
    Raises UsageError for what can't be built, CheckpointError for parameters of the backbone that are missing (all are
    named) or of another shape.
    """
    prefix = Path(args.output)
    load_mxnet()  # with its threads set, before symbols/ imports it
    try:
        symbol = symbols.build(network, data_shape=args.data_shape, **arguments)
    except ValueError as error:
        raise UsageError(str(error)) from error
    graph = Graph.from_json(symbol.tojson())
    shapes = _shapes(symbol, args.data_shape)
    taken = [name for name in shapes if not name.partition(":")[2].startswith(_OWN)]
    missing = [_plain(name) for name in taken if name not in there]
    if missing:
        raise CheckpointError(f"{args.weights} lacks {len(missing)} parameters of the backbone: {', '.join(missing)}")
    params = initial_parameters(graph, shapes, seed=args.seed)
    for name in taken:
        array = fitted(name, shapes[name])
        if array.shape != shapes[name]:
            raise CheckpointError(f"{_plain(name)} has shape {array.shape}, this network wants {shapes[name]}")
        params[name] = np.asarray(array, np.float32)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(prefix, 0, graph=graph, params=params)
    write_info(prefix, _info(args, network, arguments))
    return Written(graph, taken, drawn=[name for name in shapes if _plain(name).startswith(_OWN)])


def _plain(name: str) -> str:
    return name.partition(":")[2]


def _shapes(symbol: Any, data_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    arguments, _, states = symbol.infer_shape(data=(1, *data_shape))
    named = zip(symbol.list_arguments(), arguments, strict=True)
    shapes = {f"arg:{name}": tuple(shape) for name, shape in named if name != "data"}
    named = zip(symbol.list_auxiliary_states(), states, strict=True)
    return shapes | {f"aux:{name}": tuple(shape) for name, shape in named}


def _info(args: argparse.Namespace, network: str, arguments: dict[str, Any]) -> ModelInfo:
    entry = symbols.NETWORKS[network]
    built = {"embedding": entry.embedding, **entry.arguments, **arguments}
    return ModelInfo(
        network=network,
        arguments={name: list(value) if isinstance(value, tuple) else value for name, value in built.items()},
        head=entry.head,
        input={"shape": list(args.data_shape), "colour": "RGB", "range": [0, 255]},
        last=0,
        data={"weights": args.weights.name, "sha256": {args.weights.name: sha256_file(args.weights)}},
    )
