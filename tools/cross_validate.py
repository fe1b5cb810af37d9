"""Cross-validate a network: train it once per fold and seed, test it on the fold left out, tell mean and deviation.

Folds that a set came with (Adience) are used as they are. For any other set --folds says how many are made: people (or
images, where nobody knows the people) are divided by seed, ages and genders evenly. A share of every training fold,
--val_ratio, chooses the epoch; the fold that is tested on chooses nothing. All other flags are train.py's.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from agegender.app import train as train_command
from agegender.app.ending import exit_code_of
from agegender.app.networks import build_network
from agegender.app.one_line import OneLineParser
from agegender.app.parser import CommandParser
from agegender.config import collect
from agegender.dataset.folds import Folds, PackedFaces, make_folds, own_folds, read_faces, write_folds
from agegender.engine.config import TrainConfig
from agegender.errors import DataError, UsageError
from agegender.files import write_json, write_text
from agegender.graph.lookup import CROSS_VALIDATION
from agegender.metrics.spread import Spread, over_folds
from agegender.pipeline.set_info import read_set_info
from agegender.plots.curves import save_curves
from agegender.plots.folds import draw_folds
from agegender.recordio import RecordSet, find_shards, open_records
from tools.fold_run import SPLITS, FoldRun, StopError, lay_sets, score, train

EXAMPLES = """examples:
  python tools/cross_validate.py --data dataset/train.rec --network ssrnet       the set's own folds (Adience)
  python tools/cross_validate.py --data dataset/train.rec dataset/val.rec dataset/test.rec --folds 5 \\
      --seeds 0,1,2 --gpu_ids 0,1 --output runs/cv_m50 --network m50 --end_epoch 60
  the same with --resume                                                         goes on where it was left

What comes out, in --output: results.csv (a row per seed, fold and split), results.json, results.png, and per network
its checkpoints, curves and train.log. exit code: 0 all well, 1 bad data, 2 wrong usage, 130 Ctrl-C (nothing is lost)"""
METRICS = ("acc", "MAE", "CUM_5", "bin_acc", "bin_1off")
PLAN = CROSS_VALIDATION
# What this tool says itself.
_OURS = ("data_dir", "prefix", "resume", "seed", "gpu_ids")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cross-validation and return the exit code."""
    args, flags = _parser().parse_known_args(argv)
    flags = [flag for flag in flags if flag != "--"]
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return exit_code_of(lambda: _run(args, flags), prog="cross_validate.py", debug=args.debug)


def _run(args: argparse.Namespace, flags: Sequence[str]) -> int:
    config = _train_config(flags)
    _check(args)
    output = Path(args.output)
    sets = _open(args.data)
    info = _common_info(sets)
    info["labels"] = config.label_order or info["labels"]
    faces = read_faces(sets, label_order=info["labels"])
    folds = _folds(args, faces)
    _begin(output, _plan(args, flags, sets, folds), resume=args.resume)
    stems = write_folds(faces, folds, output / "parts", val_ratio=args.val_ratio, seed=args.fold_seed)
    left_out = int((folds.of < 0).sum())
    missing = f", {left_out:,} without a fold left out" if left_out else ""
    print(f"{folds.rule}; {len(faces.samples) - left_out:,} faces{missing}", file=sys.stderr)
    info = {**info, "split_rule": {"folds": folds.rule, "val_ratio": args.val_ratio}}
    runs = [
        FoldRun(folder=output / f"seed-{seed}" / f"fold-{fold}", fold=fold, seed=seed)
        for seed in args.seeds
        for fold in range(len(folds.names))
    ]
    for run in runs:
        if run.result() is None:
            lay_sets(run, faces, stems, parts=output / "parts", info=info)
    results = _run_all(runs, flags, devices=_devices(args), engine=config.engine, epochs=config.end_epoch)
    _report(output, results, folds)
    return 0


