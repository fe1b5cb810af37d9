"""A Ray of this machine that ends with its user, or a cluster that is joined; quiet but for what goes wrong."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from agegender.cores import usable_cores
from agegender.errors import AgeGenderError, UsageError
from agegender.packages import require_packages

LOCAL, AUTO = "local", "auto"
_KNOCK_SECONDS = 10.0
# No pictures go through it but crops, a few per worker at a time.
_OBJECT_STORE_BYTES = 200 * 2**20
_PACKAGE = str(Path(__file__).resolve().parents[1])


def require_ray() -> None:
    """Raise UsageError, with the way to it, where Ray is not installed."""
    require_packages("ray", extra="ray")


@contextmanager
def ray_session(address: str, *, flag: str, cores: int | None = None) -> Iterator[ModuleType]:
    """Yield ray, connected: to a Ray of this machine that ends with the context, or to the cluster at ``address``.

    A Ray that this process is connected to already is used as it is, and left running. ``cores`` are those of this
    machine that a Ray started here may take, by default all. ``flag`` names the address in the error.

    Raises UsageError where Ray is missing or no cluster runs at ``address``.
    """
    require_ray()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Notes of Ray's C++ parts on its own actors, which nobody can act on. Both are read when ray is imported.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    # After its import, which shows all its own warnings.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.")
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        # The workers of a checkout that isn't installed find the package here.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_PACKAGE, os.environ.get("PYTHONPATH"))))
        size = {"num_cpus": cores or usable_cores(), "object_store_memory": _OBJECT_STORE_BYTES}
        options |= {"include_dashboard": False, **size}
    try:
        _connect(ray, address, flag, options)
        yield ray
    finally:
        ray.shutdown()


def error_of_ray(error: BaseException) -> AgeGenderError:
    """Return the error of ours that Ray wraps, or one line of what Ray says."""
    inner: BaseException | None = error
    while inner is not None:
        # Asked first: Ray's error is of the class of what it wraps, with a traceback for a message.
        wrapped = getattr(inner, "cause", None)
        if wrapped is None and isinstance(inner, AgeGenderError):
            # Ray adds advice on retries to the message, and its own class to ours.
            ours = next(kind for kind in type(inner).__mro__ if kind.__module__ == AgeGenderError.__module__)
            return ours(_line(inner, 0))  # type: ignore[no-any-return]
        inner = wrapped or inner.__cause__
    return AgeGenderError(f"Ray ended the job: {type(error).__name__}: {_line(error, -1)}")


def _connect(ray: ModuleType, address: str, flag: str, options: dict[str, Any]) -> None:
    try:
        _knock(os.environ.get("RAY_ADDRESS", address) if address == AUTO else address)
        with _late_interrupt(), _quiet_start():
            ray.init(address=address, **options)
    except (ConnectionError, TimeoutError, socket.gaierror, ValueError) as error:
        if ray.is_initialized():
            raise
        raise UsageError(
            f"{flag} {address}: no Ray cluster is there; ray start --head starts one here, and {flag} {LOCAL} "
            f"needs none ({_line(error, 0)})"
        ) from error
    except Exception as error:
        # Ray's own classes for a start that fails are Exception and RuntimeError themselves.
        if type(error) not in (Exception, RuntimeError):
            raise
        advice = "it waits for 30 seconds, which a busy machine may need longer than; try again when it is idle"
        raise AgeGenderError(f"{flag} {address}: Ray did not start: {_line(error, 0)} ({advice})") from error


def _knock(address: str) -> None:
    """Raise OSError where nobody answers at HOST:PORT: Ray would wait there for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


def _line(error: BaseException, number: int) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[number]


@contextmanager
def _late_interrupt() -> Iterator[None]:
    """Put Ctrl-C off until the end of the context: Ray crashes where it meets one while it starts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep back what Ray's C++ parts write to standard error while they start, unless they don't."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        try:
            os.dup2(written.fileno(), 2)
            yield
        except BaseException:
            written.seek(0)
            os.write(kept, written.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
