"""The service under load: requests per second and how long they take, with and without batching, against Flask.

python benchmarks/serve.py
python benchmarks/serve.py --only crops --models m50 --clients 1 64 --repeats 3
python benchmarks/serve.py --soak 30

The peer is the same Predictor behind Flask, one request at a time (benchmarks/serve_peer.py). The clients are a process
of their own (benchmarks/serve_load.py), on the same cores; they check that each answer is about their own photo, by its
digest and by its faces. Takes turns; the median counts. All of it stays on this machine.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from agegender.cores import usable_cores  # noqa: E402
from benchmarks.table import print_table  # noqa: E402

# What is sent, and the detector that finds its faces. The soak takes photos of many sizes.
WORKLOADS = {"photos": "mtcnn", "crops": "none"}
SOAK, SOAK_WIDTHS = "mixed", (200, 250, 320, 400, 480, 560, 640, 800)
CLIENTS = (1, 8, 64, 256)
# The service's throughput against Flask's, at how many clients.
TARGET, TARGET_CLIENTS = 2.0, 64
QUEUE = 64
FIGURES = ("per_second", "p50", "p95", "p99", "computed")
OURS, SINGLE, PEER = "service", "service, --max_batch 1", "Flask"
# How often the soak looks at the memory and how often it says so, in seconds; the first share of it is warming up.
LOOK, SAY, WARM_UP = 10.0, 60.0, 0.25
# Megabytes an hour that still count as flat, beyond what chance explains.
FLAT = 10.0
_LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")


def main() -> int:
    """Print the tables. Returns 1 where a target is missed, or an answer is lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", choices=WORKLOADS, help="one kind of picture (default: both; the soak: photos of many sizes)"
    )
    parser.add_argument("--models", nargs="+", default=["ssrnet"])
    parser.add_argument("--clients", nargs="+", type=int, default=CLIENTS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a turn")
    parser.add_argument("--peer_threads", type=int, default=usable_cores(), help="threads of Flask's sessions")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="constant load in place of the tables")
    parser.add_argument("--soak_clients", type=int, default=2, help="clients of the soak, each of them without a pause")
    args = parser.parse_args()
    workloads = [args.only] if args.only else [SOAK] if args.soak else list(WORKLOADS)
    print(
        f"{usable_cores()} cores, which the clients use as well; median of {args.repeats} turns of {args.seconds:g} s\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        jobs = [(model, workload) for model in args.models for workload in workloads]
        run = soak if args.soak else compare
        well = [run(*job, args, Path(folder)) for job in jobs]
    return int(not all(well))


def compare(model: str, workload: str, args: argparse.Namespace, folder: Path) -> bool:
    """Print one table. Returns whether the service is fast enough and no answer was lost or wrong."""
    detector = WORKLOADS[workload]
    flags = ["--model", model, "--detector", detector]
    service = ["serve.py", *flags, "--port", "0", "--queue", str(QUEUE), "--max_connections", "2000"]
    peer = ["benchmarks/serve_peer.py", *flags, "--threads", str(args.peer_threads)]
    commands = {OURS: service, SINGLE: [*service, "--max_batch", "1"], PEER: peer}
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(started(command)) for name, command in commands.items()}
        pictures = write_pictures(folder / f"{model}-{workload}", workload, servers[PEER].port)
        for server in servers.values():
            load(server.port, pictures, clients=8, seconds=1.0)
        for _ in range(args.repeats):
            for clients in args.clients:
                for name, server in servers.items():
                    measured = load_watched(server, pictures, clients=clients, seconds=args.seconds)
                    found.setdefault((name, clients), []).append(measured)
    middle = {
        key: {what: statistics.median(turn[what] for turn in turns) for what in FIGURES} for key, turns in found.items()
    }
    rows = []
    for (name, clients), now in middle.items():
        turns = found[name, clients]
        ratio = "" if name == PEER else f"{now['per_second'] / middle[PEER, clients]['per_second']:.2f}x"
        sums = [sum(turn[what] for turn in turns) for what in ("answered", "refused", "failed", "lost", "wrong")]
        times = [f"{now[what]:.1f}" for what in FIGURES[1:]]
        rows.append([name, str(clients), f"{now['per_second']:.1f}", ratio, *times, *map(str, sums)])
    columns = ["", "clients", "answers/s", "of Flask", "p50 ms", "p95", "p99", "CPU ms an answer"]
    told = (
        f"{model}, {workload} ({_size(pictures)}); {TARGET:g}x Flask's answers/s is the aim at {TARGET_CLIENTS} clients"
    )
    print_table([*columns, "answered", "refused (429)", "failed", "lost", "wrong"], rows, title=told)
    ours = [turn for (name, _), turns in found.items() if name != PEER for turn in turns]
    for line in dict.fromkeys(line for turns in found.values() for turn in turns for line in turn["first_wrong"]):
        print(f"wrong: {line}")
    reached = not any(turn["failed"] or turn["lost"] or turn["wrong"] for turn in ours)
    bound = _bound(middle, args.clients)
    if bound:
        print(bound)
    print()
    if TARGET_CLIENTS in args.clients:
        rates = [middle[name, TARGET_CLIENTS]["per_second"] for name in (OURS, PEER)]
        reached = reached and rates[0] >= TARGET * rates[1]
    return reached


