"""Networks as MXNet symbols: backbones, heads and MTCNN. Graphs only: no files, no global configuration."""

from __future__ import annotations

import numpy as np

# MXNet 1.9.1 still uses the name that numpy 1.24 removed, and numpy 2 has back.
vars(np).setdefault("bool", np.bool_)

from symbols.network import Network  # noqa: E402
from symbols.registry import HEADS, NETWORKS, build  # noqa: E402

__all__ = ["HEADS", "NETWORKS", "Network", "build"]
