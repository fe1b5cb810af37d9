"""Lines that the rooms log: in Chinese too, as long as the rooms still say what the table knows."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agegender.app.notes import CHINESE, NoteFormatter

NO_GPU = "no GPU is there: computing on the processor (CPU)"


def record(message: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("agegender.room", logging.INFO, __file__, 1, message, values, None)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("said", "lang", "line"),
    [
        (record(NO_GPU), "zh", "没有可用的GPU，改用处理器（CPU）计算"),
        (record(NO_GPU), "en", NO_GPU),
        (record("nothing to resume in %s: starting from the beginning", "a"), "zh", "a中没有可以继续的内容，从头开始"),
        (record("%d of %d", 1, 2), "zh", "1 of 2"),
    ],
)
def test_known_lines_are_said_in_chinese(said: logging.LogRecord, lang: str, line: str) -> None:
    english = said.getMessage()
    assert NoteFormatter(lang).format(said) == line
    # A run's log.txt gets the same record.
    assert logging.Formatter("%(message)s").format(said) == english


@pytest.mark.quick
@pytest.mark.parametrize("english", CHINESE)
def test_the_rooms_still_say_it(english: str, root: Path) -> None:
    rooms = [path for path in (root / "src" / "agegender").rglob("*.py") if path.parent.name != "app"]
    assert any(f'"{english}"' in path.read_text(encoding="utf-8") for path in rooms), f"nobody logs {english!r}"


@pytest.mark.quick
def test_values_have_the_same_places() -> None:
    for english, chinese in CHINESE.items():
        assert re.findall("%.", chinese) == re.findall("%.", english)


@pytest.mark.parametrize("script", ["infer.py", "eval.py"])
def test_standard_error_is_chinese(script: str, root: Path, untrained_model: Path, tmp_path: Path) -> None:
    (tmp_path / "crops.txt").write_text(f"path,gender,age,template\n{root / 'test.jpg'},0,30,utkface\n")
    photo = ["--image", str(root / "test.jpg"), "--output", str(tmp_path), "--detector", "none"]
    given = photo if script == "infer.py" else ["--data", str(tmp_path / "crops.txt")]
    done = subprocess.run(
        [sys.executable, str(root / script), "--lang", "zh", "--model", str(untrained_model), *given],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONUTF8": "1"},
        capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == f"模型：{untrained_model}，第1轮（路径{untrained_model}）"
    assert lines[-1] == CHINESE[NO_GPU]
