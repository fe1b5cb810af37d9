"""What packing and training very many faces takes and costs: arithmetic on rates that were measured, and prices.

Every rate is a flag; its default is what docs/scale.md measured, beside the command that measures it anew. Rates of
GPUs are what others measured and published (PUBLISHED), scaled by multiplications: none is our own. Prices are
assumptions: give your own. What is measured here: ``--measure FOLDER`` how fast one core packs the photos of a folder,
with ``--writing`` what the process takes that writes them, with ``--actor`` the memory of an actor of Ray, with
``--turns N`` actors against processes; ``--memory N`` the memory per face; ``--bytes REC`` the bytes of a set;
``--multiplications`` the work of the networks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from benchmarks import scale_measured  # noqa: E402
from benchmarks.table import print_table  # noqa: E402

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
    ("driver_bytes", 890, "memory per face of the machine that writes (--memory 500000)"),
    ("record_bytes", 6157, "bytes of a record: train.rec of UTKFace at 112x112 (--bytes dataset/train.rec)"),
    ("table_bytes", 151, "bytes per face of .idx, .lst and .csv (the same)"),
    ("open_bytes", 29, "memory per face of a set that is open (benchmarks/open_index.py)"),
    ("loader_rate", 9137, "faces a core decodes, mirrors and batches per second (benchmarks/loader.py)"),
    ("cpu_train_rate", 18, "m50, faces a core trains per second (benchmarks/train_cpu.py)"),
    ("r50_gpu_rate", 0, "r50, faces a GPU of yours trains per second (benchmarks/train_gpu.py); 0: not measured"),
    ("m50_gpu_rate", 0, "m50, the same"),
    ("r50_work", 6.31, "r50, billions of multiplications a face, forward (--multiplications)"),
    ("m50_work", 0.568, "m50, the same"),
    ("core_price", 0.04, "price of a core for an hour (assumed)"),
    ("gpu_price", 3.0, "price of a GPU for an hour (assumed)"),
    ("gb_price", 0.02, "price of a gigabyte for a month (assumed)"),
)


@dataclass(frozen=True)
class Published:
    """How many images a second a GPU trains on, as ``whose`` measured it, not we, for the sake of our ``network``.

    ``rate`` is per GPU, of the network ``of``, whose forward pass takes ``work`` billions of multiplications an image.
    """

    network: str
    gpu: str
    rate: float
    of: str
    work: float
    whose: str
    where: str


# ResNet-50 v1.5 and MobileNetV2 at 224 pixels: 4.09 and 0.30, as torchvision's pages of its weights say.
PUBLISHED = (
    Published(
        "r50", "V100 32 GB", 5_300 / 8, "r50, 112 pixels", 6.31, "insightface",
        "https://github.com/deepinsight/insightface/blob/master/recognition/arcface_torch/docs/speed_benchmark.md",
    ),
    Published(
        "r50", "A100 80 GB", 16_621 / 8, "ResNet-50 v1.5, 224 pixels", 4.09, "NVIDIA",
        "https://github.com/NVIDIA/DeepLearningExamples/tree/master/PyTorch/Classification/ConvNets/resnet50v1.5",
    ),
    # 16 of either trained MLPerf 3.0's ResNet-50 in 14.4 and 7.8 minutes.
    Published(
        "r50", "H100 80 GB", 16_621 / 8 * 14.4 / 7.8, "the same, x 14.4/7.8", 4.09, "NVIDIA, Dell",
        "https://silvertonconsulting.com/2023/07/12/mlperf-results-show-h100-v-a100-and-v-habana-gaudi2-gpus/",
    ),
    Published(
        "m50", "RTX 3090", 2_313, "MobileNetV2, 224 pixels", 0.30, "timm",
        "https://github.com/huggingface/pytorch-image-models/blob/main/results/"
        "benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv",
    ),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, or what was to be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, what in FLAGS:
        parser.add_argument(f"--{name}", type=float, default=default, help=f"{what} (default: {default:g})")
    add = parser.add_argument
    add("--measure", type=Path, metavar="FOLDER", help="measure on the JPEGs of this folder instead")
    add("--aligned", action="store_true", help="with --measure: they are crops, which are resized only")
    add("--photos", type=int, default=300, help="with --measure: how many of them (default: 300)")
    add("--writing", action="store_true", help="with --measure: what the process that writes takes")
    add("--ray", metavar="ADDRESS", help="with --writing: as in create_dataset.py")
    add("--actor", action="store_true", help="with --measure: the memory of an actor that packs them")
    add("--turns", type=int, metavar="N", help="with --measure: actors against processes, N times each")
    add("--workers", type=int, default=2, help="with --turns: how many of them (default: 2)")
    add("--memory", type=int, metavar="N", help="measure the memory per face of the machine that writes, on N faces")
    add("--bytes", type=Path, metavar="REC", help="measure the bytes of a record and of its lines in a set")
    add("--multiplications", action="store_true", help="count those of the networks at 112 pixels")
    args = parser.parse_args(argv)
    measured = measurements(args)
    if measured:
        print("\n".join(measured))
        return 0
    for title, columns, rows in (packing(args), storage(args), published(args), training(args)):
        print_table(columns, rows, title=title)
        print()
    return 0


def measurements(args: argparse.Namespace) -> list[str]:
    """Return the lines of what was asked to be measured, none where nothing was."""
    lines = []
    if args.measure is not None:
        faces = scale_measured.faces_in(args.measure, count=args.photos, aligned=args.aligned)
        if args.writing:
            lines.append(scale_measured.writing(faces, ray=args.ray))
        if args.actor:
            lines.append(scale_measured.actor_memory(faces))
        if args.turns:
            lines += scale_measured.actors_and_workers(faces, turns=args.turns, workers=args.workers)
        if not lines:
            lines.append(scale_measured.cropping(faces))
    if args.memory:
        lines.append(scale_measured.driver_bytes(args.memory))
    if args.bytes is not None:
        lines.append(scale_measured.record_bytes(args.bytes))
    if args.multiplications:
        for name in ("r50", "m50"):
            lines.append(f"{name}: {scale_measured.multiplications(name, 112):.3f} billion multiplications a face")
    return lines


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


def published(args: argparse.Namespace) -> Table:
    """Return what others measured, and our networks' rates on such a GPU if time goes by multiplications."""
    rows = []
    for one in PUBLISHED:
        ours = getattr(args, f"{one.network}_work")
        scale = one.work / ours
        row = [one.gpu, one.whose, one.of, f"{one.rate:,.0f}", f"{one.work:.2f}", f"{scale:.2f}"]
        rows.append([*row, one.network, f"{one.rate * scale:,.0f}", f"{args.loader_rate / (one.rate * scale):.1f}"])
    columns = ["GPU", "measured by", "network", "images/s", "G mult.", "factor", "so", "faces/s", "GPUs a core feeds"]
    return "one GPU, mixed precision, as others measured it; faces/s of ours estimated", columns, rows


