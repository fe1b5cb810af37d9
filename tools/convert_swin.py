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
from tools.weights_parser import weights_parser

EXAMPLE = """  python tools/convert_swin.py swin_small_patch4_window7_224.safetensors --output models/swin/swin
  python train.py --network swin_s --pretrained models/swin/swin,0 --backbone_lr 0.1"""


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
    parser = weights_parser(prog="convert_swin.py", description=__doc__, example=EXAMPLE, data_shape=(3, 224, 224))
    parser.add_argument("weights", type=Path, help=".safetensors, .npz, or .pth (only tensors are read from it)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
