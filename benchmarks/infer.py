"""Deployment: nets alone, the detector apart, a photo with 15 faces end to end, and a cold start.

python benchmarks/infer.py
python benchmarks/infer.py --only nets --models m50 --repeats 5

The peer is MXNet in the same run: a Module per net; MTCNN level by level, then one Module call per face
(benchmarks/mtcnn_peer.py). Every measurement has a process of its own, in turns; the median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402

from agegender.cores import usable_cores  # noqa: E402
from agegender.errors import UsageError  # noqa: E402
from agegender.executor.base import Executor  # noqa: E402
from agegender.graph.checkpoint import Checkpoint, load_checkpoint  # noqa: E402
from benchmarks.crowd import FACES, crowd  # noqa: E402
from benchmarks.packing import peak_memory  # noqa: E402
from benchmarks.table import print_table  # noqa: E402

PARTS = ("nets", "photo", "cold")
MODELS = ("ssrnet", "m50", "lite0", "r50")
RUNTIMES = ("onnxruntime", "int8", "mxnet")
BATCHES = (1, 32)
THREADS = tuple(dict.fromkeys((1, min(2, usable_cores()))))
# Milliseconds for one face by ssrnet; how many times faster eight bits are; the photo; seconds of a cold start.
SSRNET_MS, INT8, PHOTO, HELP_S, COLD_S = 0.5, 2.2, 4.0, 0.3, 1.5
APART = 1.0
# Starts what it is given and prints seconds and peak memory. A process counts as its own what its parent had when it
# was started, so that the parent must not have loaded anything.
STARTER = """
import os, subprocess, sys, time
quiet = subprocess.DEVNULL
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=quiet, stderr=quiet)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status))
"""
Photo = npt.NDArray[np.uint8]


def main() -> int:
    """Print the tables. Returns 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="one of the parts (default: all)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--repeats", type=int, help="turns per measurement (default: 3, with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="a short look: one turn of few calls")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.repeats = args.repeats or (1 if args.quick else 3)
    calls = 5 if args.quick else 40
    if args.measure:
        print(json.dumps(_MEASURES[args.measure[0]](*args.measure[1:], calls=calls)))
        return 0
    print(f"{usable_cores()} cores, {_processor()}, median of {args.repeats}\n")
    reached = []
    for name, part in (("nets", nets), ("photo", photo), ("cold", cold)):
        if args.only in (None, name):
            reached += part(args)
            print()
    return int(not all(reached))


def nets(args: argparse.Namespace) -> list[bool]:
    """Print latency at batch 1 and throughput at 32 of each net."""
    jobs = [(model, runtime, threads) for model in args.models for threads in THREADS for runtime in RUNTIMES]
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            _measure(["files", model, folder], args, threads=usable_cores())
        words = {job: ["net", job[0], job[1], str(job[2]), folder] for job in jobs}
        found = _in_turns(words, args, threads={job: job[2] for job in jobs})
    rows = []
    for job in jobs:
        model, runtime, threads = job
        mine, peer, whole = found[job], found[model, "mxnet", threads], found[model, "onnxruntime", threads]
        single, many = mine["single"], mine["many"]
        rows.append(
            [
                model if _trained(model) else f"{model} (random weights)",
                {"onnxruntime": "fp32", "mxnet": "MXNet Module"}.get(runtime, runtime),
                str(threads),
                f"{single * 1e3:.2f}",
                f"{many:,.0f}",
                *(["", ""] if mine is peer else [f"{peer['single'] / single:.2f}x", f"{many / peer['many']:.2f}x"]),
                *_in_eight_bits(mine, whole, runtime),
                f"{mine['peak']:.0f}",
            ]
        )
    columns = [
        *("net", "runtime", "threads", "ms, batch 1", "faces/s, batch 32"),
        *("of MXNet: batch 1", "32", "of fp32: batch 1", "32", "peak RSS MB"),
    ]
    aims = f"ssrnet is to take <= {SSRNET_MS} ms on 1 or 2 threads, m50 in int8 to be >= {INT8}x its fp32 on 1 thread"
    print_table(columns, rows, title=f"nets alone on ONNX Runtime; {aims}")
    reached = []
    if "ssrnet" in args.models:
        reached.append(min(found["ssrnet", "onnxruntime", each]["single"] for each in THREADS) * 1e3 <= SSRNET_MS)
    if "m50" in args.models:
        eight, whole = found["m50", "int8", 1], found["m50", "onnxruntime", 1]
        reached += [whole["single"] / eight["single"] >= INT8, eight["many"] / whole["many"] >= INT8]
    return reached


