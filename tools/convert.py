"""Bring an old MXNet checkpoint to life: find out how its outputs are read, try it, and write its prefix.json.

Reads the pair PREFIX-symbol.json and PREFIX-NNNN.params of any MXNet since 0.8, without losses and labels. The net is
run on a few random pictures; then prefix.json is written beside it, or a complete copy under --output.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agegender.app.ending import exit_code_of
from agegender.executor import EXECUTORS

LAYOUTS = ("dex", "ordinal", "ssr")
LABEL_ORDERS = ("female,male", "male,female")
EXAMPLES = """layouts:
  dex       a column per age (101: 0..100, 100: 0..99, others: --age_bins), 2 columns of gender
  ordinal   2 columns of gender, then a pair (no, yes) for each "older than 0, 1 .. 99?"; age: how many say yes
  ssr       one number of years, one number 0..1 of gender

examples:
  insightface gender-age:
    python tools/convert.py gender-age/model/model,0 --head_layout ordinal --template arcface
  a softmax over 101 ages, on BGR brought to -1..1:
    python tools/convert.py old/age,20 --head_layout dex --template arcface --input_size 224 --colour bgr \\
      --mean 127.5 --scale 1/127.5
  SSR-Net on MXNet, whose ranges are inputs, as a complete copy:
    python tools/convert.py ssr2_megaage_1_1/model,0 --head_layout ssr --template arcface --input_size 64 \\
      --outputs age=_mulscalar16 --constant stage_num0,stage_num1,stage_num2=0,1,2 --output models/ssr-age/ssr-age

exit code: 0 all well, 1 a checkpoint that can't be used, 2 wrong usage"""


def main(argv: Sequence[str] | None = None) -> int:
    """Convert one checkpoint and return the exit code: 0, 1 (bad checkpoint), 2 (usage)."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    return exit_code_of(lambda: _run(args), prog="convert.py", debug=args.debug)


def _run(args: argparse.Namespace) -> int:
    # Late, so that --help loads neither numpy nor OpenCV.
    from tools.old_checkpoint import convert

    for line in convert(args):
        print(line)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="convert.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="PREFIX[,EPOCH]", help="the checkpoint (without EPOCH: the last)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    group = parser.add_argument_group("what comes out")
    group.add_argument("--head_layout", required=True, choices=LAYOUTS, help="how age and gender are coded")
    group.add_argument(
        "--outputs",
        type=_assignments,
        default={},
        metavar="gender=NAME,age=NAME",
        help="outputs, or inner nodes, that hold them where widths don't tell; also embedding=NAME",
    )
    group.add_argument(
        "--forms",
        type=_assignments,
        default={},
        metavar="age=FORM",
        help="probabilities, logits or number, where a trial can't tell: age=logits,gender=probabilities",
    )
    group.add_argument(
        "--label_order",
        choices=LABEL_ORDERS,
        default=LABEL_ORDERS[0],
        metavar="ORDER",
        help="of gender: female,male (default) or male,female",
    )
    group.add_argument("--age_bins", type=_bins, metavar="AGES", help="ages of the columns: 1..100 or 5,15,25")
    group.add_argument(
        "--age_scale", type=_number, default=1.0, metavar="N", help="layout ssr: years are the number times this"
    )
    group = parser.add_argument_group("what goes in")
    group.add_argument("--template", choices=("arcface", "utkface"), help="the crops it knows (else infer asks)")
    group.add_argument("--input_size", type=_size, default=(112, 112), metavar="SIDE", help="or H,W (default: 112)")
    group.add_argument("--colour", choices=("rgb", "bgr"), default="rgb", help="order of colours (default: rgb)")
    group.add_argument("--mean", type=_numbers, default=(0.0,), metavar="M", help="or three; taken off 0..255")
    group.add_argument("--scale", type=_numbers, default=(1.0,), metavar="S", help="or three; times this; 1/128 too")
    group.add_argument(
        "--constant",
        type=_constants,
        action="append",
        default=[],
        metavar="NAMES=VALUES",
        help="a further input's fixed value, (1, n) for n values; needs --output: stage_num0,stage_num1=0,1,2",
    )
    group = parser.add_argument_group("what is written")
    group.add_argument("--output", type=Path, metavar="PREFIX", help="write a complete copy there")
    group.add_argument("--overwrite", action="store_true", help="replace what is there")
    group.add_argument("--engine", choices=("auto", *EXECUTORS), default="auto", help="what runs the trial")
    return parser


def _assignments(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and value.strip() for name, _, value in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE,NAME=VALUE")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _number(text: str) -> float:
    try:
        return float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError):
        pass
    try:
        # 1/127.5 is no Fraction to Python.
        above, _, below = text.partition("/")
        return float(above) / float(below)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, nor one like 1/128") from None


def _numbers(text: str) -> tuple[float, ...]:
    numbers = tuple(_number(part) for part in text.split(","))
    if len(numbers) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text!r} has {len(numbers)} numbers, not 1 or 3")
    return numbers


def _size(text: str) -> tuple[int, int]:
    sides = text.split(",")
    if len(sides) not in (1, 2) or not all(side.strip().isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a side in pixels nor HEIGHT,WIDTH")
    return int(sides[0]), int(sides[-1])


def _bins(text: str) -> tuple[float, ...]:
    first, dots, last = text.partition("..")
    if dots and first.strip().isdecimal() and last.strip().isdecimal():
        return tuple(float(age) for age in range(int(first), int(last) + 1))
    return tuple(_number(part) for part in text.split(","))


def _constants(text: str) -> dict[str, list[float]]:
    names, equals, values = text.partition("=")
    if not equals or not all(name.strip() for name in names.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE,VALUE")
    numbers = [_number(value) for value in values.split(",")]
    return {name.strip(): numbers for name in names.split(",")}


if __name__ == "__main__":
    sys.exit(main())
