"""Deployment: nets alone, the detector apart, a photo with 15 faces end to end, and a cold start.

python benchmarks/infer.py
python benchmarks/infer.py --only nets --repeats 5

The peer is MXNet in the same run: a Module per net; MTCNN with an executor per level of the pyramid, then one Module
call per face (benchmarks/mtcnn_peer.py). Every measurement has a process of its own, in turns; the median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402

from agegender.cores import usable_cores  # noqa: E402
from agegender.errors import UsageError  # noqa: E402
from agegender.graph.checkpoint import Checkpoint, load_checkpoint  # noqa: E402
from benchmarks.table import print_table  # noqa: E402

PARTS = ("nets", "photo", "cold")
MODELS = ("ssrnet", "m50", "r50")
RUNTIMES = ("onnxruntime", "int8", "mxnet")
BATCHES = (1, 32)
# Milliseconds for one face by ssrnet; how many times faster eight bits are; the photo; seconds of a cold start.
SSRNET_MS, INT8, PHOTO, HELP_S, COLD_S = 0.5, 2.2, 4.0, 0.3, 1.5
FACES = 15
Photo = npt.NDArray[np.uint8]


def main() -> int:
    """Print the tables. Returns 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="one of the parts (default: all)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--repeats", type=int, default=3, help="turns per measurement (default: 3)")
    parser.add_argument("--quick", action="store_true", help="a short look: small numbers of calls")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
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
    jobs = [
        (model, runtime, threads)
        for model in args.models
        for threads in (1, min(2, usable_cores()))
        for runtime in RUNTIMES
    ]
    found = _in_turns({job: ["net", *map(str, job)] for job in jobs}, args)
    rows, reached = [], []
    for model, runtime, threads in jobs:
        mine, peer = found[model, runtime, threads], found[model, "mxnet", threads]
        whole = found[model, "onnxruntime", threads]
        weights = "" if mine["trained"] else " (random weights)"
        single, many = mine["single"], mine["many"]
        rows.append(
            [
                f"{model}{weights}",
                {"onnxruntime": "fp32"}.get(runtime, runtime),
                str(threads),
                f"{single * 1e3:.2f}",
                f"{many:,.0f}",
                f"{peer['single'] / single:.2f}x",
                f"{many / peer['many']:.2f}x",
                f"{whole['single'] / single:.2f}x",
                f"{many / whole['many']:.2f}x",
                f"{mine['peak']:.0f}",
            ]
        )
        if model == "ssrnet" and runtime == "onnxruntime":
            reached.append(single * 1e3 <= SSRNET_MS)
        if model == "m50" and runtime == "int8":
            reached.append(max(whole["single"] / single, many / whole["many"]) >= INT8)
    columns = [
        *("net", "runtime", "threads", "ms, batch 1", "faces/s, batch 32"),
        *("of mxnet: batch 1", "32", "of fp32: batch 1", "32", "peak RSS MB"),
    ]
    aims = f"ssrnet is to take <= {SSRNET_MS} ms, m50 in int8 to be >= {INT8}x its fp32"
    print_table(columns, rows, title=f"nets alone on ONNX Runtime; {aims}")
    return reached


def photo(args: argparse.Namespace) -> list[bool]:
    """Print what the photo of 15 faces takes: detection apart, and with age and gender."""
    model = "m50" if _trained("m50") else "ssrnet"
    found = _in_turns({who: ["photo", who, model] for who in ("ours", "mxnet")}, args)
    ours, peer = found["ours"], found["mxnet"]
    rows = []
    for name, key in (("detection", "detect"), (f"detection, then {model}", "whole")):
        rows.append([name, f"{ours[key] * 1e3:.1f}", f"{peer[key] * 1e3:.1f}", f"{peer[key] / ours[key]:.1f}x"])
    rows.append(["peak RSS MB", f"{ours['peak']:.0f}", f"{peer['peak']:.0f}", ""])
    rows.append(["faces found", f"{ours['faces']:.0f}", f"{peer['faces']:.0f}", ""])
    title = f"a photo of 1024x432 with {FACES} faces of 20 to 80 pixels, ms; the whole is to be >= {PHOTO:g}x"
    print_table(["", "ours", "MXNet", "ours is"], rows, title=title)
    return [peer["whole"] / ours["whole"] >= PHOTO, ours["faces"] >= FACES - 1]


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


