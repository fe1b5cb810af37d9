"""Turn HDF5, WebDataset tars and insightface's .rec into a set of ours, and a set into those."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from agegender.app.ending import exit_code_of
from agegender.app.one_line import OneLineParser
from agegender.app.parser import CommandParser
from agegender.errors import UsageError

if TYPE_CHECKING:
    from agegender.dataset.config import PackConfig
    from agegender.dataset.exchange.entry import Container
    from agegender.dataset.exchange.packed_set import PackedSet

EXAMPLES = """examples:
  python tools/exchange.py import faces.h5 dataset/faces --template utkface
  python tools/exchange.py import 'faces-*.tar' dataset/faces --template arcface --split_as train
  python tools/exchange.py import photos.tar dataset/photos --template none
  python tools/exchange.py export dataset/val.rec val.h5
  python tools/exchange.py export dataset/val.rec shards --format webdataset --per_shard 1000
  python tools/exchange.py export dataset/val.rec insightface/val.rec

exit code: 0 all well, 1 damaged data, 2 wrong usage"""
FORMATS = ("hdf5", "webdataset", "insightface")
ENDINGS = {".h5": "hdf5", ".hdf5": "hdf5", ".tar": "webdataset", ".rec": "insightface"}
ORDERS = ("gender,age", "age,gender", "gender,age,low,high,std")
# Loose photos, and the template of the set that they are warped to where none is asked for.
LOOSE, DEFAULT_TEMPLATE = "none", "utkface"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands and return the exit code: 0, 1 (damaged data), 2 (usage), 130 (Ctrl-C)."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return exit_code_of(lambda: int(args.run(args)), prog="exchange.py", debug=args.debug)


def import_(args: argparse.Namespace) -> int:
    """Read another container and write .rec, .idx, .lst, .csv and .json."""
    from tqdm import tqdm

    from agegender.app.pack import open_detector
    from agegender.dataset.exchange.packed_set import is_synthetic
    from agegender.dataset.exchange.set_import import import_set
    from agegender.dataset.manifest import old_files
    from agegender.dataset.problems import Problems

    container, config, problems = _open(args), _pack_config(args), Problems()
    sides = ("train", "val", "test")
    there = [name for side in sides for name in (f"{side}.rec", *old_files(args.output, side))]
    _may_write([args.output / name for name in there], args.force)
    with tqdm(desc="importing", disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        counts = import_set(
            container,
            config,
            source=_stem(args.source),
            template=None if args.template == LOOSE else args.template,
            name=args.name,
            split_as=args.split_as,
            synthetic=args.synthetic or (args.source.suffix == ".rec" and is_synthetic(args.source)),
            make_detector=open_detector,
            problems=problems,
            progress=show,
        )
    for name, count in counts.items():
        print(f"{args.output / name}.rec: {count:,} faces")
    for reason, count in problems.counts().most_common():
        print(f"{count:,} left out: {reason}; {args.output / 'skipped.csv'} lists them")
    return 0


def export(args: argparse.Namespace) -> int:
    """Write a set of ours, one file or shards, as another container."""
    from tqdm import tqdm

    from agegender.dataset.exchange.hdf5_writer import write_hdf5
    from agegender.dataset.exchange.insightface_rec import write_insightface
    from agegender.dataset.exchange.packed_set import PackedSet
    from agegender.dataset.exchange.webdataset_shards import write_webdataset
    from agegender.recordio import find_shards

    kind = _format(args, args.target)
    if args.per_shard < 1:
        raise UsageError(f"--per_shard {args.per_shard} is not at least 1")
    files = find_shards(args.source)
    _must_exist(args.source, files)
    if args.target.resolve() in [file.resolve() for file in files]:
        raise UsageError(f"{args.target} is the set itself")
    packed = PackedSet(args.source)
    entries = tqdm(packed.read(images=True), total=packed.count, desc="exporting", disable=None)
    if kind == "webdataset":
        stem = _stem(args.source)
        _may_write(args.target.glob(f"{stem}-*.tar") if args.target.is_dir() else [args.target], args.force)
        args.target.mkdir(parents=True, exist_ok=True)
        paths = write_webdataset(args.target, stem, entries, per_shard=args.per_shard)
    else:
        _may_write([args.target], args.force)
        args.target.parent.mkdir(parents=True, exist_ok=True)
        paths = [args.target]
        if kind == "hdf5":
            write_hdf5(args.target, entries, count=packed.count, jpeg=args.jpeg)
        else:
            _tell_what_stays_behind(packed, args.label_order)
            write_insightface(args.target, entries, count=packed.count, order=args.label_order)
    for path in paths:
        print(f"{path}: {path.stat().st_size:,} bytes")
    print(f"{packed.count:,} faces exported")
    return 0


def _open(args: argparse.Namespace) -> Container:
    from agegender.dataset.exchange.hdf5 import Hdf5File
    from agegender.dataset.exchange.insightface_rec import RecFile
    from agegender.dataset.exchange.webdataset_shards import WebDatasetShards
    from agegender.recordio import find_shards

    kind, coding = _format(args, args.source), args.gender_coding
    if kind == "insightface":
        _must_exist(args.source, find_shards(args.source))
        return RecFile(args.source, order=args.label_order, coding=coding)
    paths = [args.source]
    if kind == "webdataset" and not args.source.exists():
        paths = sorted(args.source.parent.glob(args.source.name))
    _must_exist(args.source, paths)
    if kind == "hdf5":
        return Hdf5File(args.source, coding=coding, bgr=args.color_order == "bgr")
    return WebDatasetShards(paths, coding=coding)


def _pack_config(args: argparse.Namespace) -> PackConfig:
    from agegender.dataset.config import PackConfig

    own = DEFAULT_TEMPLATE if args.template == LOOSE else args.template
    return PackConfig(
        output=str(args.output), template=args.set_template or own, image_size=args.image_size, quality=args.quality,
        border=args.border, min_face=args.min_face, val_ratio=args.val_ratio, test_ratio=args.test_ratio,
        seed=args.seed, workers=args.workers,
    )  # fmt: skip


def _format(args: argparse.Namespace, path: Path) -> str:
    kind = args.format or ENDINGS.get(path.suffix)
    if kind is None:
        raise UsageError(f"{path}: its ending says no format; --format is one of {', '.join(FORMATS)}")
    return str(kind)


def _stem(path: Path) -> str:
    """Return what a file, or the files that fit a pattern, are called."""
    return re.split(r"[*?\[]", path.stem)[0].rstrip("-") or "faces"


def _tell_what_stays_behind(packed: PackedSet, order: str) -> None:
    """Name what a record of insightface can't hold, and what then takes an argument."""
    if packed.labels != order and packed.labels == ORDERS[-1]:
        print(f"note: bins and deviations stay behind; --label_order {packed.labels} keeps them", file=sys.stderr)
    if packed.synthetic:
        print("note: these records can't say that the faces are drawn; import them with --synthetic", file=sys.stderr)


