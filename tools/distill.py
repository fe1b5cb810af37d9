"""Write a set whose ages are drawn towards what models say of the same faces, for a student that learns from them all.

python eval.py --model m50 --data dataset/train.rec --flip --csv m50.csv
python eval.py --model ssrnet --data dataset/train.rec --flip --csv ssrnet.csv
python tools/distill.py --data dataset/train.rec --faces m50.csv ssrnet.csv --output distilled/train.rec

The age of a face becomes (1 - weight) times its label plus weight times the mean of what the files tell, with its
fraction. Genders stay, and so do unknown ages, images, keys and origins. Put val.rec beside it unchanged: what is
scored has to be labelled by people alone. Exit code: 0 all well, 1 bad data, 2 wrong usage.

The idea is Hinton et al., 2015 (arXiv:1503.02531); here only the expectation of the teachers is learned.
"""

from __future__ import annotations

import argparse
import csv
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from tqdm import tqdm

from agegender.app.ending import exit_code_of
from agegender.app.parser import CommandParser
from agegender.errors import DataError, UsageError
from agegender.files import atomic_path, sha256_file, write_json
from agegender.labels import LABELS
from agegender.pipeline.set_info import read_set_info
from agegender.recordio import Header, RecordSet, RecordWriter, index_path, open_records, pack, set_json, unpack


def main(argv: Sequence[str] | None = None) -> int:
    """Write the set and return the exit code."""
    args = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(args), prog="distill.py")


def mixed_ages(ages: npt.ArrayLike, told: npt.ArrayLike, *, weight: float) -> npt.NDArray[np.float32]:
    """Return (n,) ages in years: labels ``ages`` (n,), -1 unknown and left so, drawn towards ``told`` (models, n)."""
    labels = np.asarray(ages, np.float64)
    taught = np.asarray(told, np.float64).mean(axis=0)
    return np.where(labels < 0, labels, (1 - weight) * labels + weight * taught).astype(np.float32)


def read_told(path: Path, keys: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the ages (n,) in years that a file of ``eval.py --csv`` tells of the records ``keys``, in their order.

    Raises DataError for a file that can't be read, and for a record that it doesn't tell of.
    """
    told: dict[int, float] = {}
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            for row in csv.DictReader(file):
                told[int(row["key"])] = float(row["predicted_age"])
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no table of eval.py --csv with key and predicted_age ({error})") from error
    missing = [key for key in keys if not math.isfinite(told.get(key, math.nan))]
    if missing:
        raise DataError(f"{path}: tells no age of record {missing[0]} ({len(missing):,} of {len(keys):,} are missing)")
    return np.array([told[key] for key in keys])


def _run(args: argparse.Namespace) -> int:
    if not 0 < args.weight <= 1:
        raise UsageError(f"--weight {args.weight:g} is not above 0 and at most 1")
    with open_records(args.data) as records:
        info = read_set_info(records.path)
        if info is not None and info.labels != LABELS:
            raise UsageError(f"{info.path}: labels {info.labels}; only those of {LABELS} can be drawn towards models")
        keys: list[int] = records.keys.tolist()
        told = np.stack([read_told(path, keys) for path in args.faces])
        ages = records.labels(2)[:, 1]
        mixed = mixed_ages(ages, told, weight=args.weight)
        if args.output.resolve() == Path(records.path).resolve():
            raise UsageError(f"--output {args.output} is the set that is read")
        args.output.parent.mkdir(parents=True, exist_ok=True)
        _write(records, mixed, args.output)
        about = set_json(Path(records.path))
    _describe(about, args)
    known = ages >= 0
    moved = np.abs(mixed - ages)[known]
    print(
        f"{args.output}: {len(keys):,} faces, {known.sum():,} ages moved by {moved.mean():.2f} years on average, "
        f"{moved.max():.1f} at most"
    )
    return 0


def _write(records: RecordSet, ages: npt.NDArray[np.float32], output: Path) -> None:
    with RecordWriter(output) as writer:
        for row in tqdm(range(len(records)), unit="faces", disable=None):
            header, body = unpack(records.read(row))
            label = np.array([header.label[0], ages[row]], np.float32)
            writer.write(int(records.keys[row]), pack(Header(label, header.id), bytes(body)))


def _describe(about: Path, args: argparse.Namespace) -> None:
    """Write the JSON and the table of origins beside the new set."""
    target = set_json(args.output)
    if about.with_suffix(".csv").is_file():
        with atomic_path(target.with_suffix(".csv")) as path:
            shutil.copyfile(about.with_suffix(".csv"), path)
    info = read_set_info(args.data)
    if info is None:
        return
    files = (args.output, index_path(args.output), target.with_suffix(".csv"))
    write_json(
        target,
        {
            **info.raw,
            "distilled": {"weight": args.weight, "models": len(args.faces), "of": info.sha256},
            "sha256": {path.name: sha256_file(path) for path in files if path.is_file()},
        },
    )


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        command="distill", prog="distill.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, metavar="REC", help="the set to read: a .rec or its shards' name")
    parser.add_argument(
        "--faces", required=True, nargs="+", type=Path, metavar="CSV", help="files of eval.py --csv over that set"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="REC", help="the .rec to write")
    parser.add_argument("--weight", type=float, default=0.5, help="of the models, above 0 to 1 (default: 0.5)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
