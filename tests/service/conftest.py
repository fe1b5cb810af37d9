"""The shipped model and detectors, opened once, and a service of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from agegender import Predictor
from agegender.deploy.detectors import open_detector
from agegender.face.detector import Detector
from agegender.face.photo import read_photo
from tests.service.browsing import astronaut, browser, context, open_tab
from tests.service.running import Photo, Running, jpeg, running

__all__ = ["astronaut", "browser", "context", "open_tab"]


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return Predictor("ssrnet", gpu_ids="cpu", threads=1)


@pytest.fixture(scope="session")
def detectors(predictor: Predictor) -> list[Detector | None]:
    return [predictor.detector, open_detector("mtcnn", threads=1)]


@pytest.fixture(scope="session")
def people(root: Path) -> Photo:
    """Two people, at half the size: quicker."""
    return np.asarray(cv2.resize(read_photo(root / "test.jpg"), None, fx=0.5, fy=0.5), np.uint8)


@pytest.fixture(scope="session")
def photo(people: Photo) -> bytes:
    return jpeg(people)


@pytest.fixture(scope="module")
def served(predictor: Predictor, detectors: list[Detector | None]) -> Iterator[Running]:
    with running(predictor, detectors, max_body=2.0, max_megapixels=4.0, max_images=24) as there:
        yield there
