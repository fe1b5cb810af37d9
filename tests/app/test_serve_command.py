"""serve.py as people start it: flags, tokens, SIGTERM while a request is answered."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from agegender.app.cli import run_command
from agegender.app.serve import PACKAGES, read_tokens
from agegender.errors import UsageError


@contextmanager
def started(root: Path, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start serve.py on a free port; yield the process and its address."""
    process = subprocess.Popen(
        [sys.executable, "serve.py", "--model", "ssrnet", "--gpu_ids", "cpu", "--port", "0", *arguments],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"listening on (http://\S+) ", line):
                yield process, found[1]
                break
        else:
            raise AssertionError(f"it did not start: exit code {process.wait()}")
    finally:
        process.kill()
        process.communicate()


def test_sigterm_lets_requests_in_flight_end(root: Path) -> None:
    photo = (root / "test.jpg").read_bytes()
    with started(root, "--workers", "1") as (process, address):
        host, port = address.removeprefix("http://").split(":")
        head = (
            f"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(photo)}\r\n\r\n"
        )
        with (
            socket.create_connection((host, int(port))) as peer,
            httpx.Client(base_url=address, trust_env=False) as http,
        ):
            assert http.get("/readyz").status_code == 200
            # Half of a request is there when the signal comes, the rest afterwards.
            peer.sendall(head.encode() + photo[: len(photo) // 2])
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            end = time.monotonic() + 5
            while http.get("/readyz").status_code == 200:
                assert time.monotonic() < end
                time.sleep(0.02)
            assert http.post("/v1/analyze", content=photo).json()["error"]["cause"] == "stopping"
            peer.sendall(photo[len(photo) // 2 :])
            received = b""
            while part := peer.recv(65536):
                received += part
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert received.count(b'"gender":"') == 2
        assert process.wait(10) == 0
        assert process.stderr is not None
        told = process.stderr.read()
        assert "stopping: 1 requests are still being answered\n" in told
        assert "Traceback" not in told


def test_ctrl_c_and_tokens(root: Path) -> None:
    with started(root, "--workers", "1", AGEGENDER_TOKENS="one-secret-token-here, another-secret-token") as (
        process,
        address,
    ):
        with httpx.Client(base_url=address, trust_env=False) as http:
            assert http.get("/v1/models").status_code == 401
            headers = {"Authorization": "Bearer another-secret-token"}
            start = time.monotonic()
            for _ in range(20):
                answer = http.get("/v1/models", headers=headers)
            # Head and body of an answer leave at once, not one after the other's acknowledgement (40 ms).
            assert time.monotonic() - start < 0.6
            assert answer.json()["models"][0]["name"] == "ssrnet,46"
        # No argument of the process holds a token.
        assert b"secret" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_tokens_of_file_and_variable(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# for the shop\nshop-token-0123456789\n\n  till-token-0123456789  \n")
    assert read_tokens(None, None) == ()
    assert read_tokens(str(file), None) == ("shop-token-0123456789", "till-token-0123456789")
    assert read_tokens(str(file), "third-token-0123456789,")[0] == "third-token-0123456789"


@pytest.mark.parametrize(
    ("text", "variable", "line"),
    [
        ("# none\n", None, "holds no token"),
        (None, None, "can't be read"),
        ("short\n", None, "token 1 of 1: at least 16 printable ASCII characters, no spaces"),
        ("a-token-that-is-fine\nbut this has some spaces\n", None, "token 2 of 2: at least 16"),
        ("a-token-that-is-fine\n", " , ", None),
        ("", "", "holds no token"),
    ],
)
def test_bad_tokens(tmp_path: Path, text: str | None, variable: str | None, line: str | None) -> None:
    file = tmp_path / "tokens"
    if text is not None:
        file.write_text(text)
    if line is None:
        assert read_tokens(str(file), variable) == ("a-token-that-is-fine",)
        return
    with pytest.raises(UsageError, match=line) as caught:
        read_tokens(str(file), variable)
    assert "short" not in str(caught.value)


def test_an_empty_variable_does_not_open_the_service() -> None:
    with pytest.raises(UsageError, match="the variable AGEGENDER_TOKENS is set and holds no token"):
        read_tokens(None, "")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--queue", "0"], "--queue 0: at least 1"),
        (["--min_confidence", "2"], "--min_confidence 2 is not within 0..1"),
        (["--session_threads", "0"], "--session_threads 0: at least 1"),
        (["--model", "nothing"], "there is no model 'nothing'"),
        (["--model", "ssrnet", "--embedding_model", "ssrnet"], "the model takes pictures [3, 64, 64], not embeddings"),
        (["--model", "ssrnet", "--age_model", "ssrnet"], "--gender_model"),
    ],
)
def test_flags_that_are_wrong(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("serve", [*arguments, "--gpu_ids", "cpu"], prog="serve.py") in (1, 2)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("serve.py: error: ")
    assert line in last


def test_a_port_that_is_taken(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "serve.py", "--model", "ssrnet", "--gpu_ids", "cpu", "--port", str(port)],
            cwd=root,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == f"serve.py: error: can't listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("name", PACKAGES)
def test_without_what_it_needs(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert run_command("serve", ["--model", "ssrnet"], prog="serve.py") == 2
    assert capsys.readouterr().err == (
        f"serve.py: error: the package {name} is not installed in {sys.executable}; "
        "pip install -r requirements-serve.txt (or agegender[serve]) installs what is needed\n"
    )


def test_its_requirements_hold_what_it_looks_for(root: Path) -> None:
    lines = (root / "requirements-serve.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].replace("-", "_") for line in lines}
    assert set(PACKAGES) <= pinned
