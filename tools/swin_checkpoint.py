"""What tools/convert_swin.py does: read weights, build the network that they fit, write it with them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import symbols
from agegender.engine.initial import initial_parameters
from agegender.errors import CheckpointError, UsageError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.files import sha256_file
from agegender.graph.checkpoint import params_path, save_checkpoint, symbol_path
from agegender.graph.info import ModelInfo, info_path, write_info
from agegender.graph.symbol import Graph
from symbols.swin import CHANNELS, DEPTHS, PATCH, WINDOW, head_count
from symbols.swin_windows import Windows
from tools.state_dict import read_state_dict
from tools.swin_weights import SwinWeights, translate

NETWORK = "swin_s"
# Ours alone: the embedding, and all that comes after it.
_OWN = ("fc1_", "pre_fc1_", "gender_", "age_")


def convert(args: argparse.Namespace) -> list[str]:
    """Do what the flags of tools/convert_swin.py say; return the lines to print.

    Raises UsageError for what would overwrite something or can't be built, CheckpointError for weights that can't be
    read, lack a parameter (all are named) or are of another network.
    """
    prefix = Path(args.output)
    there = [path for path in (symbol_path(prefix), info_path(prefix), params_path(prefix, 0)) if path.exists()]
    if there and not args.overwrite:
        raise UsageError(f"{there[0]} exists already; --overwrite replaces it")
    found = read_state_dict(args.weights)
    try:
        weights = translate(found)
        _check_heads(weights)
    except CheckpointError as error:
        raise CheckpointError(f"{args.weights}: {error}") from error
    arguments: dict[str, Any] = {
        "width": weights.channels / CHANNELS,
        "depths": weights.depths,
        "window": weights.window,
    }
    load_mxnet()  # with its threads set, before symbols/ imports it
    try:
        symbol = symbols.build(NETWORK, data_shape=args.data_shape, **arguments)
    except ValueError as error:
        raise UsageError(str(error)) from error
    graph = Graph.from_json(symbol.tojson())
    shapes = _shapes(symbol, args.data_shape)
    taken = {name for name in shapes if not name.partition(":")[2].startswith(_OWN)}
    missing = [name.removeprefix("arg:") for name in shapes if name in taken and name not in weights.params]
    if missing:
        raise CheckpointError(f"{args.weights} lacks {len(missing)} parameters of the backbone: {', '.join(missing)}")
    params = initial_parameters(graph, shapes, seed=args.seed)
    for name in taken:
        params[name] = weights.fitted(name, shapes[name], _window(name, weights.window, args.data_shape))
    prefix.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(prefix, 0, graph=graph, params=params)
    write_info(prefix, _info(args, arguments))
    return list(_report(args, weights, prefix, drawn=[name for name in shapes if name not in taken], taken=len(taken)))


def _check_heads(weights: SwinWeights) -> None:
    wanted = tuple(head_count(weights.channels << stage) for stage in range(len(weights.depths)))
    if weights.heads != wanted:
        raise CheckpointError(f"its stages have {weights.heads} heads of attention, ours would have {wanted}")


def _shapes(symbol: Any, data_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    arguments, _, states = symbol.infer_shape(data=(1, *data_shape))
    named = zip(symbol.list_arguments(), arguments, strict=True)
    shapes = {f"arg:{name}": tuple(shape) for name, shape in named if name != "data"}
    named = zip(symbol.list_auxiliary_states(), states, strict=True)
    return shapes | {f"aux:{name}": tuple(shape) for name, shape in named}


def _window(name: str, window: int, data_shape: Sequence[int]) -> tuple[int, int]:
    """Return the windows' size in the stage that a parameter belongs to."""
    stage, _, rest = name.removeprefix("arg:stage").partition("_")
    if not rest or not stage.isdecimal():
        return window, window
    shrink = PATCH << (int(stage) - 1)
    return Windows.fit((data_shape[1] // shrink, data_shape[2] // shrink), window, shifted=False).size


def _info(args: argparse.Namespace, arguments: dict[str, Any]) -> ModelInfo:
    entry = symbols.NETWORKS[NETWORK]
    built = {"embedding": entry.embedding, **entry.arguments, **arguments}
    return ModelInfo(
        network=NETWORK,
        arguments={name: list(value) if isinstance(value, tuple) else value for name, value in built.items()},
        head=entry.head,
        input={"shape": list(args.data_shape), "colour": "RGB", "range": [0, 255]},
        last=0,
        data={"weights": args.weights.name, "sha256": {args.weights.name: sha256_file(args.weights)}},
    )


def _report(
    args: argparse.Namespace, weights: SwinWeights, prefix: Path, *, drawn: list[str], taken: int
) -> Iterator[str]:
    depths = ",".join(map(str, weights.depths))
    yield f"{args.weights}: Swin of {weights.channels} channels, depths {depths}, window {weights.window}"
    yield f"taken ({taken}): every parameter of the backbone"
    yield f"drawn anew ({len(drawn)}): {', '.join(name.partition(':')[2] for name in drawn)}"
    if weights.computed:
        yield f"not needed, the graph works them out ({len(weights.computed)}): {', '.join(weights.computed)}"
    unused = [*weights.unused, *_beyond(weights, prefix)]
    if unused:
        yield f"not used ({len(unused)}): {', '.join(unused)}"
    entry = symbols.NETWORKS[NETWORK]
    flags = "" if weights.channels == CHANNELS else f" --width {weights.channels / CHANNELS:.6g}"
    flags += "" if weights.depths == DEPTHS else f" --depths {depths}"
    flags += "" if weights.window == WINDOW else f" --window {weights.window}"
    flags += "" if args.data_shape == entry.data_shape else f" --data_shape {','.join(map(str, args.data_shape))}"
    yield f"written: {params_path(prefix, 0)}; its heads know nothing yet:"
    yield f"  train.py --network {NETWORK}{flags} --pretrained {prefix},0"


def _beyond(weights: SwinWeights, prefix: Path) -> list[str]:
    """Return our names of parameters that the weights have and the network has not."""
    graph = Graph.from_json(symbol_path(prefix))
    return [name.removeprefix("arg:") for name in weights.params if name not in graph.parameters()]
