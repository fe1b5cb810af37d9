"""More requests than the queue holds, while the loop that reads them is late: refused before they are read."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import httpx
import pytest

from agegender import Predictor
from agegender.face.detector import Detector
from agegender.service import guard
from agegender.service.guard import TICK, State
from tests.service.running import Running, running, until

HEAD = b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 5000\r\n\r\n"


@pytest.fixture(scope="module")
def there(predictor: Predictor, detectors: list[Detector | None]) -> Iterator[Running]:
    with running(predictor, detectors[:1], queue=2, max_images=1) as served:
        yield served


@contextmanager
def slow_clients(there: Running, count: int) -> Iterator[None]:
    """Have ``count`` requests in flight whose bodies don't come."""
    with ExitStack() as stack:
        before = there.service.state.in_flight
        for _ in range(count):
            stack.enter_context(socket.create_connection((there.host, there.port))).sendall(HEAD)
        until(lambda: there.service.state.in_flight == before + count)
        yield
    until(lambda: there.service.state.in_flight == before)


def post_while_it_sleeps(there: Running, photo: bytes) -> httpx.Response:
    """Ask while the loop does something else for a moment, as it does for many requests together."""
    there.server.servers[0].get_loop().call_soon_threadsafe(time.sleep, 0.4)
    time.sleep(0.05)
    return there.post(content=photo)


def test_a_crowd_is_refused(there: Running, photo: bytes) -> None:
    with slow_clients(there, 2):
        refused = post_while_it_sleeps(there, photo)
        assert refused.status_code == 429
        # Two that send, and the one that is refused.
        assert refused.json()["error"] == {
            "cause": "queue_full",
            "message": "the queue is full (2 of 2 photos); try again later",
        }
        assert int(refused.headers["retry-after"]) >= 1
        # On a busy machine it may be late again by itself.
        until(lambda: there.post(content=photo).status_code == 200)


def test_a_late_loop_alone_refuses_nobody(there: Running, photo: bytes) -> None:
    with slow_clients(there, 1):
        assert post_while_it_sleeps(there, photo).status_code == 200


def test_what_takes_no_photo_is_answered(there: Running) -> None:
    with slow_clients(there, 2):
        there.server.servers[0].get_loop().call_soon_threadsafe(time.sleep, 0.4)
        time.sleep(0.05)
        assert there.http.get("/v1/models").status_code == 200


def test_how_late_a_loop_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(guard, "time", SimpleNamespace(monotonic=lambda: now))
    state = State()
    assert state.late == 0.0
    state.tick()
    assert state.late == 0.0
    now += TICK + 0.25
    # While it is late, and after it has come round, until the next time.
    assert state.late == pytest.approx(0.25)
    state.tick()
    now += TICK / 2
    assert state.late == pytest.approx(0.25)
    now += TICK / 2
    state.tick()
    assert state.late == pytest.approx(0.0)