def _in_eight_bits(mine: dict[str, float], whole: dict[str, float], runtime: str) -> list[str]:
    if runtime != "int8":
        return ["", ""]
    return [f"{whole['single'] / mine['single']:.2f}x", f"{mine['many'] / whole['many']:.2f}x"]


def photo(args: argparse.Namespace) -> list[bool]:
    """Print what the photo of 15 faces takes: detection apart, and with age and gender by each shipped net."""
    models = [model for model in args.models if _trained(model)]
    jobs = [(who, threads) for threads in THREADS for who in ("ours", "eight", "alone", "mxnet", "kept")]
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            _measure(["files", model, folder], args, threads=usable_cores())
        words = {job: ["photo", job[0], str(job[1]), folder, *models] for job in jobs}
        found = _in_turns(words, args, threads={job: job[1] for job in jobs})
    rows, reached = [], []
    for threads in THREADS:
        ours, alone, peer, kept = (found[who, threads] for who in ("ours", "alone", "mxnet", "kept"))
        for key in ("detect", *models):
            name = "detection" if key == "detect" else f"detection, then {key}"
            ratios = [f"{other[key] / ours[key]:.1f}x" for other in (peer, kept)]
            times = [f"{each[key] * 1e3:.1f}" for each in (ours, peer, kept)]
            ceiling = [f"{alone[key] * 1e3:.1f}", f"{peer[key] / alone[key]:.1f}x"]
            rows.append([name, str(threads), times[0], times[1], ratios[0], times[2], ratios[1], *ceiling])
            if key != "detect":
                rows.append(_row_in_eight_bits(name, threads, found["eight", threads][key], peer[key], kept[key]))
        peaks = (cell for each in (ours, peer, kept, alone) for cell in _peak(each))
        rows.append(["peak RSS MB", str(threads), *peaks])
        if threads == THREADS[-1]:
            # As it is deployed on a processor: whichever of the two files is the faster.
            best = {model: min(ours[model], found["eight", threads][model]) for model in models}
            reached += [peer[model] / best[model] >= PHOTO for model in models]
        reached += [ours["faces"] == peer["faces"] == FACES, peer["apart"] <= APART]
    told = (
        f"{ours['faces']:.0f} faces found by ours, {peer['faces']:.0f} by MXNet, boxes {peer['apart']:.4f} pixels apart"
    )
    title = (
        f"a photo of 1024x432 with {FACES} faces of 20 to 80 pixels, ms; {told}; detection and net are to be >= "
        f"{PHOTO:g}x on {THREADS[-1]} threads, with the faster file of the net"
    )
    columns = ["", "threads", "ours", "MXNet", "ours is", "MXNet, executors of all sizes kept", "ours is"]
    # What ours could be at most.
    columns += ["our networks alone, on the same batches", "they are, of MXNet"]
    print_table(columns, rows, title=title)
    return reached


def _row_in_eight_bits(name: str, threads: int, ours: float, peer: float, kept: float) -> list[str]:
    times = [f"{each * 1e3:.1f}" for each in (ours, peer, kept)]
    cells = [times[0], times[1], f"{peer / ours:.1f}x", times[2], f"{kept / ours:.1f}x"]
    return [f"{name} in eight bits", str(threads), *cells, "", ""]