def soak(model: str, workload: str, args: argparse.Namespace, folder: Path) -> bool:
    """Load the service for ``args.soak`` minutes and print its memory. Returns whether it stays flat."""
    flags = ["--model", model, "--detector", WORKLOADS.get(workload, "mtcnn")]
    print(f"soak of {args.soak:g} minutes: {model}, {workload}, {args.soak_clients} clients", flush=True)
    with ExitStack() as stack:
        with started(["benchmarks/serve_peer.py", *flags, "--threads", "1"]) as peer:
            pictures = write_pictures(folder / f"{model}-{workload}", workload, peer.port)
        server = stack.enter_context(started(["serve.py", *flags, "--port", "0"]))
        loading = _start_load(server.port, pictures, clients=args.soak_clients, seconds=60 * args.soak)
        begun, seen, told = time.monotonic(), [], 0
        while loading.poll() is None:
            seen.append((time.monotonic() - begun, server.resident()))
            if seen[-1][0] >= SAY * told:
                # As it goes, so that a soak that is ended early has said something.
                print(f"  minute {told}: {seen[-1][1]:.0f} MB resident, {server.computed():.0f} s computed", flush=True)
                told += 1
            try:
                loading.wait(LOOK)
            except subprocess.TimeoutExpired:
                continue
        measured = _result(loading)
    later = [each for each in seen if each[0] >= WARM_UP * 60 * args.soak] or seen
    slope, give = (3600 * each for each in _slope(later))
    print(
        f"  after the first {100 * WARM_UP:g}%: {slope:+.1f} MB an hour, give or take {give:.1f} ({len(later)} looks); "
        f"{_size(pictures)}"
    )
    what = ", ".join(f"{measured[name]} {name}" for name in ("answered", "refused", "failed", "lost", "wrong"))
    print(f"  {what}; {measured['per_second']:.1f} answers/s, p99 {measured['p99']:.0f} ms\n")
    return slope - give <= FLAT and not (measured["failed"] or measured["lost"] or measured["wrong"])


