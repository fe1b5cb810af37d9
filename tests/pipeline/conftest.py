"""Small record sets of drawn faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg

from agegender.recordio import Header, RecordSet, RecordWriter, open_records, pack

MakeSet = Callable[..., RecordSet]


def draw(key: int, *, height: int = 48, width: int = 48) -> npt.NDArray[np.uint8]:
    """Return a picture that differs for each key, smooth enough for JPEG."""
    rng = np.random.default_rng(key)
    small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    body: bytes = simplejpeg.encode_jpeg(image, quality=95)
    return body


def payload(key: int, body: bytes, label: Sequence[float] | None = None) -> bytes:
    label = (key % 2, key % 101) if label is None else label
    return pack(Header(np.asarray(label, np.float32), key), body)


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    """Return a function that writes records and opens them.

    ``count`` records with keys 0..count-1, but for the payloads given in ``instead`` by key; in ``shards`` files.
    """

    def make(
        count: int, *, instead: dict[int, bytes] | None = None, shards: int = 1, side: tuple[int, int] = (48, 48)
    ) -> RecordSet:
        ends = [count * shard // shards for shard in range(shards + 1)]
        for shard in range(shards):
            name = "faces.rec" if shards == 1 else f"faces-{shard:05d}-of-{shards:05d}.rec"
            with RecordWriter(tmp_path / name) as writer:
                for key in range(ends[shard], ends[shard + 1]):
                    plain = payload(key, jpeg(draw(key, height=side[0], width=side[1])))
                    writer.write(key, (instead or {}).get(key, plain))
        return open_records(tmp_path / "faces.rec")

    return make
