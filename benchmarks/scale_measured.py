"""What the figures of scale.py are measured with: rates of packing, memory, bytes, multiplications of the networks."""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

if TYPE_CHECKING:
    from agegender.dataset.config import PackConfig
    from agegender.dataset.face_record import FaceSample
    from agegender.dataset.plan import Plan
    from agegender.dataset.problems import Problems

MICRO, MB = 1e-6, 1e6
# The length of a path such as /data/faces/part-07/1234567.jpg.
PATH_LETTERS = 31
TABLES = (".idx", ".lst", ".csv")


class Packed(NamedTuple):
    """How many faces were packed, and seconds of wall time: all of it, and that after the first face was there."""

    faces: int
    whole: float
    after: float
    processor: float


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


def cropping(faces: list[FaceSample]) -> str:
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


def writing(faces: list[FaceSample], *, ray: str | None) -> str:
    """Return one line: processor time per face of the process that compares, divides and writes.

    What other processes detect is not in it; without ``ray``, aligned faces are read here and are in it.
    """
    with tempfile.TemporaryDirectory() as output:
        start = time.process_time()
        plan, problems = _plan(faces, _config(output, ray=ray))
        before = (time.process_time() - start) / len(faces)
        packed = _pack(plan, problems)
    return (
        f"{packed.faces} faces, before {before / MICRO:,.0f} us, writing {packed.processor / MICRO:,.0f} us; "
        f"in all {packed.whole:.1f} s (wall)"
    )


def actors_and_workers(faces: list[FaceSample], *, turns: int, workers: int) -> list[str]:
    """Return a line for ``workers`` actors of a local Ray and one for as many processes: seconds and faces a second.

    They pack the same faces in turns, which begins changing from turn to turn; medians of ``turns``. Wall time, start
    and end in it; the rate is that after the first face.
    """
    found: dict[str, list[Packed]] = {f"--ray_actors {workers}": [], f"--workers {workers}": []}
    for turn in range(turns):
        for name in list(found) if turn % 2 == 0 else list(found)[::-1]:
            with tempfile.TemporaryDirectory() as output:
                config = replace(_config(output, ray=None), workers=workers)
                if name.startswith("--ray"):
                    config = replace(config, ray="local", ray_actors=workers)
                found[name].append(_pack(*_plan(faces, config)))
    lines = []
    for name, turned in found.items():
        whole = statistics.median(one.whole for one in turned)
        rate = statistics.median(one.faces / one.after if one.after else 0.0 for one in turned)
        lines.append(f"{name}: {turned[0].faces} faces in {whole:.1f} s, {rate:,.0f}/s after the first of them")
    return lines


def actor_memory(faces: list[FaceSample]) -> str:
    """Return one line: the memory of an actor with the detector after it has cropped ``faces``; Linux only.

    Resident at the most, and of that what is its own and no file's.
    """
    from agegender.app.pack import open_detector
    from agegender.dataset.config import PackConfig
    from agegender.dataset.crew import Chunk
    from agegender.dataset.plan import crop_settings
    from agegender.dataset.ray_worker import FaceWorker
    from agegender.ray_session import ray_session

    def status(_: Any) -> str:
        # Nested, so that it goes to the actor by its text, not by its name.
        return Path("/proc/self/status").read_text(encoding="ascii")

    settings = crop_settings(PackConfig())
    detects = faces[0].template != settings.template.name
    with ray_session("local", flag="--ray", cores=1) as ray:
        actor = ray.remote(num_cpus=1)(FaceWorker).remote(str(Path.cwd()))
        ray.get(actor.open.remote(settings, open_detector if detects else None))
        crops = ray.get(actor.crop.remote(Chunk(0, faces, detects)))
        said = ray.get(actor.__ray_call__.remote(status))
        ray.kill(actor)
    most, own = (_fields(said)[name] / MB for name in ("VmHWM", "RssAnon"))
    packed = sum(crop.body is not None for crop in crops)
    kind = "with the detector" if detects else "without a detector"
    return f"an actor {kind}, {packed} of {len(faces)} photos packed: {most:,.0f} MB at the most, {own:,.0f} MB its own"


def driver_bytes(count: int) -> str:
    """Return one line: bytes per face that the machine that writes holds while it packs: samples, sizes and plan.

    Of faces whose paths have 31 letters; what this process grows by, so in a fresh one only. Linux only.
    """
    _drawn_plan(100)  # what is imported and allocated once
    begin = _status(Path("/proc/self/status"))["VmRSS"]
    plan = _drawn_plan(count)
    grown = _status(Path("/proc/self/status"))["VmRSS"] - begin
    return f"{plan.total:,} faces: {grown / plan.total:,.0f} bytes a face for samples, sizes and plan"