class Started:
    """A server that runs: its port and its process."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def computed(self) -> float:
        """Return the seconds of processor time that it has used, all its threads together."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> float:
        """Return its resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return float(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


@contextmanager
def started(command: Sequence[str], *, environment: dict[str, str] | None = None, **how: Any) -> Iterator[Started]:
    """Start a Python file of the checkout, wait until it listens, stop it at the end of the context."""
    surroundings = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", *command],
        cwd=ROOT,
        env=surroundings | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **how,
    )
    try:
        yield Started(process, _port(process))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        found = _LISTENING.search(line)
        if found:
            return int(found[1])
    raise RuntimeError(f"{process.args!r} did not begin to listen: {''.join(said)}")


def load(port: int, pictures: Path, *, clients: int, seconds: float) -> dict[str, Any]:
    """Let ``clients`` ask the server at ``port`` for ``seconds``; return what they saw."""
    return _result(_start_load(port, pictures, clients=clients, seconds=seconds))


def load_watched(server: Started, pictures: Path, *, clients: int, seconds: float) -> dict[str, Any]:
    """Do as ``load`` does, and add the milliseconds of processor time that an answer took the server."""
    before = server.computed()
    measured = load(server.port, pictures, clients=clients, seconds=seconds)
    return measured | {"computed": 1e3 * (server.computed() - before) / max(1, measured["answered"])}


def _start_load(port: int, pictures: Path, *, clients: int, seconds: float) -> subprocess.Popen[str]:
    words = ["--port", str(port), "--folder", str(pictures), "--clients", str(clients), "--seconds", str(seconds)]
    command = [sys.executable, str(ROOT / "benchmarks" / "serve_load.py"), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the clients ended with {process.returncode}")
    measured: dict[str, Any] = json.loads(said.splitlines()[-1])
    return measured


def write_pictures(folder: Path, workload: str, port: int) -> Path:
    """Write small JPEGs of one face each and, in expected.json, what the server at ``port`` says of each alone."""
    import cv2
    import numpy as np

    from agegender.face.photo import encode_jpeg, read_photo

    folder.mkdir()
    people = read_photo(ROOT / "test.jpg")
    expected = {}
    # Left, top and width of a part with one of the two faces; photos are 4:3, crops square.
    parts = ((590, 90, 300), (560, 40, 380), (150, 60, 150), (40, 30, 300)), ((640, 90, 200), (170, 55, 115))
    shape = (112, 112) if workload == "crops" else (320, 240)
    chosen = list(parts[1] if workload == "crops" else parts[0])
    if workload == SOAK:
        chosen *= len(SOAK_WIDTHS) // len(chosen)
    for number, (x, y, width) in enumerate(chosen):
        if workload == SOAK:
            shape = (SOAK_WIDTHS[number], SOAK_WIDTHS[number] * 3 // 4)
        cut = people[y : y + round(width * shape[1] / shape[0]), x : x + width]
        for mirrored in (False, True):
            picture = np.ascontiguousarray(cut[:, ::-1] if mirrored else cut)
            name = f"{number}-{'mirrored' if mirrored else 'plain'}.jpg"
            data = encode_jpeg(np.asarray(cv2.resize(picture, shape, interpolation=cv2.INTER_AREA), np.uint8), 90)
            (folder / name).write_bytes(data)
            expected[name] = {"faces": _ask(port, data)["images"][0]["faces"]}
            if len(expected[name]["faces"]) != 1:
                raise RuntimeError(f"{name} should hold one face: {expected[name]}")
    (folder / "expected.json").write_text(json.dumps(expected))
    return folder


def _ask(port: int, data: bytes) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/v1/analyze", data, {"Content-Type": "image/jpeg"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def _size(pictures: Path) -> str:
    sizes = [path.stat().st_size for path in pictures.glob("*.jpg")]
    return f"{len(sizes)} JPEGs of {statistics.mean(sizes) / 1e3:.0f} kB"


def _bound(middle: dict[tuple[str, int], dict[str, float]], clients: Sequence[int]) -> str:
    """Return how the slowest answers compare with what the queue's length allows, under the highest load."""
    most = max(clients)
    if most < QUEUE:
        return ""
    now = middle[OURS, most]
    full = 1e3 * QUEUE / now["per_second"]
    return f"at {most} clients p99 is {now['p99'] / full:.2f} times what a queue of {QUEUE} takes ({full:.0f} ms)"


def _slope(seen: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return MB per second of the straight line through (seconds, MB), and two standard errors of it."""
    if len(seen) < 3:
        return 0.0, float("inf")
    when, megabytes = zip(*seen, strict=True)
    slope, start = statistics.linear_regression(when, megabytes)
    left = sum((size - start - slope * second) ** 2 for second, size in seen)
    return slope, 2 * (left / (len(seen) - 2) / (statistics.pvariance(when) * len(when))) ** 0.5


if __name__ == "__main__":
    sys.exit(main())
