"""Randomness that depends only on (seed, epoch, place in the epoch), never on threads or on what came before."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

# SplitMix64 (Steele, Lea and Flood, 2014): a good hash of a counter, and whole arrays of it in a few numpy calls.
_STEP = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


def uniform(
    slots: npt.NDArray[np.int64], *, seed: int, epoch: int, streams: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Return (len(streams), n) numbers in [0, 1): column i belongs to place ``slots[i]`` of that epoch.

    Each stream is independent of the others, so that drawing from one more leaves the rest as they are.
    """
    counter = slots.astype(np.uint64) * np.uint64(_STEP) + _starts(seed, epoch, streams)[:, None]
    return (_mix(counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def generator(*, seed: int, epoch: int) -> np.random.Generator:
    """Return the generator for draws that concern an epoch as a whole, such as its order."""
    return np.random.Generator(np.random.PCG64([seed & _MASK, epoch & _MASK]))


@lru_cache(maxsize=64)
def _starts(seed: int, epoch: int, streams: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    starts = [_mix_integer(_mix_integer(_mix_integer(seed) + epoch) + stream) for stream in streams]
    return np.array(starts, np.uint64)


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _mix_integer(value: int) -> int:
    """Do as ``_mix`` on a Python integer, which numpy would warn about when it overflows."""
    value = (value + _STEP) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
