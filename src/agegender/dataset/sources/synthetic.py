"""Synthetic faces: drawn by us, for demonstrations and tests, and never to be mixed up with people.

Their looks follow the labels (``synthetic_face``), so a network learns something from them, but nothing that holds
for photographs. Face number i of a seed is always the same face. Terms: none, they are ours (MIT).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import Problems
from agegender.dataset.sources.base import Source
from agegender.dataset.sources.synthetic_face import TEMPLATE, draw_face
from agegender.errors import UsageError

NAME = "synthetic"
OLDEST = 90
SKIN_TONES = 5


class Synthetic(Source):
    """``count`` drawn faces of ``seed``; never found under the data root, only asked for."""

    name = NAME
    template = TEMPLATE
    homepage = ""
    folders = ()
    hint = "--synthetic N draws N faces for trying things out"

    def __init__(self, count: int = 0, *, seed: int = 0, size: int = 112) -> None:
        if count < 0:
            raise UsageError(f"--synthetic {count}: the number of faces can't be negative")
        self.count, self.seed, self.size = count, seed, size

    def found(self, root: Path) -> bool:
        """Tell whether any face was asked for; nothing lies under ``root``."""
        return self.count > 0

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the faces; each is drawn when its ``image`` is read."""
        for index in range(self.count):
            yield synthetic_sample(index, seed=self.seed, size=self.size)


def synthetic_sample(index: int, *, seed: int = 0, size: int = 112) -> FaceSample:
    """Return face number ``index`` of ``seed``: labels now, pixels (uint8 size x size x 3 RGB) when asked for."""
    rng = np.random.default_rng((seed, index, 0))
    gender = int(rng.integers(2))
    age = int(rng.integers(OLDEST + 1))
    tone = int(rng.integers(SKIN_TONES))
    return FaceSample(
        Path(f"{NAME}/{seed}/{index:07d}.jpg"),
        gender,
        age,
        NAME,
        group=f"tone{tone}",
        template=TEMPLATE,
        draw=partial(_draw, seed, index, gender, age, tone, size),
    )


def _draw(seed: int, index: int, gender: int, age: int, tone: int, size: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng((seed, index, 1))
    return draw_face(rng, gender=gender, age=age, tone=tone, size=size)