def _peak(measured: dict[str, float]) -> list[str]:
    return [f"{measured['peak']:.0f}", ""]


def cold(args: argparse.Namespace) -> list[bool]:
    """Print what a new process takes."""
    jobs = {"infer.py --help": ("help", HELP_S), "infer.py on test.jpg": ("photo", COLD_S)}
    found = _in_turns({name: ["cold", kind] for name, (kind, _) in jobs.items()}, args)
    rows = [
        [name, f"{found[name]['seconds']:.2f}", f"{target:g}", f"{found[name]['peak']:.0f}"]
        for name, (_, target) in jobs.items()
    ]
    print_table(["new process", "seconds", "at most", "peak RSS MB"], rows, title="cold start")
    return [found[name]["seconds"] <= target for name, (_, target) in jobs.items()]


def _in_turns(
    jobs: dict[Any, list[str]], args: argparse.Namespace, *, threads: dict[Any, int] | None = None
) -> dict[Any, dict[str, float]]:
    """Run each job ``repeats`` times, in turns; return the medians."""
    turns: dict[Any, list[dict[str, float]]] = {job: [] for job in jobs}
    for _ in range(args.repeats):
        for job, words in jobs.items():
            turns[job].append(_measure(words, args, threads=threads[job] if threads else None))
    return {
        job: {key: statistics.median(turn[key] for turn in measured) for key in measured[0]}
        for job, measured in turns.items()
    }


