"""The checkout: what make says before it works, and files that the documented commands leave behind."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def dry_run(root: Path, target: str) -> list[str]:
    """Return what ``make`` would run for ``target`` as if nothing was there yet, a line each."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "PYTHON=python3", target],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_setup_says_what_comes_before_pip_is_silent(root: Path) -> None:
    lines = dry_run(root, "setup")
    said = next(number for number, line in enumerate(lines) if line.startswith("echo "))
    pip = next(number for number, line in enumerate(lines) if " -m pip install --quiet" in line)
    assert said < pip
    for word in ("MXNet, PyTorch, Ray", ".venv", "about 3 GB", "minutes"):
        assert word in lines[said]


def test_each_step_of_the_demo_is_announced(root: Path) -> None:
    lines = dry_run(root, "demo")
    steps = [number for number, line in enumerate(lines) if line.startswith('echo "demo ')]
    assert [lines[number][:14] for number in steps] == [f'echo "demo {step}/6' for step in range(1, 7)]
    commands = [lines[number + 1].split()[1] for number in steps]
    assert commands == [
        "create_dataset.py",
        "tools/rec.py",
        "show_age_distribution.py",
        "train.py",
        "eval.py",
        "infer.py",
    ]


@pytest.fixture
def ignored(root: Path) -> str:
    """What git leaves out of its status, of the names that the tests below give it."""
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("this is no checkout of git")
    left = [name for names in LEFT.values() for name in names]
    done = subprocess.run(["git", "check-ignore", "--no-index", *left, *OURS], cwd=root, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


LEFT = {
    "make_test_video.py": ["crossing.mp4"],
    "export.py": ["m50.onnx", "m50-int8.onnx", "ssrnet.onnx", "mtcnn_pnet.onnx"],
    "export.py --to ncnn-friendly": ["ssrnet-folded-symbol.json", "ssrnet-folded-0046.params"],
    "docs/old-models.md": ["old/model-symbol.json", "old/model.json"],
    "infer.py, eval.py": ["faces.jsonl", "faces.csv", "faces.png", "scatter.png", "plain.csv", "differences.csv"],
    "exchange.py": ["adience.h5"],
}
# Ours, or a user's that only looks alike.
OURS = [
    "models/ssrnet/ssrnet-symbol.json",
    "models/ssrnet/ssrnet.onnx",
    "tools/old/model.py",
    "docs/crossing.mp4",
    "test.jpg",
]


def test_what_the_documented_commands_leave_is_ignored(ignored: str) -> None:
    assert ignored.split() == [name for names in LEFT.values() for name in names]
