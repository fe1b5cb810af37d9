"""Aligned faces as files, drawn in code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agegender.dataset.face_record import FaceSample
from agegender.face import encode_jpeg

DrawFiles = Callable[..., list[FaceSample]]


@pytest.fixture
def draw_files(tmp_path: Path) -> DrawFiles:
    """Return a function that writes ``count`` JPEGs of ``size`` pixels and returns their samples."""

    def draw(
        count: int, *, size: int = 48, source: str = "drawn", template: str | None = "utkface"
    ) -> list[FaceSample]:
        folder = tmp_path / "faces" / source
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(count)
        samples = []
        for number in range(count):
            image = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8).repeat(size // 4, 0).repeat(size // 4, 1)
            path = folder / f"{number:04d}.jpg"
            path.write_bytes(encode_jpeg(image, 80))
            samples.append(FaceSample(path, number % 2, number % 101, source, template=template))
        return samples

    return draw
