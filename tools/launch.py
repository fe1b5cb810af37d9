"""Start a distributed training on this machine: a scheduler, servers and workers, which live and die together.

    python tools/launch.py -n 2 python train.py --network m50

MXNet's own launcher does not run on Python 3.9 and later. Workers find one another through ``DMLC_*`` variables; the
same variables, set by hand on each, join several machines.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from agegender.cores import usable_cores
from agegender.engine.torch_launch import free_port

# Importing MXNet with DMLC_ROLE=server or scheduler runs that role and exits.
SERVE = "from agegender.executor.mxnet_runtime import load_mxnet; load_mxnet()"
POLL_SECONDS = 0.1
# What is left gets this long to end by itself: servers once the workers are done, all once they are asked to stop.
GRACE_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


class Process:
    """One of the processes: its name, for its output, and how to end it."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        self.name = name
        # A session of its own: whatever it starts in turn ends with it.
        self._child = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        self._readers = [
            threading.Thread(target=self._forward, args=(source, target), daemon=True)
            for source, target in ((self._child.stdout, sys.stdout), (self._child.stderr, sys.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def exit_code(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._child.poll()

    def stop(self, number: signal.Signals) -> None:
        """Send a signal to it and all it started."""
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            return  # it is gone already, which is what we want

    def finish_output(self) -> None:
        """Wait until all it wrote is printed."""
        for reader in self._readers:
            reader.join(timeout=GRACE_SECONDS)

    def _forward(self, source: IO[bytes] | None, target: IO[str]) -> None:
        assert source is not None
        for line in source:
            target.write(f"[{self.name}] {line.decode(errors='replace').rstrip()}\n")
            target.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command on all workers; return 0, or the exit code of the first process that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--workers", type=int, required=True, help="number of workers")
    parser.add_argument("-s", "--servers", type=int, default=1, help="number of servers (default: 1)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what each worker runs")
    args = parser.parse_args(argv)
    if args.workers < 1 or args.servers < 1 or not args.command:
        parser.error("give -n WORKERS (1 or more), at least one server, and a command")
    signal.signal(signal.SIGTERM, _interrupt)
    processes: list[Process] = []
    try:
        processes += start(args.command, workers=args.workers, servers=args.servers)
        return watch(processes)
    except KeyboardInterrupt:
        print("launch.py: interrupted, stopping all", file=sys.stderr)
        return 130
    finally:
        stop_all(processes)


def start(command: Sequence[str], *, workers: int, servers: int) -> list[Process]:
    """Start the scheduler, the servers and the workers."""
    environment = {
        **os.environ,
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(free_port()),
        "DMLC_NUM_WORKER": str(workers),
        "DMLC_NUM_SERVER": str(servers),
        # Without it MXNet asks for an interface and waits where there is no network.
        "DMLC_INTERFACE": os.environ.get("DMLC_INTERFACE", "lo"),
        "PYTHONUNBUFFERED": "1",
    }
    source = str(Path(__file__).resolve().parents[1] / "src")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    environment.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // workers)))
    serve = [sys.executable, "-c", SERVE]
    processes = [Process("scheduler", serve, environment | {"DMLC_ROLE": "scheduler"})]
    processes += [Process(f"server {n}", serve, environment | {"DMLC_ROLE": "server"}) for n in range(servers)]
    processes += [Process(f"worker {n}", command, environment | {"DMLC_ROLE": "worker"}) for n in range(workers)]
    return processes


def watch(processes: Sequence[Process]) -> int:
    """Wait for the workers; as soon as anything fails, name it and return its exit code."""
    workers = [process for process in processes if process.name.startswith("worker")]
    while any(process.exit_code() is None for process in workers):
        for process in processes:
            code = process.exit_code()
            # A scheduler or server that is gone before the workers has failed, whatever it says.
            if code or (code == 0 and process not in workers and any(w.exit_code() is None for w in workers)):
                # They end in any order once all workers are through.
                if code == 0 and _ends_soon(workers):
                    continue
                process.finish_output()
                print(f"launch.py: {process.name} ended with {code}, stopping all", file=sys.stderr)
                return _as_exit_code(code)
        time.sleep(POLL_SECONDS)
    return next((_as_exit_code(code) for process in workers if (code := process.exit_code())), 0)


def stop_all(processes: Sequence[Process]) -> None:
    """End what still runs: a moment to finish, then SIGTERM, then SIGKILL."""
    failed = any(process.exit_code() is None for process in processes if process.name.startswith("worker"))
    if not failed:
        _wait(processes)
    for number in (signal.SIGTERM, signal.SIGKILL):
        running = [process for process in processes if process.exit_code() is None]
        for process in running:
            process.stop(number)
        # A worker that was told to stop may hang in the store's farewell to one that is dead.
        _wait(running, seconds=2.0)
    for process in processes:
        process.finish_output()


def _wait(processes: Sequence[Process], *, seconds: float = GRACE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(process.exit_code() is None for process in processes):
        time.sleep(POLL_SECONDS)


def _ends_soon(workers: Sequence[Process]) -> bool:
    _wait(workers)
    return all(worker.exit_code() is not None for worker in workers)


def _as_exit_code(code: int) -> int:
    """Return what a shell would: 128 + the signal for a process that was killed, 1 for an untimely success."""
    return 128 - code if code < 0 else code or 1


def _die_with_parent() -> None:
    """Ask Linux to end this process when the launcher dies, even by kill -9."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
