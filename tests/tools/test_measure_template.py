"""Measuring a template finds the points that a detector reports, as shares of the side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from agegender.errors import DataError
from agegender.face.align import warp
from agegender.face.detector import Detection, largest_central
from agegender.face.photo import read_photo, write_photo
from agegender.face.templates import get_template
from tools.measure_template import measure


def test_a_warped_face_is_measured_in_its_template(root: Path, tmp_path: Path) -> None:
    from agegender.deploy.mtcnn import open_mtcnn

    detector = open_mtcnn()
    photo = read_photo(root / "test.jpg")
    face = largest_central(detector.detect(photo), photo.shape)
    assert face is not None
    template = get_template("utkface")
    write_photo(tmp_path / "chip.png", warp(photo, face.landmarks, template, size=200, border="black"))
    points = measure([tmp_path / "chip.png"], detector)
    assert points.shape == (1, 5, 2)
    assert np.abs(points[0] - template.pixels(1)).max() < 0.05


def test_no_face_at_all_is_said(tmp_path: Path) -> None:
    class Blind:
        def detect(self, image: npt.NDArray[np.uint8], *, min_face: float | None = None) -> list[Detection]:
            return []

    write_photo(tmp_path / "gray.png", np.full((40, 40, 3), 127, np.uint8))
    with pytest.raises(DataError, match="finds no face in the 1 images"):
        measure([tmp_path / "gray.png"], Blind())