def training(args: argparse.Namespace) -> Table:
    """Return how long training takes, what it costs and what has to be read and decoded for it."""
    kinds = [("m50 on the packing cores", "measured", args.cpu_train_rate, args.cores, args.core_price)]
    for one in PUBLISHED:
        rate = one.rate * one.work / getattr(args, f"{one.network}_work")
        # insightface's own r50 is ours, so that nothing is estimated.
        basis = "theirs" if one.of.startswith(one.network) else "estimated"
        kinds.append((f"{one.network}, {args.gpus:g} x {one.gpu}", basis, rate, args.gpus, args.gpu_price))
    for name in ("r50", "m50"):
        if rate := getattr(args, f"{name}_gpu_rate"):
            kinds.append((f"{name}, {args.gpus:g} of your GPUs", "given", rate, args.gpus, args.gpu_price))
    rows = []
    for name, basis, rate, devices, price in kinds:
        speed = rate * devices
        hours = args.faces * args.epochs / speed / HOUR
        read = speed * args.record_bytes / 1e6
        loading = speed / args.loader_rate
        row = [name, basis, f"{speed:,.0f}", f"{hours:,.1f}", f"{hours * devices * price:,.0f}"]
        rows.append([*row, f"{read:,.0f}", f"{loading:,.1f}"])
    columns = ["training", "basis", "faces/s", "hours", "cost", "read, MB/s", "cores that load"]
    return f"{args.epochs:,.0f} epochs of {args.faces:,.0f} faces; {args.gpus:,.0f} GPUs", columns, rows


if __name__ == "__main__":
    sys.exit(main())
