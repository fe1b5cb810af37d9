"""Start the processes of a training on several devices of this machine, one each, as torchrun does."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from agegender.errors import INTERRUPTED

_POLL_SECONDS = 0.05


def launch(command: Sequence[str], *, processes: int) -> int:
    """Run ``command`` in ``processes`` processes that train together and return their exit code.

    When one fails the others are ended. SIGINT and SIGTERM are passed on, so that they can save; a second one ends
    them at once.
    """
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
    }
    workers: list[subprocess.Popen[bytes]] = []
    asked = 0

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number if asked == 1 else signal.SIGKILL)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for rank in range(processes):
            own = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            # In a session of its own: Ctrl-C of the terminal comes from us alone, and once.
            workers.append(subprocess.Popen(list(command), env=own, start_new_session=True))
        return _watch(workers)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _end(workers)


def leave(code: int) -> NoReturn:
    """End a process that ``launch`` or torchrun started, with exit code ``code``.

    At once, without taking Python apart: DistributedDataParallel leaves threads of its process group behind, even
    after ``destroy_process_group``, and one that still runs then aborts the process, now and then (exit code 134).
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def command_line() -> list[str]:
    """Return the command that started this program."""
    return [sys.executable, *sys.orig_argv[1:]]


def _watch(workers: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all; return the first code that is not 0, at once where a worker failed."""
    while True:
        codes = [worker.poll() for worker in workers]
        failed = [code for code in codes if code not in (None, 0, INTERRUPTED)]
        if failed:
            return 128 - failed[0] if failed[0] < 0 else failed[0]
        if None not in codes:
            return max(code for code in codes if code is not None)
        time.sleep(_POLL_SECONDS)


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what still runs."""
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
    for worker in workers:
        worker.wait()


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
