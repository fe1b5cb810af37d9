"""--stats FILE: what a command did, as JSON, however it ended."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from agegender.app.cli import run_command
from agegender.dataset.problems import Problems
from agegender.dataset.sources import synthetic_source
from agegender.face.photo import write_photo


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def statistics(name: str = "stats.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(name).read_text(encoding="utf-8"))
    return found


def test_pack_then_eval(untrained_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--synthetic", "12", "--val_ratio", "0.5", "--output", ".", "--image_size", "64"]
    assert run_command("pack", [*flags, "--stats", "stats.json"], prog="create_dataset.py") == 0
    packed = statistics()
    result = packed["result"]
    assert sum(result["splits"].values()) == 12
    assert result["sources"] == {"synthetic": {"found": 12, "packed": 12, "skipped": {}}}
    assert (result["lost"], packed["exit_code"], packed["error"]) == (0, 0, None)
    assert packed["command_line"] == ["python", "create_dataset.py", *flags, "--stats", "stats.json"]
    assert packed["flags"] | {"synthetic": 12, "val_ratio": 0.5, "resume": False} == packed["flags"]
    assert packed["seconds"] > 0 and packed["cpu_seconds"] > 0 and packed["peak_memory"] > 10_000_000
    assert socket.gethostname() not in json.dumps({"machine": packed["machine"], "versions": packed["versions"]})

    flags = ["--model", str(untrained_model), "--data", "val.rec", "--gpu_ids", "cpu"]
    # An earlier run's statistics are replaced.
    assert run_command("eval", [*flags, "--stats", "stats.json"], prog="eval.py") == 0
    scored = statistics()
    printed = capsys.readouterr().out
    assert f"MAE={scored['result']['scores']['MAE']:.6f}" in printed
    assert f"acc={scored['result']['scores']['acc']:.6f}" in printed
    assert scored["result"]["scores"]["n"] == result["splits"]["val"]
    assert (scored["command"], scored["result"]["epoch"]) == ("eval", 1)
    assert scored["result"]["model"] == untrained_model.as_posix()
    assert {"agegender", "Python", "numpy"} <= set(scored["versions"])


def test_several_sets_are_one_run_each(untrained_model: Path) -> None:
    assert run_command("pack", ["--synthetic", "8", "--val_ratio", "0.5", "--output", "."], prog="pack") == 0
    flags = ["--model", str(untrained_model), "--data", "val.rec", "train.rec", "--gpu_ids", "cpu"]
    assert run_command("eval", [*flags, "--stats", "stats.json"], prog="eval") == 0
    runs = statistics()["result"]["runs"]
    assert [each["data"] for each in runs] == ["val.rec", "train.rec"]
    assert sum(each["scores"]["n"] for each in runs) == 8


def test_infer_counts_photos_faces_and_failures(untrained_model: Path) -> None:
    for number, sample in enumerate(synthetic_source(2, seed=1).samples(Path(), Problems())):
        assert sample.image is not None
        write_photo(Path(f"{number}.jpg"), sample.image)
    Path("broken.jpg").write_bytes(b"no photo")
    flags = ["--model", str(untrained_model), "--detector", "none", "--output", "none", "--gpu_ids", "cpu"]
    flags += ["--image", "0.jpg", "1.jpg", "broken.jpg", "--stats", "stats.json"]
    assert run_command("infer", flags, prog="infer") == 1
    found = statistics()
    assert found["result"] == {"photos": 3, "faces": 2, "failed": 1, "skipped": 0}
    assert found["exit_code"] == 1


def test_what_went_wrong_is_written_down(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("eval", ["--model", "nothing", "--stats", "stats.json"], prog="eval") == 2
    found = statistics()
    assert found["exit_code"] == 2
    assert capsys.readouterr().err.endswith(f"eval: error: {found['error']}\n")
    assert "there is no model 'nothing'" in found["error"]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nowhere/stats.json", "--stats 'nowhere/stats.json': there is no folder 'nowhere'"),
        (".", "--stats '.' is a folder; name a file"),
        ("val.rec", "--stats val.rec would overwrite a file that is no statistics of a command; name another"),
        ("val.json", "--stats val.json would overwrite a file that is no statistics of a command; name another"),
    ],
)
def test_nothing_else_is_overwritten(file: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("val.rec").write_bytes(b"\xce\xfa\x23\x0a\xff")
    Path("val.json").write_text('{"format": 1}')
    assert run_command("eval", ["--stats", file], prog="eval") == 2
    assert capsys.readouterr().err == f"eval: error: {message}\n"
    assert Path("val.rec").read_bytes() == b"\xce\xfa\x23\x0a\xff"
