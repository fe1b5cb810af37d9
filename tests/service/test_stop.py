"""Ends: a stop that answers what was begun, threads that crash."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from agegender import Predictor
from agegender.face.detector import Detection, Detector
from tests.service.running import Held, Photo, running, until

QUOTED = "SECRET of a client"


def test_requests_in_flight_are_answered_and_new_ones_refused(
    predictor: Predictor, detectors: list[Detector | None], photo: bytes
) -> None:
    held = Held(detectors[0])
    with running(predictor, [held]) as there, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(httpx.post, f"{there.address}/v1/analyze", content=photo, timeout=20, trust_env=False)
        assert held.reached.wait(5)
        there.server.begin_stop()
        refused = there.post(content=photo)
        assert refused.status_code == 503
        assert refused.json()["error"] == {"cause": "stopping", "message": "the service is about to stop"}
        assert refused.headers["connection"] == "close"
        ready = there.http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {"status": "not ready", "problems": ["the service is about to stop"]}
        assert there.http.get("/healthz").status_code == 200
        held.release.set()
        answer = waiting.result()
        assert answer.status_code == 200
        assert len(answer.json()["images"][0]["faces"]) == 2
        until(lambda: there.server.should_exit)


def test_what_takes_longer_than_the_grace_is_refused(
    predictor: Predictor, detectors: list[Detector | None], photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(detectors[0])
    with running(predictor, [held], grace=0.2) as there, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(httpx.post, f"{there.address}/v1/analyze", content=photo, timeout=20, trust_env=False)
        assert held.reached.wait(5)
        there.server.begin_stop()
        answer = waiting.result()
        assert answer.status_code == 503
        assert answer.json()["error"]["cause"] == "stopping"
        held.release.set()
    assert "Traceback" not in caplog.text


class Deadly:
    """A detector that ends its thread with the second photo it sees."""

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, image: Photo, *, min_face: float | None = None) -> list[Detection]:
        self.calls += 1
        if self.calls > 1:
            raise SystemExit(QUOTED)
        return []


def test_a_crashed_thread_is_seen_and_its_request_answered(
    predictor: Predictor, detectors: list[Detector | None], photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with running(predictor, [Deadly()]) as there:
        assert there.http.get("/readyz").status_code == 200
        answer = there.post(content=photo)
        assert answer.status_code == 500
        assert answer.json()["error"]["cause"] == "crash"
        ready = there.http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["problems"] == ["thread worker-0 has crashed (SystemExit)"]
        assert "thread worker-0 has crashed: SystemExit" in caplog.text
        assert "SECRET" not in caplog.text
        again = there.post(content=photo)
        assert again.status_code == 503
        assert again.json()["error"]["cause"] == "broken"
        assert there.metric("agegender_ready") == 0


def test_the_other_threads_go_on(predictor: Predictor, detectors: list[Detector | None], photo: bytes) -> None:
    with running(predictor, [Deadly(), detectors[1]]) as there:
        answers = [there.post(content=photo) for _ in range(6)]
        assert sorted({answer.status_code for answer in answers}) in ([200], [200, 500])
        assert [answer.status_code for answer in answers].count(500) <= 1
        assert len(answers[-1].json()["images"][0]["faces"]) == 2


def test_a_thread_that_ends_while_it_warms_up(predictor: Predictor) -> None:
    deadly = Deadly()
    deadly.calls = 1
    with running(predictor, [deadly]) as there:
        assert there.http.get("/readyz").json()["problems"] == ["thread worker-0 has crashed (SystemExit)"]
