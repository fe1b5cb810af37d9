"""Ship a trained model: copy one epoch of a run to models/NAME and list it in models/manifest.json.

python tools/ship.py runs/ssrnet/model --name ssrnet

Ships the best epoch unless --epoch says otherwise. The model card, models/NAME/README.md, is written by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agegender.errors import AgeGenderError, CheckpointError
from agegender.files import write_json
from agegender.graph.checkpoint import load_checkpoint, save_checkpoint, saved_epochs
from agegender.graph.info import write_info
from tools.manifest import MODELS, describe


def main() -> int:
    """Copy the checkpoint and renew the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", type=Path, help="prefix of the run's checkpoints, such as runs/ssrnet/model")
    parser.add_argument("--name", required=True, help="name of the model: the folder and the files in it")
    parser.add_argument("--epoch", default="best", help="a number, best or last (default: best)")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the shipped models")
    args = parser.parse_args()
    try:
        epoch = int(args.epoch) if args.epoch.isdecimal() else args.epoch
        print(ship(args.prefix, args.models / args.name / args.name, epoch=epoch))
    except AgeGenderError as error:
        print(f"ship.py: error: {error}", file=sys.stderr)
        return error.exit_code
    write_json(args.models / "manifest.json", describe(args.models))
    return 0


def ship(source: Path, target: Path, *, epoch: int | str) -> Path:
    """Copy the pair and its description to the prefix ``target``, as its only epoch; return the folder.

    Raises CheckpointError where the source has no description, or was trained on drawn faces.
    """
    checkpoint = load_checkpoint(source, epoch)
    if checkpoint.info is None:
        raise CheckpointError(f"{source}.json is missing: nobody could know how to use the model")
    if checkpoint.info.synthetic:
        raise CheckpointError(f"{source} was trained on drawn faces, which says nothing about people")
    for old in saved_epochs(target):
        target.with_name(f"{target.name}-{old:04d}.params").unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(target, checkpoint.epoch, graph=checkpoint.graph, params=checkpoint.params)
    metrics = {str(checkpoint.epoch): checkpoint.info.metrics.get(str(checkpoint.epoch), {})}
    info = dataclasses.replace(checkpoint.info, best=checkpoint.epoch, last=checkpoint.epoch, metrics=metrics)
    write_info(target, info)
    return target.parent


if __name__ == "__main__":
    sys.exit(main())
