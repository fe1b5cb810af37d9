"""What the rest of the room knows about one face before its pixels are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.labels import UNKNOWN

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class FaceSample:
    """One face of a source: where its image is and what is known about it.

    ``gender`` is 0 female, 1 male, -1 unknown; ``age`` 0..100, -1 unknown. ``subject`` names the person (all faces of
    a subject go to one side of the split), ``group`` is what reports group by, ``split`` is "train", "val", "test" or
    "" (ours to choose), ``template`` the crop template that the image is already in, None for a loose photo in which
    the face has to be found. ``draw`` makes the image of a face that lies in no file (synthetic).

    Where only a bin of ages is known, ``low`` and ``high`` are its first and last year and ``age`` is its middle; both
    are -1 otherwise. ``std`` is the deviation in years of what people estimated, -1 where ``age`` is no estimate.
    ``fold`` names the part of the set's own cross-validation. ``box`` is x1, y1, x2, y2 in pixels of the one face that
    is meant in a photo of several.
    """

    path: Path
    gender: int
    age: int
    source: str
    subject: str = ""
    group: str = ""
    split: str = ""
    template: str | None = None
    draw: Callable[[], npt.NDArray[np.uint8]] | None = None
    low: int = UNKNOWN
    high: int = UNKNOWN
    std: float = UNKNOWN
    fold: str = ""
    box: tuple[float, ...] | None = None

    @property
    def age_range(self) -> tuple[int, int]:
        """Return the first and the last year that the age may be; both -1 where nothing is known."""
        return (self.age, self.age) if self.low < 0 else (self.low, self.high)

    @property
    def label(self) -> tuple[float, ...]:
        """Return the record's label where a set holds bins or deviations: gender, age, low, high, std."""
        return (self.gender, self.age, self.low, self.high, self.std)

    @property
    def image(self) -> npt.NDArray[np.uint8] | None:
        """Draw the face: uint8 (h, w, 3) RGB. None when it lies in the file ``path``.

        Drawn anew at each access, so that a list of a million synthetic faces holds no pixels.
        """
        return None if self.draw is None else self.draw()

    @property
    def sort_key(self) -> tuple[Any, ...]:
        """Return what orders samples the same way on every machine and file system."""
        return (self.source, self.path.as_posix(), self.gender, self.age, self.box or ())