def _in_turns(jobs: dict[Any, list[str]], args: argparse.Namespace) -> dict[Any, dict[str, float]]:
    """Run each job ``repeats`` times, in turns; return the medians."""
    turns: dict[Any, list[dict[str, float]]] = {job: [] for job in jobs}
    for _ in range(args.repeats):
        for job, words in jobs.items():
            command = [sys.executable, "-W", "ignore", __file__, *(["--quick"] if args.quick else [])]
            threads = words[3] if words[0] == "net" else str(usable_cores())
            environment = {**os.environ, "OMP_NUM_THREADS": threads}
            done = subprocess.run(
                [*command, "--measure", *words], check=True, stdout=subprocess.PIPE, text=True, env=environment
            )
            turns[job].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        job: {key: statistics.median(turn[key] for turn in measured) for key in measured[0]}
        for job, measured in turns.items()
    }


def measure_net(model: str, runtime: str, threads: str, *, calls: int) -> dict[str, float]:
    """Return seconds of a call with one face, faces per second with 32, and peak memory (MB)."""
    checkpoint = _checkpoint(model)
    assert checkpoint.info is not None and checkpoint.info.data_shape is not None
    shape = checkpoint.info.data_shape
    run = _runner(checkpoint, runtime, int(threads))
    single, many = (_median(run, _faces(count, shape), calls=calls) for count in BATCHES)
    return {"single": single, "many": BATCHES[1] / many, "peak": _peak(), "trained": float(_trained(model))}


def _runner(checkpoint: Checkpoint, runtime: str, threads: int) -> Callable[[npt.NDArray[np.float32]], Any]:
    if runtime == "mxnet":
        from agegender.executor.mxnet_executor import MXNetExecutor

        return MXNetExecutor(checkpoint.graph, checkpoint.params).forward
    from agegender.executor.onnx_executor import open_session, run_session
    from agegender.executor.onnx_graph import to_onnx
    from agegender.executor.onnx_quantize import quantize
    from agegender.executor.onnx_runtime import choose_providers, session_options

    assert checkpoint.info is not None and checkpoint.info.data_shape is not None
    shape = checkpoint.info.data_shape
    model = to_onnx(checkpoint.graph, checkpoint.params, image=shape)
    if runtime == "int8":
        # Which numbers the ranges come from makes no difference to the time.
        model = quantize(model, [_faces(4, shape)])
    options = session_options(threads=threads)
    session = open_session(model.SerializeToString(), providers=choose_providers("cpu"), options=options)
    return lambda data: run_session(session, {"data": data})


def measure_photo(who: str, model: str, *, calls: int) -> dict[str, float]:
    """Return seconds of detection and of all, the number of faces, and peak memory (MB)."""
    image = crowd()
    calls = max(3, calls // 4)
    if who == "ours":
        from agegender import Predictor

        predictor = Predictor(model, gpu_ids="cpu")
        detector = predictor.detector
        assert detector is not None
        found = len(predictor.predict(image))
        detect, whole = (_median(run, image, calls=calls) for run in (detector.detect, predictor.predict))
        return {"detect": detect, "whole": whole, "faces": found, "peak": _peak()}
    from benchmarks.mtcnn_peer import OneByOne, PlainMTCNN

    plain, net = PlainMTCNN(), OneByOne(_checkpoint(model))
    found = len(plain.detect(image)[0])
    detect = _median(plain.detect, image, calls=calls)
    whole = _median(lambda picture: net.tell(picture, plain.detect(picture)[1]), image, calls=calls)
    return {"detect": detect, "whole": whole, "faces": found, "peak": _peak()}


def measure_cold(kind: str, *, calls: int) -> dict[str, float]:
    """Return seconds and peak memory (MB) of a new process."""
    words = ["--help"] if kind == "help" else ["--image", "test.jpg", "--output", "none", "--gpu_ids", "cpu"]
    words += [] if kind == "help" else ["--model", "m50" if _trained("m50") else "ssrnet"]
    seconds = []
    for _ in range(max(3, calls // 8)):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "infer.py", *words],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"seconds": statistics.median(seconds), "peak": peak}


def crowd() -> Photo:
    """Return a photo (432, 1024, 3) uint8 RGB: the two people of test.jpg, 15 times, 20 to 80 pixels wide."""
    from agegender.face.photo import read_photo

    people = read_photo(ROOT / "test.jpg")
    # x, y and half the width of each face's box.
    heads = ((738, 193, 75), (225, 117, 44))
    ground = np.random.default_rng(0).integers(40, 90, (27, 64, 3), np.uint8)
    image = np.asarray(cv2.resize(ground, (1024, 432), interpolation=cv2.INTER_CUBIC), np.uint8)
    for number, width in enumerate(np.linspace(80, 20, FACES)):
        x, y, half = heads[number % 2]
        reach = round(half * 1.5)
        head = people[max(y - reach, 0) : y + reach, x - reach : x + reach]
        side = round(width * 1.5)
        small = cv2.resize(head, (side, round(side * head.shape[0] / head.shape[1])), interpolation=cv2.INTER_AREA)
        left, top = 30 + number % 5 * 200, 20 + number // 5 * 140
        image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return image


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


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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
