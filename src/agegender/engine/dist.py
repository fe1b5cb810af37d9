"""Several workers: who we are, as MXNet's launchers say in ``DMLC_*`` variables."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Any

from agegender.errors import UsageError
from agegender.executor.mxnet_runtime import load_mxnet


@dataclass(frozen=True, slots=True)
class Workers:
    """This worker's ``rank`` of ``count``, and the key-value store over which gradients meet (or its name)."""

    rank: int
    count: int
    kvstore: Any

    @property
    def alone(self) -> bool:
        """Whether there is one worker."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this worker writes, scores and logs for all."""
        return self.rank == 0

    def leave_at_once(self) -> None:
        """Don't wait for the others at exit, as MXNet does by default: after an error they wait for us in turn."""
        if not self.alone:
            load_mxnet().base._LIB.MXKVStoreSetBarrierBeforeExit(self.kvstore.handle, ctypes.c_int(0))


def join_workers(kvstore: str | None) -> Workers:
    """Connect to the other workers where ``DMLC_*`` variables are set, else return one worker alone.

    Raises UsageError where ``dist_*`` is asked for and they are not set.
    """
    launched = "DMLC_PS_ROOT_URI" in os.environ
    name = kvstore or ("dist_sync" if launched else "device")
    if not name.startswith("dist"):
        return Workers(0, 1, name)
    if not launched:
        raise UsageError(
            f"kvstore {name!r} needs the DMLC_* variables of a launcher, such as tools/launch.py -n 2 python train.py"
        )
    store = load_mxnet().kv.create(name)
    return Workers(int(store.rank), int(store.num_workers), store)
