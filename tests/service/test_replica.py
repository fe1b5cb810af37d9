"""What Ray Serve asks of a replica, without Ray: is it well, refuse what is new, how much is left, end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from agegender import Predictor
from agegender.face.detector import Detector
from agegender.service.config import ServiceConfig
from agegender.service.guard import Tokens
from agegender.service.replica import Replica
from agegender.service.service import Service
from tests.service.running import until
from tests.service.test_stop import Deadly


def opener(predictor: Predictor, detector: Detector | None) -> Callable[[], Service]:
    def open_service() -> Service:
        tokens = Tokens(["a-token-for-the-tests"])
        service = Service(predictor, [detector], config=ServiceConfig(), model_name="ssrnet,46", tokens=tokens)
        service.analyzer.wait_until_warm()
        return service

    return open_service


def client(replica: Replica) -> TestClient:
    headers = {"Authorization": "Bearer a-token-for-the-tests", "Content-Type": "image/jpeg"}
    return TestClient(replica.__serve_build_asgi_app__(), headers=headers)


def test_a_sound_replica(predictor: Predictor, detectors: list[Detector | None], photo: bytes) -> None:
    before = threading.active_count()
    replica = Replica(opener(predictor, detectors[0]))
    http = client(replica)
    assert http.get("/v1/models", headers={"Authorization": "Bearer another-token"}).status_code == 401
    answer = http.post("/v1/analyze", content=photo)
    assert (answer.status_code, len(answer.json()["images"][0]["faces"])) == (200, 2)
    replica.check_health()
    assert replica.in_flight() == 0
    replica.begin_stop()
    assert http.post("/v1/analyze", content=photo).json()["error"]["cause"] == "stopping"
    # That it stops is no illness: Ray would start another one.
    replica.check_health()
    assert http.get("/readyz").status_code == 503
    replica.__del__()
    until(lambda: threading.active_count() == before)


def test_a_replica_whose_thread_has_crashed(predictor: Predictor, photo: bytes) -> None:
    replica = Replica(opener(predictor, Deadly()))
    assert client(replica).post("/v1/analyze", content=photo).status_code == 500
    with pytest.raises(RuntimeError, match=r"^thread worker-0 has crashed \(SystemExit\)$"):
        replica.check_health()


def test_models_that_can_not_be_opened() -> None:
    def fail() -> Service:
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        Replica(fail)