def _measure(words: list[str], args: argparse.Namespace, *, threads: int | None) -> dict[str, float]:
    """Run one job in a process of its own; without ``threads`` the libraries choose."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-W", "ignore", __file__, *(["--quick"] if args.quick else []), "--measure", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def write_files(model: str, folder: str, *, calls: int) -> dict[str, float]:
    """Write ``model`` for ONNX Runtime as the executor runs it, and in eight bits."""
    from agegender.executor.onnx_graph import to_onnx
    from agegender.executor.onnx_quantize import quantize

    checkpoint = _checkpoint(model)
    how: dict[str, Any] = {"image": _shape(checkpoint)}
    plain = to_onnx(checkpoint.graph, checkpoint.params, **how)
    # Which numbers the ranges come from makes no difference to the time.
    small = quantize(plain, [_faces(4, _shape(checkpoint))])
    whole = to_onnx(checkpoint.graph, checkpoint.params, for_cpu=True, **how)
    for runtime, written in (("onnxruntime", whole), ("int8", small)):
        Path(folder, f"{model}-{runtime}.onnx").write_bytes(written.SerializeToString())
        if _trained(model):
            # What tools/export.py writes into the file is beside it here.
            shutil.copy(ROOT / "models" / model / f"{model}.json", Path(folder, f"{model}-{runtime}.json"))
    return {}


def measure_net(model: str, runtime: str, threads: str, folder: str, *, calls: int) -> dict[str, float]:
    """Return seconds of a call with one face, faces per second with 32, and peak memory (MB)."""
    checkpoint = _checkpoint(model)
    if runtime == "mxnet":
        from benchmarks.mtcnn_peer import bind_module

        runs = [bind_module(checkpoint, count) for count in BATCHES]
    else:
        runs = [_open_file(Path(folder, f"{model}-{runtime}.onnx"), int(threads))] * len(BATCHES)
    single, many = (
        _median(run, _faces(count, _shape(checkpoint)), calls=calls) for run, count in zip(runs, BATCHES, strict=True)
    )
    return {"single": single, "many": BATCHES[1] / many, "peak": peak_memory()}


def _open_file(path: Path, threads: int) -> Callable[[npt.NDArray[np.float32]], dict[str, npt.NDArray[Any]]]:
    from agegender.executor.onnx_executor import open_session, run_session
    from agegender.executor.onnx_runtime import choose_providers, session_options

    options = session_options(threads=threads)
    session = open_session(path.read_bytes(), providers=choose_providers("cpu"), options=options)
    return lambda data: run_session(session, {"data": data})


def measure_photo(who: str, threads: str, folder: str, *models: str, calls: int) -> dict[str, float]:
    """Return seconds of detection and of all with each of ``models``, the number of faces, and peak memory (MB).

    ``folder`` has the files of ``write_files``.
    """
    cv2.setNumThreads(int(threads))
    image = crowd()
    calls = max(3, calls // 4)
    if who == "alone":
        return _networks_alone(image, models, calls)
    if who == "eight":
        return _photo_ours(image, {model: Path(folder, f"{model}-int8.onnx") for model in models}, calls)
    if who == "ours":
        return _photo_ours(image, {model: model for model in models}, calls)
    return _photo_mxnet(image, models, calls, keep=who == "kept")


def _photo_ours(image: Photo, models: Mapping[str, str | Path], calls: int) -> dict[str, float]:
    from agegender import Predictor
    from agegender.deploy.mtcnn import open_mtcnn

    detector = open_mtcnn()
    measured = {"faces": float(len(detector.detect(image))), "detect": _median(detector.detect, image, calls=calls)}
    for model, file in models.items():
        predictor = Predictor(file, detector=detector, gpu_ids="cpu")
        measured[model] = _median(predictor.predict, image, calls=calls)
    return measured | {"peak": peak_memory()}


class _Recorded:
    """An executor that notes what it is given."""

    def __init__(self, executor: Executor, calls: list[tuple[Executor, npt.NDArray[np.float32]]]) -> None:
        self._executor, self._calls = executor, calls

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        self._calls.append((self._executor, data))
        return self._executor.forward(data)


def _networks_alone(image: Photo, models: Sequence[str], calls: int) -> dict[str, float]:
    """Measure the networks on what they get for ``image``: no pyramid, crops, suppression or alignment."""
    from agegender.deploy.batch_parts import InParts
    from agegender.deploy.mtcnn import MTCNN, NETS, load_net
    from agegender.executor import open_executor
    from agegender.executor.onnx_runtime import thread_count

    how: dict[str, Any] = {"engine": "onnxruntime", "gpu_ids": "cpu"}
    given: list[tuple[Executor, npt.NDArray[np.float32]]] = []
    nets = [open_executor(load_net(name), threads=1, free_size=name == "pnet", **how) for name in NETS]
    found = MTCNN(*(_Recorded(net, given) for net in nets)).detect(image)
    with ThreadPoolExecutor(thread_count()) as pool:

        def detect(_: object = None) -> None:
            list(pool.map(lambda call: call[0].forward(call[1]), given))

        measured = {"faces": float(len(found)), "detect": _median(detect, None, calls=calls)}
        for model in models:
            checkpoint = _checkpoint(model)
            net: Executor = open_executor(checkpoint, **how)
            net = InParts(net, workers=thread_count()) if thread_count() > 1 else net
            faces = _faces(len(found), _shape(checkpoint))

            def whole(_: object, net: Executor = net, faces: npt.NDArray[np.float32] = faces) -> None:
                detect()
                net.forward(faces)

            measured[model] = _median(whole, None, calls=calls)
    return measured | {"peak": peak_memory()}


def _photo_mxnet(image: Photo, models: Sequence[str], calls: int, *, keep: bool) -> dict[str, float]:
    from agegender.deploy.mtcnn import open_mtcnn
    from benchmarks.mtcnn_peer import OneByOne, PlainMTCNN

    plain = PlainMTCNN(keep=keep)
    boxes = plain.detect(image)[0][:, :4]
    measured = {"faces": float(len(boxes)), "detect": _median(plain.detect, image, calls=calls)}
    for model in models:
        net = OneByOne(_checkpoint(model))

        def whole(picture: Photo, net: OneByOne = net) -> list[tuple[float, float]]:
            return net.tell(picture, plain.detect(picture)[1])

        measured[model] = _median(whole, image, calls=calls)
    measured["peak"] = peak_memory()
    # Last, since it loads ONNX Runtime: how far each of our boxes is from the nearest of MXNet's.
    ours = np.array([found.box for found in open_mtcnn(engine="onnxruntime").detect(image)])
    measured["apart"] = float(np.abs(ours[:, None] - boxes).max(axis=2).min(axis=1).max())
    return measured


def measure_cold(kind: str, *, calls: int) -> dict[str, float]:
    """Return seconds and peak memory (MB) of a new process."""
    words = ["--help"] if kind == "help" else ["--image", "test.jpg", "--output", "none", "--gpu_ids", "cpu"]
    words += [] if kind == "help" else ["--model", "m50" if _trained("m50") else "ssrnet"]
    turns = []
    for _ in range(max(3, calls // 8)):
        command = [sys.executable, "-S", "-c", STARTER, sys.executable, "infer.py", *words]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        seconds, peak, code = (float(word) for word in done.stdout.split())
        if code:
            raise RuntimeError(f"infer.py {' '.join(words)} ended with {code:.0f}")
        turns.append((seconds, peak))
    seconds, peak = np.median(turns, axis=0).tolist()
    return {"seconds": seconds, "peak": peak}


def _checkpoint(model: str) -> Checkpoint:
    """Return the shipped model, or the built-in network with random weights."""
    if _trained(model):
        return load_checkpoint(ROOT / "models" / model / model)
    from agegender.executor.parameter_rules import check_given_shapes
    from agegender.executor.torch_shapes import parameter_shapes
    from agegender.graph import Graph, ModelInfo, builtin_json

    graph, shape = Graph.from_json(builtin_json(model)), (3, 64, 64) if model == "ssrnet" else (3, 112, 112)
    rng = np.random.default_rng(0)
    params = {}
    for name, size in parameter_shapes(graph, shape).items():
        fan_in = max(1, int(np.prod(size[1:])))
        ones = name.endswith(("gamma", "var"))
        params[name] = np.ones(size, np.float32) if ones else rng.normal(0, fan_in**-0.5, size).astype(np.float32)
    check_given_shapes(graph, {name: array.shape for name, array in params.items()})
    return Checkpoint(Path(model), 0, graph, params, ModelInfo(network=model, input={"shape": list(shape)}))


def _shape(checkpoint: Checkpoint) -> tuple[int, int, int]:
    assert checkpoint.info is not None and checkpoint.info.data_shape is not None
    return checkpoint.info.data_shape


def _trained(model: str) -> bool:
    return (ROOT / "models" / model / f"{model}-symbol.json").is_file()


def _faces(count: int, shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).uniform(0, 255, (count, *shape)).astype(np.float32)


def _median(run: Callable[[Any], Any], data: Any, *, calls: int) -> float:
    """Return the median seconds of a call, after some to warm up."""
    for _ in range(3):
        run(data)
    return statistics.median(_times(run, data, calls))


def _times(run: Callable[[Any], Any], data: Any, calls: int) -> Iterator[float]:
    for _ in range(calls):
        start = time.perf_counter()
        run(data)
        yield time.perf_counter() - start


def _processor() -> str:
    """Return the processor's name, and whether it has instructions for eight bits."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return "an unknown processor"
    text = path.read_text()
    name = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    flags = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in text]
    return f"{name} ({' '.join(flags)})"


_MEASURES: dict[str, Callable[..., dict[str, float]]] = {
    "files": write_files,
    "net": measure_net,
    "photo": measure_photo,
    "cold": measure_cold,
}

if __name__ == "__main__":
    try:
        sys.exit(main())
    except UsageError as error:
        print(f"infer.py: error: {error}", file=sys.stderr)
        sys.exit(2)
