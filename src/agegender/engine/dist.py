"""Several workers: who we are, as MXNet's launchers say in ``DMLC_*`` variables."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from agegender.engine.workers import Workers
from agegender.errors import UsageError
from agegender.executor.mxnet_runtime import load_mxnet


def join_workers(kvstore: str | None) -> tuple[Workers, Any]:
    """Connect to the other workers where ``DMLC_*`` variables are set, else return one worker alone.

    With them comes the key-value store over which gradients meet, or its name.

    Raises UsageError where ``dist_*`` is asked for and they are not set.
    """
    launched = "DMLC_PS_ROOT_URI" in os.environ
    name = kvstore or ("dist_sync" if launched else "device")
    if not name.startswith("dist"):
        return Workers(), name
    if not launched:
        raise UsageError(
            f"kvstore {name!r} needs the DMLC_* variables of a launcher, such as tools/launch.py -n 2 python train.py"
        )
    store = load_mxnet().kv.create(name)
    return Workers(int(store.rank), int(store.num_workers)), store


def leave_at_once(store: Any) -> None:
    """Don't wait for the others at exit, as MXNet does by default: after an error they wait for us in turn."""
    load_mxnet().base._LIB.MXKVStoreSetBarrierBeforeExit(store.handle, ctypes.c_int(0))
