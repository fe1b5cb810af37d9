"""The flags of the commands that turn published weights into a checkpoint; loads nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

EXIT_CODES = "exit code: 0 all well, 1 weights that can't be used, 2 wrong usage"


def weights_parser(
    *, prog: str, description: str, example: str, data_shape: tuple[int, int, int]
) -> argparse.ArgumentParser:
    """Return a parser with --output, --overwrite, --data_shape, --seed and --debug; ``weights`` is the caller's."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"example:\n{example}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shape = ",".join(map(str, data_shape))
    parser.add_argument("--output", type=Path, required=True, metavar="PREFIX", help="writes PREFIX-0000.params")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument(
        "--data_shape", type=_shape, default=data_shape, metavar="3,H,W", help=f"input (default: {shape})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn anew (default: 0)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not 3,height,width") from None
