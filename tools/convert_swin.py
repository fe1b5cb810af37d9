"""Turn published Swin weights (timm, the paper's own, transformers) into a checkpoint to start a training from.

Every parameter of the backbone is taken by its name; fc1 and the heads are drawn anew. Depths, width and window are
those of the weights: Tiny, Small, Base and Large all work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agegender.app.ending import exit_code_of

EXAMPLES = """example:
  python tools/convert_swin.py swin_small_patch4_window7_224.safetensors --output models/swin/swin
  python train.py --network swin_s --pretrained models/swin/swin,0 --backbone_lr 0.1

exit code: 0 all well, 1 weights that can't be used, 2 wrong usage"""


def main(argv: Sequence[str] | None = None) -> int:
    """Convert one file and return the exit code: 0, 1 (bad weights), 2 (usage)."""
    args = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(args), prog="convert_swin.py", debug=args.debug)


def _run(args: argparse.Namespace) -> int:
    # Late, so that --help loads neither numpy nor MXNet.
    from tools.swin_checkpoint import convert

    for line in convert(args):
        print(line)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="convert_swin.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("weights", type=Path, help=".safetensors, .npz, or .pth (only tensors are read from it)")
    parser.add_argument("--output", type=Path, required=True, metavar="PREFIX", help="writes PREFIX-0000.params")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument(
        "--data_shape", type=_shape, default=(3, 224, 224), metavar="3,H,W", help="input (default: 3,224,224)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn anew (default: 0)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not 3,height,width") from None


if __name__ == "__main__":
    sys.exit(main())
