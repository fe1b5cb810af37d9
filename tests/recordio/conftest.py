"""MXNet, and small sets of real JPEGs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from agegender.recordio import Header, RecordWriter, pack

MAGIC = struct.pack("<I", 0xCED7230A)


@pytest.fixture(scope="session")
def mx() -> Any:
    """MXNet, where it is installed."""
    from agegender.errors import UsageError
    from agegender.executor.mxnet_runtime import load_mxnet

    try:
        return load_mxnet()
    except UsageError as error:
        pytest.skip(str(error))


def face_jpeg(number: int, *, side: int = 32) -> bytes:
    """Return a JPEG of smooth colours that depend on ``number``."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    image = np.stack([x, y, np.full_like(x, number % 7 / 7)], axis=-1) * 255
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image.astype(np.uint8)), quality=90)


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a set of ``count`` faces with labels [gender, age] = [i % 2, i % 101]."""

    def make(count: int = 12, *, name: str = "train.rec", first_key: int = 0) -> Path:
        with RecordWriter(tmp_path / name) as writer:
            for key in range(first_key, first_key + count):
                label = np.array([key % 2, key % 101], np.float32)
                writer.write(key, pack(Header(label, key), face_jpeg(key)))
        return tmp_path / name

    return make
