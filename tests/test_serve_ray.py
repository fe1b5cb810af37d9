"""serve_ray.py on a Ray of this machine: the plain service's answers, a killed replica, an end that leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agegender import Predictor
from agegender.app.cli import run_command
from agegender.cores import usable_cores
from agegender.deploy.detectors import open_detector
from agegender.service.api import create_api
from tests.service.running import running

TOKEN = "a-token-for-the-tests"
SECRET = "name-of-a-photo"
# Ray takes its time to start where others compute.
PATIENCE = 300.0


def wait_for(true: Callable[[], Any], *, seconds: float = PATIENCE) -> None:
    """Wait until ``true()``, which is asked rarely: it may go through all processes, or ask a busy service."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.3)


class Started:
    """serve_ray.py as people start it: its process, what it says, a client with the token."""

    http: httpx.Client

    def __init__(self, root: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "serve_ray.py", "--model", "ssrnet", "--port", "0", *arguments],
            cwd=root,
            env={**os.environ, "AGEGENDER_TOKENS": TOKEN},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def client(self) -> httpx.Client:
        """Wait until it listens; return a client of it, with the token."""
        wait_for(lambda: self.address or self.process.poll() is not None)
        assert self.address, self.said
        return httpx.Client(
            base_url=self.address, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, trust_env=False
        )

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip("\n"))

    @property
    def address(self) -> str:
        found = re.search(r"listening on (http://\S+) ", "\n".join(self.said))
        return found[1] if found else ""

    def processes(self) -> dict[int, str]:
        """Return the processes that descend from it, and itself: number and command line."""
        parents, names = {}, {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    names[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ").strip()
                except OSError:
                    continue
                parents[int(entry.name)] = int(fields[1])
        found = {self.process.pid}
        while more := {child for child, parent in parents.items() if parent in found} - found:
            found |= more
        return {pid: names.get(pid, "") for pid in found}

    def replicas(self) -> list[int]:
        return [pid for pid, name in self.processes().items() if name.startswith("ray::ServeReplica:agegender")]

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return each metric without other labels: its value by replica."""
        found: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(self.http.get("/metrics").text):
            for sample in family.samples:
                if sample.labels.keys() == {"replica"}:
                    found.setdefault(sample.name, {})[sample.labels["replica"]] = sample.value
        return found


@contextmanager
def started(root: Path, *arguments: str) -> Iterator[Started]:
    there = Started(root, *arguments)
    try:
        with there.client() as there.http:
            yield there
    finally:
        left = there.processes()
        there.process.kill()
        there.process.communicate()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def plain(answer: httpx.Response) -> Any:
    """Return an answer's JSON without what differs from time to time."""
    document = answer.json()
    for image in document["images"]:
        image.pop("timing")
    return document


@pytest.mark.skipif(find_spec("opencensus") is None or find_spec("ray") is None, reason="Ray Serve is not installed")
@pytest.mark.skipif(usable_cores() < 2, reason="two replicas need two cores")
@pytest.mark.timeout(900)
def test_the_service_in_two_processes(root: Path) -> None:
    photo = (root / "test.jpg").read_bytes()
    form = {"file": (f"{SECRET}.jpg", photo, "image/jpeg")}
    predictor = Predictor("ssrnet", gpu_ids="cpu", threads=1)
    with started(root, "--replicas", "2", "--max_body", "1") as there:
        with running(predictor, [open_detector("mtcnn", threads=1)], max_body=1.0) as alone:
            one, other = there.http.post("/v1/analyze", files=form), alone.post(files=form)
            assert (one.status_code, other.status_code) == (200, 200)
            assert len(plain(other)["images"][0]["faces"]) == 2
            assert plain(one) == plain(other)
            assert there.http.get("/openapi.json").json() == create_api(alone.service).openapi()
        assert "<title>" in there.http.get("/").text
        too_large = there.http.post("/v1/analyze", content=photo * 20)
        assert (too_large.status_code, too_large.json()["error"]["cause"]) == (413, "body_too_large")
        assert httpx.get(f"{there.address}/v1/models", trust_env=False).status_code == 401

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: there.http.post("/v1/analyze", content=photo), range(16)))
        assert [answer.status_code for answer in answers] == [200] * 16
        counts = there.metrics()["agegender_images_total"]
        assert len(counts) == 2
        assert sum(counts.values()) == 17
        assert min(counts.values()) > 0

        first, second = there.replicas()
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len({*there.replicas()} - {first}) == 2)
        wait_for(lambda: len(there.metrics()["agegender_ready"]) == 2)
        assert second in there.replicas()
        assert there.metrics()["agegender_ready"].keys() != counts.keys()
        assert there.http.post("/v1/analyze", content=photo).status_code == 200

        _stop_while_it_answers(there, photo)
        logs = subprocess.run(["grep", "-rl", SECRET, "/tmp/ray/session_latest/logs"], capture_output=True, text=True)
        assert logs.stdout == ""


def _stop_while_it_answers(there: Started, photo: bytes) -> None:
    before = there.processes()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(there.http.post, "/v1/analyze", content=photo) for _ in range(4)]
        # Each takes a tenth of a second of a core at least.
        time.sleep(0.1)
        there.process.send_signal(signal.SIGTERM)
        # Those that came before it are answered, those that came too late are told so.
        assert {answer.result().status_code for answer in waiting} <= {200, 503}
        assert waiting[0].result().status_code == 200
    assert there.process.wait(PATIENCE) == 0
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
    assert there.said[-1] == "stopping: what was begun is still being answered"
    assert "Traceback" not in "\n".join(there.said)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--replicas", "0"], "--replicas 0: at least 1"),
        (["--workers", "0"], "--workers 0: at least 1"),
        (["--min_replicas", "2"], "--min_replicas 2: only with --max_replicas"),
        (["--min_replicas", "3", "--max_replicas", "2"], "--min_replicas 3 is more than --max_replicas 2"),
        (["--replicas", "1", "--max_replicas", "2"], "--replicas 1: not with --max_replicas"),
        (["--gpus_per_replica", "2"], "--gpus_per_replica 2 is not within 0..1"),
        (["--queue", "0"], "--queue 0: at least 1"),
        (["--model", "nothing"], "there is no model 'nothing'"),
        (["--model", "ssrnet", "--embedding_model", "ssrnet"], "takes pictures [3, 64, 64], not embeddings"),
        (["--model", "ssrnet", "--address", "127.0.0.1:1"], "--address 127.0.0.1:1: no Ray cluster is there"),
    ],
)
def test_what_is_wrong_is_told_before_ray_starts(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("serve_ray", arguments, prog="serve_ray.py") in (1, 2)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("serve_ray.py: error: ")
    assert line in last


def test_without_ray_serve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "opencensus", None)
    assert run_command("serve_ray", ["--model", "ssrnet"], prog="serve_ray.py") == 2
    assert capsys.readouterr().err == (
        f"serve_ray.py: error: the package opencensus is not installed in {sys.executable}; "
        "pip install -r requirements-serve-ray.txt (or agegender[serve-ray]) installs what is needed\n"
    )