def _must_exist(source: Path, files: Sequence[Path]) -> None:
    if not files or not all(file.is_file() for file in files):
        raise UsageError(f"{source}: there is no such file")


def _may_write(paths: Iterable[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise UsageError(f"{path} exists; --force replaces it")


def _parser() -> argparse.ArgumentParser:
    kind = argparse.RawDescriptionHelpFormatter
    parser = OneLineParser(prog="exchange.py", description=__doc__, epilog=EXAMPLES, formatter_class=kind)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=CommandParser)
    for name, run, other in (("import", import_, "output"), ("export", export, "target")):
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__, command=f"exchange {name}")
        command.set_defaults(run=run)
        command.add_argument("source", type=Path)
        command.add_argument(other, type=Path)
        command.add_argument("--format", choices=FORMATS, help="default: by the ending")
        command.add_argument("--force", action="store_true", help="replace what is there")
        command.add_argument(
            "--label_order",
            choices=ORDERS,
            default=ORDERS[0],
            metavar="ORDER",
            help=f"insightface: what a record's labels are: {'; '.join(ORDERS)} (default: {ORDERS[0]})",
        )
        (_add_import if name == "import" else _add_export)(command)
    return parser


def _add_export(command: argparse.ArgumentParser) -> None:
    command.add_argument("--jpeg", action="store_true", help="HDF5: the encoded bytes instead of pixels")
    command.add_argument("--per_shard", type=int, default=10_000, help="WebDataset: faces in a tar")


def _add_import(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--template", required=True, help="crop template that the images are in; none: loose photos, to be detected")
    add("--set_template", default="", help="crop template of the set (default: the images', of loose photos utkface)")
    add(
        "--gender_coding",
        choices=("female,male", "male,female"),
        default="female,male",
        metavar="CODING",
        help="whom the container calls 0 and 1: female,male (default) or male,female",
    )
    add("--color_order", choices=("rgb", "bgr"), default="rgb", help="of HDF5's pixels")
    add("--name", default="", help="name of the source (default: what the container says of a face, else the file's)")
    add("--synthetic", action="store_true", help="the faces are drawn, no photographs")
    add("--split_as", choices=("train", "val", "test"), default="", help="all faces to this set")
    add("--val_ratio", type=float, default=0.05)
    add("--test_ratio", type=float, default=0.0)
    add("--image_size", type=int, default=112)
    add("--quality", type=int, default=95)
    add("--border", choices=("black", "random"), default="black", help="what lies outside of a loose photo")
    add("--min_face", type=int, default=20, help="smallest face in pixels that is looked for in loose photos")
    add("--workers", type=int, help="processes that detect (default: all cores)")
    add("--seed", type=int, default=0)


if __name__ == "__main__":
    sys.exit(main())
