"""What the rest of the room knows about one face before its pixels are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class FaceSample:
    """One face of a source: where its image is and what is known about it.

    ``gender`` is 0 female, 1 male, -1 unknown; ``age`` 0..100, -1 unknown. ``subject`` names the person (all faces of
    a subject go to one side of the split), ``group`` is what reports group by, ``split`` is "train", "val", "test" or
    "" (ours to choose), ``template`` the crop template that the image is already in, None for a loose photo in which
    the face has to be found. ``draw`` makes the image of a face that lies in no file (synthetic).
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

    @property
    def image(self) -> npt.NDArray[np.uint8] | None:
        """Draw the face: uint8 (h, w, 3) RGB. None when it lies in the file ``path``.

        Drawn anew at each access, so that a list of a million synthetic faces holds no pixels.
        """
        return None if self.draw is None else self.draw()

    @property
    def sort_key(self) -> tuple[Any, ...]:
        """Return what orders samples the same way on every machine and file system."""
        return (self.source, self.path.as_posix(), self.gender, self.age)