def _run_all(
    runs: Sequence[FoldRun], flags: Sequence[str], *, devices: Sequence[str | None], engine: str, epochs: int
) -> list[dict[str, Any]]:
    """Train and score what isn't finished, one network per device at a time, and return all results in order."""
    stop = threading.Event()
    free: SimpleQueue[str | None] = SimpleQueue()
    for device in devices:
        free.put(device)
    scoring = threading.Lock()
    trained = {run.folder: epochs if run.result() else 0 for run in runs}

    with tqdm(total=epochs * len(runs), unit="epoch", disable=None, file=sys.stderr) as bar:

        def one(run: FoldRun) -> dict[str, Any]:
            done = run.result()
            if done is not None:
                return done
            device = free.get()
            try:

                def progress(count: int) -> None:
                    trained[run.folder] = count
                    bar.n = sum(trained.values())
                    bar.refresh()

                if stop.is_set():
                    raise StopError
                train(run, flags, device=device, stop=stop, progress=progress)
                with scoring:
                    if stop.is_set():
                        raise StopError
                    result = score(run, engine=engine, device=device)
            finally:
                free.put(device)
            bar.write(_line(run, result), file=sys.stderr)
            return result

        bar.n = sum(trained.values())
        bar.refresh()
        with ThreadPoolExecutor(len(devices)) as pool:
            waiting = [pool.submit(one, run) for run in runs]
            try:
                _wait(waiting)
            except BaseException:
                stop.set()
                bar.write("saving what is trained so far ...", file=sys.stderr)
                raise
    return [future.result() for future in waiting]


