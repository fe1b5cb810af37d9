"""A batch of faces in memory that is used again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agegender.labels import UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Faces ready for a net.

    ``data`` uint8 (n, h, w, 3) RGB; ``labels`` float32 (n, 2 or more) gender, age (-1 unknown); ``keys`` int64 (n,)
    of the records and ``positions`` int64 (n,) of them in the set; only the first ``valid`` rows count, what follows
    is padding (black, labels, keys and positions -1). ``epoch`` and ``first``, the place in it of the first row, are
    what augmentation is drawn from. The arrays are overwritten once the next batch is asked for:
    copy what has to live longer.
    """

    data: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.float32]
    keys: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    valid: int
    epoch: int = 0
    first: int = 0


def empty_batch(rows: int, *, size: tuple[int, int], width: int) -> Batch:
    """Return a batch of padding with ``rows`` rows, images of ``size`` (height, width), ``width`` labels each."""
    return Batch(
        data=np.zeros((rows, *size, 3), np.uint8),
        labels=np.full((rows, width), UNKNOWN, np.float32),
        keys=np.full(rows, -1, np.int64),
        positions=np.full(rows, -1, np.int64),
        valid=0,
    )


def clear_rows(batch: Batch, first: int) -> None:
    """Make padding of the rows from ``first`` on."""
    batch.data[first:] = 0
    batch.labels[first:] = UNKNOWN
    batch.keys[first:] = -1
    batch.positions[first:] = -1
