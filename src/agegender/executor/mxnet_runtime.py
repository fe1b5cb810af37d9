"""Loading MXNet: once, with its threads and its quirks set before the library starts."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from types import ModuleType

import numpy as np

from agegender.cores import usable_cores
from agegender.errors import DeviceError

_log = logging.getLogger(__name__)
_loaded: ModuleType | None = None


def load_mxnet(*, threads: int | None = None) -> ModuleType:
    """Return the module ``mxnet``, imported on the first call (1.6 s).

    ``threads`` is how many OpenMP threads its operators use; the default is the cores that this process may use, or
    OMP_NUM_THREADS where that is set. It only counts on the first call: the library reads it when it starts.
    Raises DeviceError where MXNet isn't installed or can't start.
    """
    global _loaded
    if _loaded is not None:
        return _loaded
    if importlib.util.find_spec("mxnet") is None:
        raise DeviceError(
            "the mxnet executor needs MXNet 1.9.1, which is not installed here; "
            "pip install 'agegender[mxnet]' (or cu101, cu112 for an NVIDIA GPU) installs it"
        )
    _prepare_environment(threads)
    _restore_numpy_aliases()
    with warnings.catch_warnings():
        # MXNet 1.9.1 asks NumPy for functions that are on their way out, and compares versions with distutils.
        warnings.simplefilter("ignore")
        try:
            import mxnet
        except (ImportError, OSError, AttributeError) as error:
            raise DeviceError(f"MXNet is installed but does not start: {error}") from error
    _loaded = mxnet
    return _loaded


def _prepare_environment(threads: int | None) -> None:
    """Set what the library reads once, when it starts. What the user has set stays."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    # MXNet's own default is every core of the machine, also where the process is bound to two of them.
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    _log.debug("MXNet uses %s OpenMP threads", os.environ["OMP_NUM_THREADS"])


def _restore_numpy_aliases() -> None:
    """Give back ``np.bool``, which NumPy 1.24 removed and MXNet's import still uses."""
    if "bool" not in vars(np):
        setattr(np, "bool", bool)  # noqa: B010 - mypy knows that the alias is gone
