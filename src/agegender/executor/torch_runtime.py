"""Loading PyTorch, and the devices it computes on."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from agegender.cores import usable_cores
from agegender.errors import DeviceError
from agegender.executor.devices import chosen_gpus

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)
_loaded: ModuleType | None = None


def load_torch(*, threads: int | None = None) -> ModuleType:
    """Return the module ``torch``, imported on the first call (about a second).

    ``threads`` is how many threads its operators use; the default is the cores that this process may use, or
    OMP_NUM_THREADS where that is set. It only counts on the first call. Raises DeviceError where PyTorch isn't
    installed or can't start.
    """
    global _loaded
    if _loaded is not None:
        return _loaded
    if importlib.util.find_spec("torch") is None:
        raise DeviceError(
            "the torch executor needs PyTorch, which is not installed here; pip install 'agegender[torch]' installs it"
        )
    try:
        import torch
    except (ImportError, OSError) as error:
        raise DeviceError(f"PyTorch is installed but does not start: {error}") from error
    if threads is not None or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(usable_cores() if threads is None else threads)
    _log.debug("PyTorch uses %d threads", torch.get_num_threads())
    _loaded = torch
    return _loaded


def torch_devices(gpu_ids: str | Sequence[int] | None = None) -> list[torch.device]:
    """Return PyTorch's devices for ``gpu_ids``, by the rules of ``devices.contexts``.

    Raises DeviceError for a GPU that isn't there, a number given twice and anything that is no number.
    """
    torch = load_torch()
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    numbers = chosen_gpus(gpu_ids, there=there, library="PyTorch")
    return [torch.device("cpu") if number is None else torch.device("cuda", number) for number in numbers]
