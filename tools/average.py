"""Write the mean of several checkpoints of one network, weight by weight: often better than each of them.

python tools/average.py runs/m50/model,23 runs/m50-fair/model,8 --output runs/mean/model
python tools/average.py runs/a/model,best runs/b/model,best runs/c/model,best --weights 1 1 2 --output runs/mean/model

Worth trying where the runs began from one another or from the same checkpoint: models that were trained apart from the
start lie too far apart, and their mean is worth nothing. What BatchNorm has counted is averaged as well, which is right
only for checkpoints that are close to each other; --recount TRAIN.rec counts it anew on faces of the training set (with
PyTorch). Score the result on val before you believe in it: it has no figures and no calibration (tools/calibrate.py).

Sources: Wortsman et al., Model soups, ICML 2022; Izmailov et al., UAI 2018 (--recount).
Exit code: 0 all well, 1 a checkpoint can't be used, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agegender.app.ending import exit_code_of
from agegender.app.parser import CommandParser
from agegender.errors import CheckpointError, UsageError
from agegender.graph.checkpoint import Checkpoint, load_checkpoint, params_path, save_checkpoint
from agegender.graph.info import write_info
from agegender.graph.lookup import find_model

Arrays = Mapping[str, npt.NDArray[Any]]
EPOCH = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Write the mean and return the exit code."""
    args = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(args), prog="average.py")


def mean_of(params: Sequence[Arrays], weights: Sequence[float]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weighted mean of ``params``, float32, by name; ``weights`` (one each) need not add up to 1.

    Raises CheckpointError for a parameter that is not in all of them, or has another shape.
    """
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    for other in params[1:]:
        for name in sorted(params[0].keys() | other.keys()):
            shapes = [each[name].shape if name in each else None for each in (params[0], other)]
            if shapes[0] != shapes[1]:
                raise CheckpointError(
                    f"{name} is {_shape(shapes[0])} in one checkpoint, {_shape(shapes[1])} in another"
                )
    return {
        name: np.asarray(
            sum(share * each[name].astype(np.float64) for share, each in zip(shares, params, strict=True)), np.float32
        )
        for name in params[0]
    }


def _run(args: argparse.Namespace) -> int:
    weights = args.weights or [1.0] * len(args.models)
    if len(args.models) < 2:
        raise UsageError(f"{len(args.models)} checkpoint: a mean takes at least two")
    if len(weights) != len(args.models):
        raise UsageError(f"--weights: {len(weights)} numbers for {len(args.models)} checkpoints")
    if min(weights) <= 0:
        raise UsageError(f"--weights: {min(weights):g} is not above 0")
    found = []
    for name in args.models:
        place = find_model(name)
        found.append(load_checkpoint(place.prefix, place.epoch))
    for other in found[1:]:
        _check_same(found[0], other)
    params = mean_of([checkpoint.params for checkpoint in found], weights)
    if args.recount is not None:
        from tools.batch_statistics import recounted

        params = recounted(dataclasses.replace(found[0], params=params), args.recount)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    if params_path(args.output, EPOCH).exists():
        raise UsageError(f"{params_path(args.output, EPOCH)} is there already; --output names a new prefix")
    save_checkpoint(args.output, EPOCH, graph=found[0].graph, params=params)
    info = found[0].info
    assert info is not None
    parts = [
        {"prefix": str(checkpoint.prefix), "epoch": checkpoint.epoch, "weight": weight}
        for checkpoint, weight in zip(found, weights, strict=True)
    ]
    extra = {**info.extra, "mean_of": parts}
    if args.recount is not None:
        extra["recounted_on"] = Path(args.recount).name
    write_info(
        args.output,
        dataclasses.replace(info, best=EPOCH, last=EPOCH, metrics={}, calibration={}, extra=extra),
    )
    print(f"{params_path(args.output, EPOCH)}: the mean of {len(found)} checkpoints, {len(params)} arrays")
    return 0


def _check_same(one: Checkpoint, other: Checkpoint) -> None:
    for checkpoint in (one, other):
        if checkpoint.info is None:
            raise CheckpointError(f"{checkpoint.prefix}.json is missing: nobody could know how to use the mean")
    if one.graph.to_json() != other.graph.to_json():
        raise CheckpointError(f"{other.prefix} is not the network of {one.prefix}: their graphs differ")
    assert one.info is not None and other.info is not None
    for what in ("input", "template", "task"):
        mine, theirs = getattr(one.info, what), getattr(other.info, what)
        if mine != theirs:
            raise CheckpointError(f"{other.prefix} has {what} {theirs}, {one.prefix} {mine}")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "a number"


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        command="average", prog="average.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="name or PREFIX,EPOCH (a number, best or last)")
    parser.add_argument("--weights", nargs="+", type=float, metavar="W", help="one per model (default: all alike)")
    parser.add_argument(
        "--recount", metavar="REC", help="count BatchNorm's statistics anew on faces of this set (the training set)"
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="PREFIX", help="prefix of what is written, epoch 1"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
