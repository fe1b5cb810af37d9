"""A real server on a free port of the loopback, in a thread, for the tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import httpx
import numpy as np
import numpy.typing as npt

from agegender import Predictor
from agegender.deploy.vector_net import VectorNet
from agegender.face.detector import Detection, Detector
from agegender.service.config import ServiceConfig
from agegender.service.server import Server
from agegender.service.service import Service

Photo = npt.NDArray[np.uint8]


class Held:
    """A real detector that waits for ``release`` before each photo but the first, which warms it up."""

    def __init__(self, detector: Detector | None) -> None:
        self._detector = detector
        self.release, self.reached = threading.Event(), threading.Event()
        self._calls = 0

    def detect(self, image: Photo, *, min_face: float | None = None) -> list[Detection]:
        self._calls += 1
        if self._calls > 1:
            self.reached.set()
            assert self.release.wait(20)
        assert self._detector is not None
        return self._detector.detect(image, min_face=min_face)


class Running:
    """A service that listens, and a client of it."""

    def __init__(self, service: Service, server: Server) -> None:
        self.service, self.server = service, server
        self.host, self.port = server.address
        self.address = f"http://{self.host}:{self.port}"
        self.http = httpx.Client(base_url=self.address, timeout=30, trust_env=False)

    def post(self, path: str = "/v1/analyze", **request: Any) -> httpx.Response:
        return self.http.post(path, **request)

    def metric(self, name: str, **labels: str) -> float:
        return self.service.metrics.registry.get_sample_value(name, labels) or 0.0


@contextmanager
def running(
    predictor: Predictor,
    detectors: Sequence[Detector | None],
    *,
    tokens: Sequence[str] = (),
    vector_net: VectorNet | None = None,
    warm: bool = True,
    min_confidence: float = 0.0,
    shared_net: bool = True,
    **config: Any,
) -> Iterator[Running]:
    """Serve ``predictor`` while the context lasts; what is not in ``config`` has its default."""
    service = Service(
        predictor,
        detectors,
        config=ServiceConfig(port=0, **config),
        model_name="ssrnet,46",
        tokens=tokens,
        min_confidence=min_confidence,
        shared_net=shared_net,
        vector_net=vector_net,
        vector_name="vectors,1" if vector_net else "",
    )
    if warm:
        service.analyzer.wait_until_warm()
    server = Server(service)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        there = Running(service, server)
        with there.http:
            yield there
    finally:
        server.begin_stop()
        thread.join(20)
        assert not thread.is_alive()
        service.stop()


def until(true: Any, *, seconds: float = 10.0) -> None:
    """Wait until ``true()``."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def jpeg(image: Photo) -> bytes:
    """Return ``image`` (H, W, 3) uint8 RGB as a JPEG file, written by OpenCV."""
    written, data = cv2.imencode(".jpg", image[..., ::-1])
    assert written
    return data.tobytes()


def png(image: Photo) -> bytes:
    """Return ``image`` (H, W, 3) uint8 RGB as a PNG file."""
    written, data = cv2.imencode(".png", image[..., ::-1])
    assert written
    return data.tobytes()
