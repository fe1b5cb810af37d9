"""A face as the API returns it and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.doubt import NUMBERS


@dataclass(frozen=True, eq=False)
class Face:
    """What is known of one face.

    ``box`` (4,) x1, y1, x2, y2 and ``landmarks`` (5, 2) x, y in pixels; ``score`` of the detector, 0..1. ``gender`` is
    "female" or "male" and ``gender_probability`` that gender's; ``age`` in years, expected; ``age_interval`` holds it
    with probability 0.8; ``age_distribution`` (101,) sums to 1; ``embedding`` (k,) is the net's ``fc1``. What the model
    doesn't tell is None. A predictor with ``min_confidence`` leaves a gender None that is not sure enough, and its
    probability there. One with ``mc_dropout`` adds the standard deviation of the age over the passes, in years, and the
    entropies of the mean answers, in bits.
    """

    box: npt.NDArray[np.float32]
    landmarks: npt.NDArray[np.float32]
    score: float
    gender: str | None
    gender_probability: float | None
    age: float | None
    age_interval: tuple[float, float] | None
    age_distribution: npt.NDArray[np.float32] | None
    embedding: npt.NDArray[np.float32] | None = None
    age_deviation: float | None = None
    age_entropy: float | None = None
    gender_entropy: float | None = None

    def to_json(self, *, distribution: bool = False) -> dict[str, Any]:
        """Return JSON-able values, pixels and years rounded to tenths; ``distribution`` adds ``age_distribution``."""
        value: dict[str, Any] = {
            "box": _tenths(self.box),
            "landmarks": [_tenths(point) for point in self.landmarks],
            "score": round(self.score, 4),
            "gender": self.gender,
            "gender_probability": None if self.gender_probability is None else round(self.gender_probability, 4),
            "age": None if self.age is None else round(self.age, 1),
            "age_interval": None if self.age_interval is None else [round(end, 1) for end in self.age_interval],
        }
        unsure = {name: getattr(self, name) for name in NUMBERS}
        value |= {name: round(number, 3) for name, number in unsure.items() if number is not None}
        if distribution:
            mass = self.age_distribution
            value["age_distribution"] = None if mass is None else [round(float(share), 6) for share in mass]
        return value


def _tenths(values: npt.NDArray[np.float32]) -> list[float]:
    return [round(float(value), 1) for value in values]