def _wait(futures: Sequence[Future[dict[str, Any]]]) -> None:
    """Wait for all; raise the first error as soon as there is one."""
    left = set(futures)
    while left:
        done, left = wait(left, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()


def _line(run: FoldRun, result: dict[str, Any]) -> str:
    shown = [f"{name} {result['test'][name]:.4f}" for name in METRICS if result["test"].get(name) is not None]
    return f"seed {run.seed}, fold {run.fold}: epoch {result['epoch']}; test: {', '.join(shown)}"


def _report(output: Path, results: Sequence[dict[str, Any]], folds: Folds) -> None:
    """Print the table and write results.csv, results.json and results.png."""
    names = [name for name in METRICS if any(result["test"].get(name) is not None for result in results)]
    found = {
        name: {split: [(result["fold"], result[split].get(name)) for result in results] for split in SPLITS}
        for name in names
    }
    print("\n".join(_table(found, folds.names)))
    text = io.StringIO()
    rows = [
        {
            "seed": result["seed"],
            "fold": folds.names[result["fold"]],
            "epoch": result["epoch"],
            "split": split,
            **result[split],
        }
        for result in results
        for split in SPLITS
    ]
    writer = csv.DictWriter(
        text, fieldnames=list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    write_text(output / "results.csv", text.getvalue())
    summary = {
        name: {split: _as_json(over_folds(values)[1]) for split, values in splits.items()}
        for name, splits in found.items()
    }
    write_json(
        output / "results.json",
        {"rule": folds.rule, "folds": list(folds.names), "summary": summary, "runs": list(results)},
    )
    save_curves(draw_folds(found, folds=folds.names, title=folds.rule), output / "results.png")
    print(f"written: {output}/results.csv, results.json, results.png", file=sys.stderr)


def _table(found: dict[str, dict[str, list[tuple[int, float | None]]]], names: Sequence[str]) -> Iterator[str]:
    """Yield Markdown: a row per fold, then the mean of the folds and their standard deviation."""
    columns = [(name, split) for name in found for split in SPLITS]
    yield f"| fold | {' | '.join(f'{split} {name}' for name, split in columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    spreads = {column: over_folds(found[column[0]][column[1]]) for column in columns}
    for fold, label in enumerate(names):
        yield f"| {label} | {' | '.join(_cell(spreads[column][0][fold]) for column in columns)} |"
    yield f"| mean of {len(names)} | {' | '.join(_cell(spreads[column][1]) for column in columns)} |"


def _cell(value: Spread) -> str:
    if not value.n:
        return "-"
    return f"{value.mean:.4f}" if value.n < 2 else f"{value.mean:.4f} ± {value.std:.4f}"


def _as_json(value: Spread) -> dict[str, Any]:
    return {
        "mean": value.mean if value.n else None,
        "std": value.std if value.n > 1 else None,
        "n": value.n,
    }


def _train_config(flags: Sequence[str]) -> TrainConfig:
    """Let train.py's own parser read what is for it; it ends the program where it can't."""
    config = collect(TrainConfig, _train_parser().parse_args(flags))
    build_network(config)  # a wrong name is found before anything is written
    default = TrainConfig()
    for name in _OURS:
        if getattr(config, name) != getattr(default, name):
            raise UsageError(f"--{name} is not for train.py here: each fold and seed has its own")
    return config


def _check(args: argparse.Namespace) -> None:
    if not 0.0 < args.val_ratio < 1.0:
        raise UsageError(f"--val_ratio {args.val_ratio:g} is not within 0..1, both excluded (such as 0.1)")
    if args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs} is not 1 or more")
    if not args.seeds or len(set(args.seeds)) < len(args.seeds) or min(args.seeds) < 0:
        raise UsageError(f"--seeds {','.join(map(str, args.seeds))!r} are not different whole numbers from 0 on")


def _open(paths: Sequence[str]) -> list[RecordSet]:
    sets = []
    for name in paths:
        if not any(file.exists() for file in find_shards(Path(name))):
            raise UsageError(f"--data {name} is not there (create_dataset.py packs train.rec, val.rec and test.rec)")
        sets.append(open_records(name))
    return sets


def _common_info(sets: Sequence[RecordSet]) -> dict[str, Any]:
    """Return the JSON of the sets, without what is each one's own; DataError where they don't fit together."""
    infos = []
    for records in sets:
        info = read_set_info(records.path)
        if info is None:
            raise DataError(f"{records.path}: there is no JSON beside it that says which crops and labels it holds")
        infos.append(info)
    first = infos[0]
    for info in infos[1:]:
        for name in ("template", "labels", "body", "embedding"):
            if getattr(info, name) != getattr(first, name):
                raise DataError(f"{info.path} and {first.path} can't be joined: their {name} differs")
    return {**first.raw, "synthetic": any(info.synthetic for info in infos)}


def _folds(args: argparse.Namespace, faces: PackedFaces) -> Folds:
    own = own_folds(faces.samples)
    if own is None:
        if args.folds is None:
            raise UsageError("the set has no folds of its own; --folds 5 makes some")
        return make_folds(faces.samples, args.folds, seed=args.fold_seed)
    if args.folds not in (None, len(own.names)):
        raise UsageError(f"the set has {len(own.names)} folds of its own, which are never shuffled; leave --folds out")
    return own


def _plan(args: argparse.Namespace, flags: Sequence[str], sets: Sequence[RecordSet], folds: Folds) -> dict[str, Any]:
    return {
        "data": [records.digest() for records in sets],
        "folds": list(folds.names),
        "rule": folds.rule,
        "val_ratio": args.val_ratio,
        "fold_seed": args.fold_seed,
        "train": list(flags),
    }


def _begin(output: Path, plan: dict[str, Any], *, resume: bool) -> None:
    """Write down what is going to be done, or check that it is what was begun here. Raises UsageError."""
    try:
        begun = json.loads((output / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        begun = None
    except ValueError as error:
        raise DataError(f"{output / PLAN} is no JSON ({error})") from None
    if begun is None:
        if output.is_dir() and any(output.iterdir()):
            raise UsageError(f"{output} is not empty; --output names another folder")
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / PLAN, plan)
        return
    if not resume:
        raise UsageError(f"{output} holds a cross-validation; --resume goes on with it, --output names another folder")
    for name, value in plan.items():
        if begun.get(name) != value:
            raise UsageError(f"{output} was begun with other {name}: {begun.get(name)!r}, not {value!r}")


def _devices(args: argparse.Namespace) -> list[str | None]:
    """Return what networks are trained on at the same time: a GPU each, or ``--jobs`` on the one device."""
    devices: list[str | None] = [None]
    if args.gpu_ids is not None:
        devices = [device.strip() for device in str(args.gpu_ids).split(",")]
    return devices * int(args.jobs)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="cross_validate.py",
        command="cross_validate",
        rest=_train_parser(),
        rest_command="train",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", nargs="+", default=["dataset/train.rec"], metavar="FILE", help="records, joined to one set")
    add("--folds", type=int, metavar="K", help="how many folds to make, where the set has none of its own")
    add("--seeds", type=_numbers, default=[0], metavar="LIST", help="train with each of these seeds (default: 0)")
    add("--val_ratio", type=float, default=0.1, metavar="SHARE", help="share that chooses the epoch (default: 0.1)")
    add("--fold_seed", type=int, default=0, metavar="N", help="seed of the division (default: 0)")
    add("--output", default="runs/cross_validation", metavar="DIR", help="default: runs/cross_validation")
    add("--gpu_ids", metavar="IDS", help="0,1: a fold per GPU at a time; cpu (default: as in train.py)")
    add("--jobs", type=int, default=1, metavar="N", help="networks at a time on each device (default: 1)")
    add("--resume", action="store_true", help="go on with what is in --output")
    add("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _train_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="cross_validate.py (flags of train.py)", allow_abbrev=False)
    parser.add_argument("--debug", action="store_true")
    train_command.add_arguments(parser)
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    # Else a batch system that ends the tool leaves the trainings running, which --resume would then start twice.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
