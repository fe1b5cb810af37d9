"""How unsure a net is of its answers, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
NUMBERS = ("age_deviation", "age_entropy", "gender_entropy")


@dataclass(frozen=True, eq=False)
class Doubt:
    """How unsure n faces' answers are, float32 (n,); None of what the net doesn't tell.

    ``age_deviation`` is the standard deviation of the ages over the passes, in years; None where no dropout reaches the
    age. ``age_entropy`` and ``gender_entropy`` are those of the mean distributions (predictive entropy), in bits: at
    most log2(101) = 6.658 and 1.
    """

    age_deviation: Floats | None = None
    age_entropy: Floats | None = None
    gender_entropy: Floats | None = None

    def of(self, row: int) -> dict[str, float | None]:
        """Return the numbers of one face, by their names here."""
        named = {name: getattr(self, name) for name in NUMBERS}
        return {name: None if values is None else float(values[row]) for name, values in named.items()}


def entropy(probabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return Shannon's entropy -sum p log2 p along the last axis, in bits; 0 log2 0 is 0."""
    values = np.asarray(probabilities, np.float64)
    logs = np.log2(values, out=np.zeros_like(values), where=values > 0)
    return np.asarray(np.maximum(-(values * logs).sum(axis=-1), 0))
