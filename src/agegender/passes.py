"""What several stochastic passes of a net say together: their mean, how far they are apart, and their entropy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.doubt import Doubt, entropy
from agegender.readout import Reading, Readout

Floats = npt.NDArray[np.float32]


def plain(reading: Reading) -> Reading:
    """Return what the net says with nothing dropped, whether or not it was asked several times."""
    return reading if reading.plain is None else reading.plain


def read_passes(readout: Readout, outputs: Mapping[str, npt.NDArray[Any]], *, steady: Collection[str] = ()) -> Reading:
    """Return the mean of the passes of n faces, with their ``doubt``; the embedding is the plain one.

    ``outputs`` are those of ``executor.monte_carlo``: (n, 1 + passes, ...) by name, the plain one first; ``steady``
    names those that no dropout reaches. Raises what ``Readout.read`` raises.
    """
    count, passes = next(iter(outputs.values())).shape[:2]
    every = readout.read({name: array.reshape(count * passes, *array.shape[2:]) for name, array in outputs.items()})

    def apart(values: Floats | None) -> Floats | None:
        return None if values is None else values.reshape(count, passes, *values.shape[1:])

    gender, age, mass, embedding = (apart(v) for v in (every.gender, every.age, every.distribution, every.embedding))
    undropped = Reading(gender=_first(gender), age=_first(age), distribution=_first(mass), embedding=_first(embedding))
    gender_mean, age_mean, mass_mean = (_mean(values) for values in (gender, age, mass))
    part = readout.distribution if readout.age is None else readout.age
    moves = part is not None and not set(part.outputs) <= set(steady)
    doubt = Doubt(
        age_deviation=_deviation(age) if moves else None,
        age_entropy=None if mass_mean is None else entropy(mass_mean).astype(np.float32),
        gender_entropy=None if gender_mean is None else entropy(gender_mean).astype(np.float32),
    )
    return Reading(
        gender=gender_mean,
        age=age_mean,
        distribution=mass_mean,
        embedding=undropped.embedding,
        doubt=doubt,
        plain=undropped,
    )


def _mean(values: Floats | None) -> Floats | None:
    return None if values is None else values[:, 1:].mean(axis=1, dtype=np.float64).astype(np.float32)


def _deviation(values: Floats | None) -> Floats | None:
    """Return the sample standard deviation over the passes."""
    return None if values is None else values[:, 1:].std(axis=1, ddof=1, dtype=np.float64).astype(np.float32)


def _first(values: Floats | None) -> Floats | None:
    return None if values is None else values[:, 0]
