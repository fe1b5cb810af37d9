"""Faces for the tests of the report, made from a few columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from agegender.report.faces import NAMES, Faces


def make_faces(n: int, **columns: Any) -> Faces:
    """Return n faces; columns that are not given are unknown: names "" and numbers nan."""
    names = {name: [str(value) for value in columns.pop(name, [""] * n)] for name in NAMES}
    numbers = {
        name: np.array(columns.pop(name, np.full(n, np.nan)), float)
        for name in ("score", "gender", "age", "low", "high", "std", "male", "predicted")
    }
    return Faces(names=names, **numbers, **columns)


def random_faces(n: int = 300, *, seed: int = 1, **columns: Any) -> Faces:
    """Return faces whose ages are known and estimated with an error of 6 years, genders with some doubt."""
    rng = np.random.default_rng(seed)
    age, gender = rng.integers(0, 101, n), rng.integers(0, 2, n)
    predicted = np.round(np.clip(age + rng.normal(0, 6, n), 0, 100), 3)
    male = np.round(np.clip(gender * 0.4 + rng.random(n) * 0.6, 0, 1), 4)
    reach = {share: np.array([-1, 1]) * width for share, width in ((0.5, 4), (0.8, 8), (0.9, 10))}
    columns = {
        "key": range(n),
        "group": [f"{number % 3}" for number in range(n)],
        "source": ["UTKFace"] * n,
        "age": age,
        "gender": gender,
        "predicted": predicted,
        "male": male,
        "ends": {share: np.round(predicted[:, None] + ends, 2) for share, ends in reach.items()},
        **columns,
    }
    return make_faces(n, **columns)