def record_bytes(path: Path) -> str:
    """Return one line: bytes of a record of the set ``path`` (train.rec), and of its lines in .idx, .lst and .csv.

    Raises SystemExit where one of the files is missing.
    """
    from agegender.recordio import find_shards, open_records

    shards = [shard for shard in find_shards(path) if shard.exists()]
    tables = [shard.with_suffix(suffix) for shard in shards for suffix in TABLES]
    missing = [str(file) for file in tables if not file.exists()] if shards else [str(path)]
    if missing:
        raise SystemExit(f"scale.py: error: --bytes {path}: {missing[0]} is not there")
    count = len(open_records(path))
    in_records, in_tables = (sum(file.stat().st_size for file in files) for files in (shards, tables))
    return f"{count:,} faces: {in_records / count:,.0f} bytes a record, {in_tables / count:,.0f} in {', '.join(TABLES)}"


def multiplications(name: str, side: int) -> float:
    """Return how many times the network ``name`` multiplies and adds in its convolutions and dense layers for one face
    of ``side`` x ``side`` pixels, in billions. Raises UsageError for an unknown network.
    """
    import os

    import numpy as np

    from agegender.graph import builtin_json

    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    np.bool = bool  # type: ignore[attr-defined]  # MXNet 1.9.1 asks for what newer NumPy has dropped
    import mxnet as mx

    layers = mx.sym.load_json(builtin_json(name)).get_internals()
    inputs, outputs, _ = layers.infer_shape(data=(1, 3, side, side))
    weights = dict(zip(layers.list_arguments(), inputs, strict=True))
    total = 0
    for output, shape in zip(layers.list_outputs(), outputs, strict=True):
        weight = weights.get(f"{output.removesuffix('_output')}_weight")
        if weight is not None:
            # A weight is (outputs, inputs per output, ...): so many products make one output value.
            total += int(np.prod(weight[1:])) * int(np.prod(shape[1:]))
    return total / 1e9


def _status(path: Path) -> dict[str, int]:
    return _fields(path.read_text(encoding="ascii"))


def _fields(status: str) -> dict[str, int]:
    """Return what a /proc/PID/status says in kB, in bytes."""
    lines = (line.split(":", 1) for line in status.splitlines() if line.endswith(" kB"))
    return {name: int(value.split()[0]) * 1024 for name, value in lines}


def _config(output: str, *, ray: str | None) -> PackConfig:
    from agegender.dataset.config import PackConfig

    return PackConfig(output=output, val_ratio=0.0, ray=ray)


def _plan(faces: list[FaceSample], config: PackConfig) -> tuple[Plan, Problems]:
    from agegender.dataset.duplicates import drop_duplicates, file_sizes
    from agegender.dataset.plan import make_plan
    from agegender.dataset.problems import Problems

    problems = Problems()
    sizes = file_sizes(faces)
    return make_plan(drop_duplicates(faces, problems, sizes=sizes), config, sizes=sizes), problems


def _pack(plan: Plan, problems: Problems) -> Packed:
    """Pack ``plan``; ``processor`` is seconds of this process per face, from the first ones on.

    Ray, detectors and their processes have started then.
    """
    from agegender.app.pack import open_detector
    from agegender.dataset.pack import pack_plan

    marks: list[tuple[int, float, float]] = []
    start = time.perf_counter()
    pack_plan(
        plan,
        problems,
        make_detector=open_detector,
        progress=lambda phase, done, total: marks.append((done, time.process_time(), time.perf_counter())),
    )
    whole = time.perf_counter() - start
    (first, begin, begin_wall), (last, end, end_wall) = next(mark for mark in marks if mark[0]), marks[-1]
    # Of one chunk alone nothing comes after the first faces.
    return Packed(last, whole, end_wall - begin_wall, (end - begin) / max(last - first, 1))


def _drawn_plan(count: int) -> Plan:
    """Return the plan of ``count`` faces whose files are only named, and whose sizes are made up."""
    from agegender.dataset.config import PackConfig
    from agegender.dataset.face_record import FaceSample
    from agegender.dataset.plan import make_plan

    def named(number: int) -> Path:
        tail = f"{number // 100_000:03d}/{number:08d}.jpg"
        return Path("/" + "data/faces/photos/of/many/people"[: PATH_LETTERS - len(tail) - 2] + "/" + tail)

    faces = [FaceSample(named(number), number % 2, number % 100, "drawn") for number in range(count)]
    # Packing asks for each path as text, which pathlib then keeps.
    sizes: dict[Path, int | None] = {
        face.path: 5_000 + len(str(face.path)) + number for number, face in enumerate(faces)
    }
    return make_plan(faces, PackConfig(), sizes=sizes)
