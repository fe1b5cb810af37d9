"""insightface's range header: record 0 says which keys are images and which are identities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agegender.errors import RecordError
from agegender.recordio.layout import Payload, unpack


def find_range(keys: NDArray[np.int64], read: Callable[[int], Payload]) -> tuple[int, int] | None:
    """Return [start, end), the keys of the identities, where the record with key 0 is a range header; else None.

    There the images have the keys 1..start-1, and each identity record, without a body, has the first and last + 1 of
    its images' keys for labels. Our own record 0 may have two labels as well; it has a body, a range header never has.
    ``read`` returns the payload at a position. Source: insightface, ``face2rec2.py``.
    """
    found = np.flatnonzero(keys == 0)
    if not found.size:
        return None
    try:
        header, body = unpack(read(int(found[0])))
    except RecordError:
        return None  # no image record: whoever reads it says what is wrong with it
    if len(body) or len(header.label) < 2 or not np.isfinite(header.label[:2]).all():
        return None
    start, end = (int(value) for value in header.label[:2])
    # A range has at least the image with key 1, so that no gender can be taken for its start.
    if not 2 <= start <= end or end > int(keys.max()) + 1:
        return None
    return start, end
