"""What tools/convert_swin.py does: read weights, build the network that they fit, write it with them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import symbols
from agegender.errors import CheckpointError
from agegender.graph.checkpoint import params_path
from symbols.swin import CHANNELS, DEPTHS, PATCH, WINDOW, head_count
from symbols.swin_windows import Windows
from tools.backbone_checkpoint import Written, check_free, write_backbone
from tools.state_dict import read_state_dict
from tools.swin_weights import SwinWeights, translate

NETWORK = "swin_s"


def convert(args: argparse.Namespace) -> list[str]:
    """Do what the flags of tools/convert_swin.py say; return the lines to print.

    Raises UsageError for what would overwrite something or can't be built, CheckpointError for weights that can't be
    read, lack a parameter (all are named) or are of another network.
    """
    check_free(args)
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
    written = write_backbone(
        args,
        NETWORK,
        arguments=arguments,
        there=weights.params,
        fitted=lambda name, shape: weights.fitted(name, shape, _window(name, weights.window, args.data_shape)),
    )
    return list(_report(args, weights, written))


def _check_heads(weights: SwinWeights) -> None:
    wanted = tuple(head_count(weights.channels << stage) for stage in range(len(weights.depths)))
    if weights.heads != wanted:
        raise CheckpointError(f"its stages have {weights.heads} heads of attention, ours would have {wanted}")


def _window(name: str, window: int, data_shape: Sequence[int]) -> tuple[int, int]:
    """Return the windows' size in the stage that a parameter belongs to."""
    stage, _, rest = name.removeprefix("arg:stage").partition("_")
    if not rest or not stage.isdecimal():
        return window, window
    shrink = PATCH << (int(stage) - 1)
    return Windows.fit((data_shape[1] // shrink, data_shape[2] // shrink), window, shifted=False).size


def _report(args: argparse.Namespace, weights: SwinWeights, written: Written) -> Iterator[str]:
    prefix = Path(args.output)
    depths = ",".join(map(str, weights.depths))
    yield f"{args.weights}: Swin of {weights.channels} channels, depths {depths}, window {weights.window}"
    yield from written.lines()
    if weights.computed:
        yield f"not needed, the graph works them out ({len(weights.computed)}): {', '.join(weights.computed)}"
    beyond = [name.removeprefix("arg:") for name in weights.params if name not in written.graph.parameters()]
    unused = [*weights.unused, *beyond]
    if unused:
        yield f"not used ({len(unused)}): {', '.join(unused)}"
    entry = symbols.NETWORKS[NETWORK]
    flags = "" if weights.channels == CHANNELS else f" --width {weights.channels / CHANNELS:.6g}"
    flags += "" if weights.depths == DEPTHS else f" --depths {depths}"
    flags += "" if weights.window == WINDOW else f" --window {weights.window}"
    flags += "" if args.data_shape == entry.data_shape else f" --data_shape {','.join(map(str, args.data_shape))}"
    yield f"written: {params_path(prefix, 0)}; its heads know nothing yet:"
    yield f"  train.py --network {NETWORK}{flags} --pretrained {prefix},0"
