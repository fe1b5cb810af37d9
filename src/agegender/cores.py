"""How many processor cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores() -> int:
    """Return the cores this process may use: its affinity mask, cut to the container's CPU quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _cgroup_quota(Path("/sys/fs/cgroup/cpu.max"))
    if quota is not None:
        cores = min(cores, max(1, int(quota)))
    return cores


def _cgroup_quota(path: Path) -> float | None:
    """Return the cores that a cgroup v2 ``cpu.max`` file allows, None where there is no limit."""
    try:
        limit, period = path.read_text().split()
    except (OSError, ValueError):
        return None  # no cgroup v2 here: nothing limits us but the affinity mask
    return None if limit == "max" else float(limit) / float(period)
