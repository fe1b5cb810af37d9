"""Which devices a user gets."""

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
    numbers = chosen_gpus(gpu_ids, there=int(mx.context.num_gpus()), library="MXNet")
    return [mx.cpu(position) if number is None else mx.gpu(number) for position, number in enumerate(numbers)]


def chosen_gpus(gpu_ids: str | Sequence[int] | None, *, there: int, library: str) -> list[int | None]:
    """Return the numbers of the GPUs that ``gpu_ids`` means, None for the processor (see ``contexts``).

    ``there`` is how many GPUs ``library``, which the messages name, can use.
    """
    words = _words(gpu_ids)
    if not words:
        if there:
            return [0]
        _log.info("no GPU is there: computing on the processor (CPU)")
        return [None]
    if all(word == "cpu" for word in words):
        return [None] * len(words)
    listed = _listed(there, library)
    numbers = [_number(word, there, listed) for word in words]
    if len(set(numbers)) != len(numbers):
        raise DeviceError(f"--gpu_ids {','.join(words)} names a GPU twice")
    return list(numbers)


def _words(gpu_ids: str | Sequence[int] | None) -> list[str]:
    if gpu_ids is None:
        return []
    parts = gpu_ids.split(",") if isinstance(gpu_ids, str) else map(str, gpu_ids)
    return [part.strip().lower() for part in parts if part.strip()]


def _number(word: str, there: int, listed: str) -> int:
    if not word.isdecimal():
        raise DeviceError(f"{word!r} is no GPU: --gpu_ids takes numbers (0,1) or cpu; this machine has {listed}")
    if int(word) >= there:
        raise DeviceError(f"GPU {word} is not there; this machine has {listed}")
    return int(word)


def _listed(there: int, library: str) -> str:
    if there == 0:
        return f"no GPU that this build of {library} can use"
    return "GPU 0" if there == 1 else f"GPUs 0 to {there - 1}"
