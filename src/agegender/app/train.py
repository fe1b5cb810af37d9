"""Train a network on packed faces; checkpoints and a log go to runs/NETWORK."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agegender.app.run_statistics import note
from agegender.config import add_options, collect
from agegender.engine.config import TrainConfig
from agegender.errors import INTERRUPTED
from agegender.pipeline.config import LoaderConfig

if TYPE_CHECKING:
    from agegender.engine import TrainResult
    from agegender.pipeline import BalanceEffect

EXAMPLES = """\
examples:
  %(prog)s --network m50 --gpu_ids 0,1
  %(prog)s --network ssrnet --end_epoch 60 --lr_schedule cosine --jitter 0.1 --ema 0.999
  %(prog)s --network m50 --pretrained old/model,80 --lr 0.01 --backbone_lr 0.1
  %(prog)s --network m50 --task age --balance under
  %(prog)s --network m50 --resume
"""
_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``train``."""
    add_options(parser, TrainConfig, title="training")
    add_options(parser, LoaderConfig, title="augmentation and loading")


def main(args: argparse.Namespace) -> int:
    """Run the command; 130 after Ctrl-C, 1 where records were lost."""
    # Before mxnet, whose threads load_mxnet sets.
    from agegender.app.networks import build_network
    from agegender.engine.torch_launch import command_line, launch
    from agegender.executor.choice import choose_engine, launched_by_torch

    config, augmentation = collect(TrainConfig, args), collect(LoaderConfig, args)
    if config.tensorboard is not None:
        from agegender.engine.board import check_tensorboard

        check_tensorboard()
    engine, reason = choose_engine(config.engine, config.gpu_ids)
    config = replace(config, engine=engine)
    if engine == "torch" and not launched_by_torch() and (processes := _processes(config.gpu_ids)) > 1:
        return launch(command_line(), processes=processes)
    speaks = not launched_by_torch() or os.environ["RANK"] == "0"
    if speaks:
        _log.info("engine: %s (%s)", engine, reason)
    network = build_network(config)
    if speaks and network.inherited:
        _log.info("%s", network.inherited)
    from agegender.engine import train

    result = train(
        network.config,
        augmentation,
        network_json=network.graph_json,
        arguments=network.arguments,
        draw=_draw,
        draw_balance=_draw_balance,
    )
    note(args, prefix=result.prefix.as_posix(), last=result.last, best=result.best, figures=result.figures)
    _report(result)
    if result.interrupted:
        return INTERRUPTED
    return 1 if result.skipped else 0


def _processes(gpu_ids: str | None) -> int:
    """Return how many processes PyTorch trains in: one for each device asked for. DeviceError where one isn't there."""
    if gpu_ids is None or "," not in gpu_ids:
        return 1
    from agegender.executor.torch_runtime import torch_devices

    return len(torch_devices(gpu_ids))


def _draw(history: list[dict[str, float]], path: Path) -> None:
    from agegender.plots.curves import draw_curves, save_curves

    save_curves(draw_curves(history), path)


def _draw_balance(effect: BalanceEffect, path: Path) -> None:
    from agegender.plots.balance import draw_balance
    from agegender.plots.curves import save_curves

    save_curves(draw_balance(effect.before, effect.after, balance=effect.balance), path)


def _report(result: TrainResult) -> None:
    if result.last is None:
        return  # a worker that left saving to the first one
    if result.interrupted:
        print(f"saved {result.prefix}-{result.last:04d}; go on with:\n  {_command_to_resume()}")
    elif result.best is not None:
        figures = ", ".join(
            f"{name} {result.figures[name]:.4f}"
            for name in ("acc", "MAE", "CUM_5")
            if result.figures.get(name) is not None
        )
        print(f"best: {result.prefix},{result.best} ({figures}); last: {result.prefix},{result.last}")
    else:
        print(f"last: {result.prefix},{result.last}")
    if result.skipped:
        print(f"{len(result.skipped)} bad records were left out:", file=sys.stderr)
        for key, path, reason in result.skipped:
            print(f"  {path}: record {key}: {reason}", file=sys.stderr)


def _command_to_resume() -> str:
    words = sys.argv[1:]
    if "--resume" not in words:
        words = [*words, "--resume"]
    return shlex.join(["python" if sys.argv[0].endswith(".py") else "", sys.argv[0], *words]).replace("'' ", "")
