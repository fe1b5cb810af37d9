"""What a figure was measured on: the machine, without its name, the versions, the memory taken."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import agegender
from agegender.cores import usable_cores

# What computes; only what is loaded had a part in a figure.
_LIBRARIES = ("numpy", "mxnet", "torch", "onnxruntime", "cv2", "simplejpeg")


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the libraries that are loaded."""
    found = {"agegender": agegender.__version__, "Python": platform.python_version()}
    for name in _LIBRARIES:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            found[name] = str(version)
    return found


def machine() -> dict[str, Any]:
    """Return system, processor, usable cores, memory in bytes (None where unknown) and GPUs in use; no host name."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": usable_cores(),
        "memory": _memory(),
        "gpus": [str(cuda.get_device_name(number)) for cuda in _cuda() for number in range(cuda.device_count())],
    }


def peak_memory() -> int | None:
    """Return the bytes that this process has taken at most so far; None where the system doesn't say."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def peak_gpu_memory() -> int | None:
    """Return the bytes that PyTorch has taken at most on this process's GPUs; None where it uses none."""
    peaks = [int(cuda.max_memory_allocated(number)) for cuda in _cuda() for number in range(cuda.device_count())]
    return sum(peaks) if peaks else None


def _cuda() -> list[Any]:
    """Return PyTorch's view of GPUs, where it is loaded and uses one: asking starts nothing."""
    torch = sys.modules.get("torch")
    return [torch.cuda] if torch is not None and torch.cuda.is_initialized() else []


def _processor() -> str:
    """Return the processor's model, or what there is to say of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []  # no Linux
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None  # Windows
