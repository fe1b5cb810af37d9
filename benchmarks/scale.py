"""What packing and training very many faces takes and costs: arithmetic on rates that were measured, and prices.

Every rate is a flag; its default is what docs/scale.md measured, beside the command that measures it anew. Prices are
assumptions: give your own. ``--measure FOLDER`` measures how fast one core packs the photos of a folder, with
``--writing`` what the process takes that writes them.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from benchmarks.table import print_table  # noqa: E402

if TYPE_CHECKING:
    from agegender.dataset.face_record import FaceSample

HOUR, GB, MICRO = 3600.0, 1e9, 1e-6
# Flag, default, what it is.
FLAGS: tuple[tuple[str, float, str], ...] = (
    ("faces", 100e6, "faces in the set"),
    ("epochs", 20, "epochs of training"),
    ("cores", 256, "cores that pack"),
    ("gpus", 8, "GPUs that train"),
    ("chip_rate", 1534, "faces a core resizes per second: UTKFace, 200x200 (--measure FOLDER --aligned)"),
    ("crop_rate", 152, "faces a core finds and warps per second: LFW, up to 160 pixels (--measure FOLDER)"),
    ("photo_rate", 33, "the same in photos of 500x375 with several people (--measure FOLDER)"),
    (
        "ready_us",
        24,
        "microseconds per face to pass an aligned JPEG through (--measure FOLDER --aligned --writing)",
    ),
    ("driver_us", 43, "those of the process that writes, with --ray (the same with --ray local)"),
    ("driver_detect_us", 130, "the same where faces are detected (--measure FOLDER --writing --ray local)"),
    ("before_us", 50, "CPU microseconds per face to list, compare and divide, before the first is packed"),
    ("driver_bytes", 861, "memory per face of the machine that writes"),
    ("record_bytes", 6157, "bytes of a record: train.rec of UTKFace at 112x112"),
    ("table_bytes", 151, "bytes per face of .idx, .lst and .csv"),
    ("open_bytes", 29, "memory per face of a set that is open (benchmarks/open_index.py)"),
    ("loader_rate", 9137, "faces a core decodes, mirrors and batches per second (benchmarks/loader.py)"),
    ("cpu_train_rate", 18, "m50, faces a core trains per second (benchmarks/train_cpu.py)"),
    ("r50_gpu_rate", 5000, "r50, faces a GPU trains per second: an aim, NOT measured"),
    ("m50_gpu_rate", 20000, "m50, the same: an aim, NOT measured"),
    ("core_price", 0.04, "price of a core for an hour (assumed)"),
    ("gpu_price", 3.0, "price of a GPU for an hour (assumed)"),
    ("gb_price", 0.02, "price of a gigabyte for a month (assumed)"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, or what ``--measure`` measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default, what in FLAGS:
        parser.add_argument(f"--{name}", type=float, default=default, help=f"{what} (default: {default:g})")
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help="measure on the JPEGs of this folder instead")
    parser.add_argument("--aligned", action="store_true", help="with --measure: they are crops, which are resized only")
    parser.add_argument("--photos", type=int, default=300, help="with --measure: how many of them (default: 300)")
    parser.add_argument("--writing", action="store_true", help="with --measure: what the process that writes takes")
    parser.add_argument("--ray", metavar="ADDRESS", help="with --writing: as in create_dataset.py")
    args = parser.parse_args(argv)
    if args.measure is not None:
        faces = faces_in(args.measure, count=args.photos, aligned=args.aligned)
        print(measure_writing(faces, ray=args.ray) if args.writing else measure(faces))
        return 0
    for title, columns, rows in (packing(args), storage(args), training(args)):
        print_table(columns, rows, title=title)
        print()
    return 0


Table = tuple[str, list[str], list[list[str]]]


def packing(args: argparse.Namespace) -> Table:
    """Return how long packing takes: the workers' part, the writing machine's, and the slower of both."""
    kinds = (
        ("aligned JPEGs of the right size", 1 / (args.ready_us * MICRO), args.driver_us),
        ("aligned, to be resized", args.chip_rate, args.driver_us),
        ("small crops, to be found and warped", args.crop_rate, args.driver_detect_us),
        ("photos of several people", args.photo_rate, args.driver_detect_us),
    )
    before = args.faces * args.before_us * MICRO
    rows = []
    for name, rate, driver in kinds:
        work = args.faces / rate
        workers, writing = work / args.cores, args.faces * driver * MICRO
        hours = (before + max(workers, writing)) / HOUR
        # More cores than this only wait for the one that writes.
        useful = work / writing
        cost = hours * args.cores * args.core_price
        speeds = [f"{rate:,.0f}", f"{work / HOUR:,.0f}"]
        rows.append([name, *speeds, f"{workers / HOUR:,.1f}", f"{writing / HOUR:,.1f}", f"{hours:,.1f}"])
        rows[-1] += [f"{useful:,.0f}", f"{cost:,.0f}"]
    columns = [
        "faces are",
        "faces/s a core",
        "core-hours",
        "workers, h",
        "writing, h",
        "in all, h",
        "useful cores",
        "cost",
    ]
    return f"packing {args.faces:,.0f} faces on {args.cores:,.0f} cores", columns, rows


def storage(args: argparse.Namespace) -> Table:
    """Return what the set takes on disk and in memory."""
    disk = args.faces * (args.record_bytes + args.table_bytes) / GB
    # Positions of an epoch and their permutation, int64.
    shuffling = args.faces * 16 / GB
    rows = [
        ["records on disk", f"{args.faces * args.record_bytes / GB:,.1f} GB", ""],
        ["index, list and origins on disk", f"{args.faces * args.table_bytes / GB:,.1f} GB", ""],
        ["all of it for a month", f"{disk:,.1f} GB", f"{disk * args.gb_price:,.2f}"],
        ["memory of the machine that writes while packing", f"{args.faces * args.driver_bytes / GB:,.1f} GB", ""],
        ["memory of each process that trains: index", f"{args.faces * args.open_bytes / GB:,.1f} GB", ""],
        ["the same: order of an epoch", f"{shuffling:,.1f} GB", ""],
    ]
    return f"{args.faces:,.0f} faces on disk and in memory", ["what", "size", "cost"], rows


def training(args: argparse.Namespace) -> Table:
    """Return how long training takes, what it costs and what has to be read and decoded for it."""
    rows = []
    kinds = (
        ("m50 on the packing cores", args.cpu_train_rate, args.cores, args.core_price, "measured"),
        ("r50, GPUs", args.r50_gpu_rate, args.gpus, args.gpu_price, "aim, not measured"),
        ("m50, GPUs", args.m50_gpu_rate, args.gpus, args.gpu_price, "aim, not measured"),
    )
    for name, rate, devices, price, basis in kinds:
        speed = rate * devices
        hours = args.faces * args.epochs / speed / HOUR
        read = speed * args.record_bytes / 1e6
        loading = speed / args.loader_rate
        row = [name, basis, f"{speed:,.0f}", f"{hours:,.1f}", f"{hours * devices * price:,.0f}"]
        rows.append([*row, f"{read:,.0f}", f"{loading:,.1f}"])
    columns = ["training", "basis", "faces/s", "hours", "cost", "read, MB/s", "cores that load"]
    return f"{args.epochs:,.0f} epochs of {args.faces:,.0f} faces; {args.gpus:,.0f} GPUs", columns, rows


def faces_in(folder: Path, *, count: int, aligned: bool) -> list[FaceSample]:
    """Return up to ``count`` of the JPEGs of a folder, drawn by lot. Raises SystemExit where there are none."""
    from agegender.dataset.config import PackConfig
    from agegender.dataset.face_record import FaceSample

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not paths:
        raise SystemExit(f"scale.py: error: --measure {folder}: no JPEG lies there")
    template = PackConfig().template if aligned else None
    drawn = random.Random(0).sample(paths, min(count, len(paths)))
    return [FaceSample(path.absolute(), -1, -1, "measured", template=template) for path in drawn]


def measure(faces: list[FaceSample]) -> str:
    """Return one line: how many faces one core packs per second of its own time, and their bytes.

    Processor time, so that what else runs on the machine counts little.
    """
    import cv2

    from agegender.app.pack import open_detector
    from agegender.dataset.config import PackConfig
    from agegender.dataset.crop import crop_faces
    from agegender.dataset.plan import crop_settings

    cv2.setNumThreads(1)
    settings = crop_settings(PackConfig())
    detector = None if faces[0].template == settings.template.name else open_detector()
    crop_faces(faces[:8], 0, settings=settings, detector=detector)
    start = time.process_time()
    crops = crop_faces(faces, 0, settings=settings, detector=detector)
    seconds = time.process_time() - start
    sizes = [len(crop.body) for crop in crops if crop.body is not None]
    mean = sum(sizes) / max(len(sizes), 1)
    return f"{len(faces)} photos, {len(sizes)} packed, {len(faces) / seconds:,.0f} a second and core, {mean:,.0f} bytes"


def measure_writing(faces: list[FaceSample], *, ray: str | None) -> str:
    """Return one line: processor time per face of the process that compares, divides and writes.

    What other processes detect is not in it; without ``ray``, aligned faces are read here and are in it.
    """
    from agegender.app.pack import open_detector
    from agegender.dataset.config import PackConfig
    from agegender.dataset.duplicates import drop_duplicates, file_sizes
    from agegender.dataset.pack import pack_plan
    from agegender.dataset.plan import make_plan
    from agegender.dataset.problems import Problems

    with tempfile.TemporaryDirectory() as output:
        config = PackConfig(output=output, val_ratio=0.0, ray=ray)
        problems = Problems()
        start = time.process_time()
        sizes = file_sizes(faces)
        plan = make_plan(drop_duplicates(faces, problems, sizes=sizes), config, sizes=sizes)
        compared = time.process_time()
        # From the first faces on: Ray, detectors and their processes have started then.
        marks: list[tuple[int, float]] = []
        wall = time.perf_counter()
        pack_plan(
            plan,
            problems,
            make_detector=open_detector,
            progress=lambda phase, done, total: marks.append((done, time.process_time())),
        )
        wall = time.perf_counter() - wall
    (first, begin), (last, end) = next(mark for mark in marks if mark[0]), marks[-1]
    before, writing = (compared - start) / len(faces), (end - begin) / max(last - first, 1)
    return (
        f"{last} faces, before {before / MICRO:,.0f} us, writing {writing / MICRO:,.0f} us; in all {wall:.1f} s (wall)"
    )


if __name__ == "__main__":
    sys.exit(main())
