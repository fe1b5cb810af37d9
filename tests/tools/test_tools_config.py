"""The tools with many flags take --config, as the commands do."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

import pytest


def parser_of(tool: str) -> argparse.ArgumentParser:
    if tool == "batch_infer_ray":
        pytest.importorskip("ray")
    made: argparse.ArgumentParser = importlib.import_module(f"tools.{tool}")._parser()
    return made


@pytest.mark.parametrize(
    ("tool", "command", "words", "text", "expected"),
    [
        ("calibrate", "calibrate", [], "model: m50\nwrite: yes", {"model": "m50", "write": True}),
        ("calibrate", "calibrate", ["ssrnet"], "model: m50", {"model": "ssrnet"}),
        ("robustness", "robustness", ["--limit", "9"], "limit: 5\nseed: 3", {"limit": 9, "seed": 3}),
        ("batch_infer_ray", "batch_infer_ray", [], "input: photos\noutput: out", {"input": "photos", "output": "out"}),
        (
            "exchange",
            "exchange import",
            ["import"],
            "source: a.h5\noutput: set\ntemplate: none",
            {"source": Path("a.h5"), "output": Path("set"), "template": "none"},
        ),
        (
            "exchange",
            "exchange export",
            ["export", "--jpeg"],
            "source: a\ntarget: b",
            {"jpeg": True, "target": Path("b")},
        ),
        ("cross_validate", "cross_validate", [], "folds: 5\nseeds: [0, 1]", {"folds": 5, "seeds": [0, 1]}),
    ],
)
def test_a_tool_takes_its_flags_from_a_file(
    tool: str, command: str, words: list[str], text: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "tool.yaml"
    file.write_text(f"command: {command}\n{text}\n")
    found = vars(parser_of(tool).parse_args([*words, "--config", str(file)]))
    assert {name: found[name] for name in expected} == expected


def test_what_a_tool_does_not_know_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tool.yaml"
    file.write_text("command: robustness\nseveritys: 3\n")
    with pytest.raises(SystemExit) as ended:
        parser_of("robustness").parse_args(["--config", str(file)])
    assert ended.value.code == 2
    error = f"{file}:2: robustness has no flag 'severitys'; did you mean 'severities'?"
    assert capsys.readouterr().err == f"robustness.py: error: {error}\n"
