"""Importing the package or asking for help must not load what takes long to load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agegender.app.cli import COMMANDS

HEAVY = ("mxnet", "torch", "onnxruntime", "cv2", "matplotlib")
# Rooms handle images with OpenCV, but none may start an executor or a plot by being imported.
HEAVY_FOR_ROOMS = ("mxnet", "torch", "onnxruntime", "matplotlib")
ROOMS = (
    "recordio",
    "dataset",
    "pipeline",
    "face",
    "graph",
    "executor",
    "metrics",
    "engine",
    "deploy",
    "plots",
    "report",
    "service",
    "app",
)


def loaded_by(root: Path, code: str, heavy: tuple[str, ...]) -> str:
    """Return which of ``heavy`` a fresh interpreter has loaded after ``code``."""
    report = f"\nimport sys; print(' '.join(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.strip()


def test_the_package_is_light(root: Path) -> None:
    rooms = tuple(f"agegender.{room}" for room in ROOMS)
    assert loaded_by(root, "import agegender", (*HEAVY, "numpy", *rooms)) == ""


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_start_no_executor(root: Path, room: str) -> None:
    assert loaded_by(root, f"import agegender.{room}", HEAVY_FOR_ROOMS) == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_light(root: Path, command: str) -> None:
    code = f"""
from agegender.app.cli import run_command
try:
    run_command({command!r}, ["--help"], prog={command!r})
except SystemExit as done:
    assert done.code == 0
"""
    assert loaded_by(root, code, HEAVY) == ""


def test_the_torch_executor_needs_no_mxnet(root: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    code = """
import numpy as np
from agegender.executor import open_executor
from agegender.graph import load_checkpoint
executor = open_executor(load_checkpoint("models/ssrnet/ssrnet"), engine="torch", gpu_ids="cpu")
assert executor.forward(np.zeros((1, 3, 64, 64), np.float32))["age_output"].shape == (1, 1)
"""
    assert loaded_by(root, code, HEAVY) == "torch"
