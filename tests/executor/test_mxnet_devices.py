"""Which devices a user gets, and how MXNet is loaded."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agegender.cores import usable_cores
from agegender.errors import DeviceError
from agegender.executor import mxnet_runtime
from agegender.executor.devices import contexts
from agegender.executor.mxnet_runtime import load_mxnet


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """A machine with that many GPUs, as far as MXNet can tell."""
    monkeypatch.setattr(load_mxnet().context, "num_gpus", lambda: request.param)
    return int(request.param)


@pytest.mark.parametrize(
    ("gpus", "asked", "expected"),
    [
        (0, None, ["cpu(0)"]),
        (0, "", ["cpu(0)"]),
        (0, "cpu", ["cpu(0)"]),
        (0, "cpu,cpu", ["cpu(0)", "cpu(1)"]),
        (2, None, ["gpu(0)"]),
        (2, (), ["gpu(0)"]),
        (2, "1", ["gpu(1)"]),
        (2, "1, 0", ["gpu(1)", "gpu(0)"]),
        (2, (0, 1), ["gpu(0)", "gpu(1)"]),
        (2, "CPU", ["cpu(0)"]),
    ],
    indirect=["gpus"],
)
def test_contexts(gpus: int, asked: str | tuple[int, ...] | None, expected: list[str]) -> None:
    assert [str(context) for context in contexts(asked)] == expected


@pytest.mark.parametrize(
    ("gpus", "asked", "expected"),
    [
        (0, "0", "GPU 0 is not there; this machine has no GPU that this build of MXNet can use"),
        (1, "0,1", "GPU 1 is not there; this machine has GPU 0$"),
        (4, (4,), "GPU 4 is not there; this machine has GPUs 0 to 3$"),
        (4, "0,first", "'first' is no GPU: --gpu_ids takes numbers"),
        (4, "-1", "'-1' is no GPU"),
        (4, "0,cpu", "'cpu' is no GPU"),
        (4, "0,0", "--gpu_ids 0,0 names a GPU twice"),
    ],
    indirect=["gpus"],
)
def test_devices_that_are_not_there(gpus: int, asked: str | tuple[int, ...], expected: str) -> None:
    with pytest.raises(DeviceError, match=expected):
        contexts(asked)


@pytest.mark.parametrize("gpus", [0], indirect=True)
def test_falling_back_to_the_processor_is_noted(gpus: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        contexts(None)
    assert "no GPU is there: computing on the processor (CPU)" in caplog.text


def fresh(root: Path, code: str, **environment: str) -> str:
    """Run code in a new interpreter, warnings as errors, and return what it prints."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS",)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**inherited, "PYTHONPATH": str(root / "src"), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


LOAD = "from agegender.executor.mxnet_runtime import load_mxnet\nimport os\n"


@pytest.mark.parametrize(
    ("call", "environment", "expected"),
    [
        ("load_mxnet()", {}, str(usable_cores())),
        ("load_mxnet(threads=3)", {}, "3"),
        ("load_mxnet()", {"OMP_NUM_THREADS": "1"}, "1"),
    ],
)
def test_threads_are_set_before_mxnet_starts(root: Path, call: str, environment: dict[str, str], expected: str) -> None:
    check = "assert load_mxnet() is mx and mx.__version__ == '1.9.1'\nprint(os.environ['OMP_NUM_THREADS'])"
    assert fresh(root, f"{LOAD}mx = {call}\n{check}", **environment) == expected


def test_a_machine_without_mxnet_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mxnet_runtime, "_loaded", None)
    monkeypatch.setattr(mxnet_runtime.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        DeviceError, match=r"MXNet 1\.9\.1, which is not installed here; pip install 'agegender\[mxnet\]'"
    ):
        load_mxnet()
