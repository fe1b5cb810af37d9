"""Loading ONNX Runtime, and the providers (devices) that it computes on."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from agegender.cores import usable_cores
from agegender.errors import DeviceError
from agegender.executor.devices import chosen_gpus
from agegender.executor.driver import driver_gpus

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
_loaded: ModuleType | None = None


def load_onnxruntime() -> ModuleType:
    """Return the module ``onnxruntime``, imported on the first call (0.2 s).

    Raises DeviceError where ONNX Runtime (or ``onnx``, which writes what it runs) isn't installed or can't start.
    """
    global _loaded
    if _loaded is not None:
        return _loaded
    for name in ("onnxruntime", "onnx"):
        if importlib.util.find_spec(name) is None:
            raise DeviceError(
                f"the onnxruntime executor needs {name}, which is not installed here; "
                "pip install 'agegender[onnx]' installs it"
            )
    # From 1.29 on it tells its maker of each session unless this is set before it is loaded. What runs here is nobody's
    # business; whoever wants it sets the variable to 0.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        raise DeviceError(f"ONNX Runtime is installed but does not start: {error}") from error
    # Warnings about hardware that it looks for in vain say nothing to users.
    onnxruntime.set_default_logger_severity(3)
    _loaded = onnxruntime
    return _loaded


def choose_providers(
    gpu_ids: str | Sequence[int] | None = None, *, providers: Sequence[str] | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Return ONNX Runtime's providers, best first, as (name, options): one device.

    ``providers`` are ONNX Runtime's own names and win; else ``gpu_ids`` as in ``devices.contexts``, of which the first
    is taken. Raises DeviceError for a provider that this build of ONNX Runtime does not have and for a GPU that isn't
    there.
    """
    there = load_onnxruntime().get_available_providers()
    if providers is not None:
        missing = [name for name in providers if name not in there]
        if missing:
            raise DeviceError(f"this build of ONNX Runtime has no {', '.join(missing)} (it has {', '.join(there)})")
        return [(name, {}) for name in providers]
    gpu = chosen_gpus(gpu_ids, there=_gpu_count() if CUDA in there else 0, library="ONNX Runtime")[0]
    return [(CPU, {})] if gpu is None else [(CUDA, {"device_id": gpu}), (CPU, {})]


def thread_count(threads: int | None = None) -> int:
    """Return ``threads``, where that is None or 0 OMP_NUM_THREADS, else the usable cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return threads or (int(given) if given.isdecimal() else 0) or usable_cores()


def session_options(*, threads: int | None = None) -> Any:
    """Return session options: ``threads`` for one operator, or as many as ``thread_count`` says."""
    options = load_onnxruntime().SessionOptions()
    options.intra_op_num_threads = thread_count(threads)
    options.inter_op_num_threads = 1
    # Each session has threads of its own. Those that wait would keep cores busy that another session, or another
    # program, needs: MTCNN's three nets took twice as long beside one busy process.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _gpu_count() -> int:
    return driver_gpus()
