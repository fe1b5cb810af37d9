"""Which devices MXNet computes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from agegender.errors import DeviceError
from agegender.executor.mxnet_runtime import load_mxnet

_log = logging.getLogger(__name__)


def contexts(gpu_ids: str | Sequence[int] | None = None) -> list[Any]:
    """Return the MXNet contexts for ``gpu_ids``: ``"0,1"`` or (0, 1) for GPUs, ``"cpu"`` for the processor.

    ``"cpu,cpu"`` gives two contexts on the processor, which stand in for two GPUs in tests. None is the
    first GPU; where there is none, the processor, which is logged. Raises DeviceError for a GPU that isn't
    there, a number given twice and anything that is no number.
    """
    mx = load_mxnet()
    there = int(mx.context.num_gpus())
    words = _words(gpu_ids)
    if not words:
        if there:
            return [mx.gpu(0)]
        _log.info("no GPU is there: computing on the processor (CPU)")
        return [mx.cpu()]
    if all(word == "cpu" for word in words):
        return [mx.cpu(position) for position in range(len(words))]
    numbers = [_number(word, there) for word in words]
    if len(set(numbers)) != len(numbers):
        raise DeviceError(f"--gpu_ids {','.join(words)} names a GPU twice")
    return [mx.gpu(number) for number in numbers]


def _words(gpu_ids: str | Sequence[int] | None) -> list[str]:
    if gpu_ids is None:
        return []
    parts = gpu_ids.split(",") if isinstance(gpu_ids, str) else map(str, gpu_ids)
    return [part.strip().lower() for part in parts if part.strip()]


def _number(word: str, there: int) -> int:
    if not word.isdecimal():
        raise DeviceError(
            f"{word!r} is no GPU: --gpu_ids takes numbers (0,1) or cpu; this machine has {_listed(there)}"
        )
    if int(word) >= there:
        raise DeviceError(f"GPU {word} is not there; this machine has {_listed(there)}")
    return int(word)


def _listed(there: int) -> str:
    if there == 0:
        return "no GPU that this build of MXNet can use"
    return "GPU 0" if there == 1 else f"GPUs 0 to {there - 1}"
