"""docs/protocol.md: its commands have flags that exist, its lines of Python count as eval does."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agegender.app import evaluate
from tools import robustness

pytestmark = pytest.mark.quick


def blocks(root: Path, language: str) -> list[str]:
    text = (root / "docs" / "protocol.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_every_command_has_flags_that_exist(root: Path) -> None:
    evaluation = argparse.ArgumentParser()
    evaluate.add_arguments(evaluation)
    parsers = {"eval.py": evaluation, "tools/robustness.py": robustness._parser()}
    lines = [line for block in blocks(root, "shell") for line in block.splitlines()]
    assert len(lines) >= 8
    for line in lines:
        python, script, *arguments = shlex.split(line)
        assert python == "python"
        parsers[script].parse_args(arguments)


def test_the_lines_of_python_count_as_they_say(root: Path, tmp_path: Path) -> None:
    [code] = blocks(root, "python")
    # Off by 5, 5.4, 4.6, 3.2, 3 and -2 years.
    ages = [(20, 25.0), (30, 35.4), (40, 44.6), (50, 53.2), (60, 63.0), (70, 68.0)]
    lines = ["age,predicted_age", *(f"{age},{told}" for age, told in ages)]
    (tmp_path / "faces.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    counted = [round(6 * float(share)) for share in done.stdout.split()]
    # <= 5: all but 5.4; rounded <= 5: all; rounded < 5: 3, 3 and 2; <= 3: 3 and -2; rounded <= 3: 3.2 too.
    assert counted == [5, 6, 3, 2, 3]


def test_links_lead_somewhere(root: Path) -> None:
    text = (root / "docs" / "protocol.md").read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if not target.startswith("http")]
    assert targets
    for target in targets:
        path, _, anchor = target.partition("#")
        there = root / "docs" / path
        assert there.is_file(), target
        heads = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), flags=re.MULTILINE) if anchor else [anchor]
        assert anchor in [head.lower().replace(" ", "-") for head in heads], target
