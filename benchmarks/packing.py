"""Packing aligned JPEGs: ours passes the bytes through; the peer decodes and encodes one by one (pack_img).

Both begin with the list of faces in memory and end with .rec and .idx on disk; ours also writes lists, origins and
digests, and syncs. "with duplicates" adds what comes before in our command: reading the list file, looking for
duplicates, dividing. Each runs in a process of its own, in turns, several times; the median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import numpy as np  # noqa: E402

from agegender.cores import usable_cores  # noqa: E402
from benchmarks.table import print_table  # noqa: E402

QUALITY = 95
DRAWN_FACES = 512
# (packing, side of the faces in pixels, faces). The peer is slow enough to be measured on fewer; ours also on fewer, to
# show that its memory does not grow.
TURNS = (
    ("ours", 112, 24_000),
    ("ours", 112, 6_000),
    ("pack_img", 112, 6_000),
    ("ours", 200, 6_000),
    ("pack_img", 200, 2_000),
)
TARGET = 10.0


def main() -> int:
    """Run both and print the table. Returns 1 where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="turns of each (default: 3)")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--list", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        print(json.dumps(measure(args.contender, args.list, side=args.side)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return compare(Path(folder), repeats=args.repeats)


def compare(folder: Path, *, repeats: int) -> int:
    """Measure everything ``repeats`` times in turns, print the table and return the exit code."""
    for side in sorted({side for _, side, _ in TURNS}):
        draw_faces(folder, side, [faces for _, drawn, faces in TURNS if drawn == side])
    turns: dict[tuple[str, int, int], list[dict[str, float]]] = {turn: [] for turn in TURNS}
    for _ in range(repeats):
        for name, side, faces in TURNS:
            faces_list = folder / f"{side}_{faces}.txt"
            options = ["--contender", name, "--list", str(faces_list), "--side", str(side)]
            command = [sys.executable, "-W", "ignore", __file__, *options]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            turns[name, side, faces].append(json.loads(done.stdout.splitlines()[-1]))
    medians = {
        turn: {kind: statistics.median(one[kind] for one in measured) for kind in measured[0]}
        for turn, measured in turns.items()
    }
    ratios, rows = [], []
    for (name, side, faces), median in medians.items():
        ratio = ""
        if name == "pack_img":
            best = max((turn for turn in medians if turn[:2] == ("ours", side)), key=lambda turn: turn[2])
            ratios.append(medians[best]["speed"] / median["speed"])
            ratio = f"{ratios[-1]:.1f}x ({medians[best]['whole'] / median['whole']:.1f}x)"
        speeds = [f"{median[kind]:,.0f}" for kind in ("speed", "whole")]
        memory = [f"{median[kind]:.0f}" for kind in ("peak", "growth")]
        rows.append([name, f"{side}x{side}", f"{faces:,}", *speeds, ratio, *memory])
    columns = ["packing", "JPEGs", "faces", "faces/s", "with duplicates", "ours is", "peak RSS MB", "above start MB"]
    title = f"aligned JPEGs, {usable_cores()} cores, median of {repeats}; ours is to be >= {TARGET:g}x"
    print_table(columns, rows, title=title)
    return int(min(ratios) < TARGET)


def measure(contender: str, faces: Path, *, side: int) -> dict[str, float]:
    """Return faces per second, of packing and of the whole command, and peak memory in all and since the start (MB)."""
    count = faces.read_text().count("\n") - 1
    output = Path(tempfile.mkdtemp(dir=faces.parent))
    run = CONTENDERS[contender](faces, output, side)
    before = peak_memory()
    # Once to warm up: a virtual machine gives memory that was free back to its host, and has to ask for it anew.
    for _ in range(2):
        # What was left to the disk before (ours syncs its files, pack_img does not) is not this one's to wait for.
        os.sync()
        start = time.perf_counter()
        packing = run()
        whole = time.perf_counter() - start
        for file in output.iterdir():
            file.unlink()
    output.rmdir()
    peak = peak_memory()
    return {"speed": count / packing, "whole": count / whole, "peak": peak, "growth": peak - before}


def ours(faces: Path, output: Path, side: int) -> Callable[[], float]:
    """Return our packing of a list, imports done; it returns the seconds of packing itself."""
    from agegender.dataset.config import PackConfig
    from agegender.dataset.duplicates import drop_duplicates, file_sizes
    from agegender.dataset.gather import choose_sources, gather_faces
    from agegender.dataset.pack import pack_plan
    from agegender.dataset.plan import make_plan

    config = PackConfig(list=(str(faces),), output=str(output), image_size=side, quality=QUALITY, val_ratio=0.0)

    def run() -> float:
        found = gather_faces(choose_sources(config), Path(config.root))
        sizes = file_sizes(found.samples)
        plan = make_plan(drop_duplicates(found.samples, found.problems, sizes=sizes), config, sizes=sizes)
        start = time.perf_counter()
        report = pack_plan(plan, found.problems)
        seconds = time.perf_counter() - start
        if report.packed != len(found.samples):
            raise RuntimeError(f"packed {report.packed} faces only")
        return seconds

    return run


def pack_img(faces: Path, output: Path, side: int) -> Callable[[], float]:
    """Return the usual loop: read, decode, encode, write, one face after the other; imports done."""
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    np.bool = bool  # type: ignore[attr-defined]  # MXNet 1.9.1 asks for what newer NumPy has dropped
    import cv2
    import mxnet as mx

    def run() -> float:
        lines = [line.split(",") for line in faces.read_text().splitlines()[1:]]
        start = time.perf_counter()
        records = mx.recordio.MXIndexedRecordIO(str(output / "train.idx"), str(output / "train.rec"), "w")
        for key, (path, gender, age, _) in enumerate(lines):
            header = mx.recordio.IRHeader(0, [float(gender), float(age)], key, 0)
            records.write_idx(key, mx.recordio.pack_img(header, cv2.imread(path), quality=QUALITY, img_fmt=".jpg"))
        records.close()
        return time.perf_counter() - start

    return run


def draw_faces(folder: Path, side: int, counts: list[int]) -> None:
    """Write drawn JPEGs, as heavy as photographs of faces (6 to 8 KB at 112x112), and a list file per count."""
    import cv2
    import simplejpeg

    rng = np.random.default_rng(0)
    images = []
    for _ in range(DRAWN_FACES):
        shapes = [rng.integers(0, 255, (cells, cells, 3), dtype=np.uint8) for cells in (7, 40)]
        large, small = (cv2.resize(shape, (side, side), interpolation=cv2.INTER_CUBIC) for shape in shapes)
        image = np.clip(0.75 * large + 0.13 * small[..., :1] + rng.normal(0, 3, (side, side, 1)), 0, 255)
        images.append(image.astype(np.uint8))
    faces = folder / str(side)
    faces.mkdir()
    lines = ["path,gender,age,template\n"]
    for number in range(max(counts)):
        path = faces / f"{number:06d}.jpg"
        # Turned round by one more column each time: no two files are the same.
        image = np.roll(images[number % DRAWN_FACES], number // DRAWN_FACES, axis=1)
        path.write_bytes(simplejpeg.encode_jpeg(image, quality=QUALITY, colorsubsampling="420"))
        lines.append(f"{path},{number % 2},{number % 101},utkface\n")
    for count in set(counts):
        (folder / f"{side}_{count}.txt").write_text("".join(lines[: count + 1]))


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: that also counts what the parent had when it started us.
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return float(fields["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


CONTENDERS = {"ours": ours, "pack_img": pack_img}

if __name__ == "__main__":
    sys.exit(main())
