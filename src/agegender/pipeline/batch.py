"""A batch of faces in memory that is used again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.input_shape import Size, face_memory
from agegender.labels import BIN_WIDTH, LABEL_WIDTH, UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Faces ready for a net.

    ``data`` uint8 (n, h, w, 3) RGB, or float32 (n, 1, 1, d): an embedding is one pixel of d channels. ``labels``
    float32 (n, 2 or more) gender, age (-1 unknown); ``keys`` int64 (n,) of the records and ``positions`` int64 (n,) of
    them in the set; only the first ``valid`` rows count, what follows is padding (black, labels, keys and positions
    -1). ``epoch`` and ``first``, the place in it of the first row, are what augmentation is drawn from. ``binned`` says
    that the labels are the five of ``labels.BIN_LABELS``, not two and perhaps some that mean nothing here. The arrays
    are overwritten once the next batch is asked for: copy what has to live longer.
    """

    data: npt.NDArray[Any]
    labels: npt.NDArray[np.float32]
    keys: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    valid: int
    epoch: int = 0
    first: int = 0
    binned: bool = False

    @property
    def known_labels(self) -> npt.NDArray[np.float32]:
        """Return the labels that have a meaning: (n, 2), or (n, 5) where bins or deviations are labelled."""
        return self.labels[:, : known_width(binned=self.binned)]


def known_width(*, binned: bool) -> int:
    """Return how many labels of a face have a meaning."""
    return BIN_WIDTH if binned else LABEL_WIDTH


def empty_batch(rows: int, *, size: Size, width: int, binned: bool = False) -> Batch:
    """Return a batch of padding with ``rows`` rows, faces of ``size``, ``width`` labels each."""
    shape, kind = face_memory(size)
    return Batch(
        data=np.zeros((rows, *shape), kind),
        labels=np.full((rows, width), UNKNOWN, np.float32),
        keys=np.full(rows, -1, np.int64),
        positions=np.full(rows, -1, np.int64),
        valid=0,
        binned=binned,
    )


def clear_rows(batch: Batch, first: int) -> None:
    """Make padding of the rows from ``first`` on."""
    batch.data[first:] = 0
    batch.labels[first:] = UNKNOWN
    batch.keys[first:] = -1
    batch.positions[first:] = -1
