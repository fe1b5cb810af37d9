"""show_age_distribution.py: what it counts by default, what it prints, and where it says no."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agegender.app.cli import main
from agegender.recordio import Header, RecordWriter, pack

PNG = b"\x89PNG"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dataset").mkdir()


def write_records(path: Path) -> None:
    with RecordWriter(path) as writer:
        for key in range(3):
            writer.write(key, pack(Header(np.array([key % 2, 40], np.float32), key), b"jpeg"))


def test_all_lists_of_the_data_folder_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    Path("dataset/AgeDB_list.txt").write_text("a.jpg,0,30\nb.jpg,1,-1\n")
    Path("dataset/UTKFace_list.txt").write_text("a.jpg,-1,30\n")
    write_records(Path("dataset/train.rec"))
    assert main(["ages", "--lang", "en"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "AgeDB: 2 faces (female 1, male 1, gender unknown 0)",
        "  1 of them without age",
        "UTKFace: 1 faces (female 0, male 0, gender unknown 1)",
        "total: 3 faces",
        "picture: age_distribution.png",
    ]
    assert Path("age_distribution.png").read_bytes()[:4] == PNG


def test_the_training_records_where_there_is_no_list(capsys: pytest.CaptureFixture[str]) -> None:
    write_records(Path("dataset/train.rec"))
    assert main(["ages", "--lang", "zh", "--output", "年龄.png"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "train：3张人脸（女2，男1，性别未知0）",
        "合计：3张人脸",
        "图片：年龄.png",
    ]
    assert Path("年龄.png").read_bytes()[:4] == PNG


def test_named_lists_and_records_together(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.csv").write_text("a.jpg,0,30\n")
    write_records(Path("x.rec"))
    arguments = ["--list", "mine.csv", "--list", "mine.csv", "--rec", "x.rec", "--label_order", "age,gender"]
    assert main(["ages", "--lang", "en", *arguments, "--output", "x.svg"]) == 0
    out = capsys.readouterr().out
    assert "mine: 2 faces (female 2," in out
    assert "x: 3 faces (female 0, male 0, gender unknown 3)" in out
    assert Path("x.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        ([], 2, "nothing to count in 'dataset': no *_list.txt and no train.rec; run create_dataset.py first"),
        (["--list", "none.csv"], 2, "--list 'none.csv': there is no such file"),
        (["--rec", "none.rec"], None, "none.rec"),
        (["--list", "empty.csv"], 2, "no face in empty.csv"),
        (["--list", "bad.csv"], 1, "bad.csv:1: age 'x' is not a number"),
        (["--output", "a.bmp"], 2, "--output 'a.bmp': the name must end in .png"),
        (["--output", "no/a.png"], 2, "--output 'no/a.png': there is no folder 'no'"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], code: int | None, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.csv").write_text("path,gender,age\n")
    Path("bad.csv").write_text("a.jpg,0,x\n")
    assert main(["ages", *arguments]) in ((code,) if code is not None else (1, 2))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert error in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not Path("age_distribution.png").exists()


def test_show_without_a_display_says_where_the_picture_is(root: Path) -> None:
    Path("dataset/A_list.txt").write_text("a.jpg,0,30\n")
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, str(root / "show_age_distribution.py"), "--show", "--lang", "en"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert "no window here" in result.stdout
    assert Path("age_distribution.png").is_file()


def test_help_loads_nothing_heavy(root: Path) -> None:
    code = (
        "import sys; from agegender.app import ages; "
        "print([name for name in ('numpy', 'matplotlib', 'cv2', 'mxnet') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.strip() == "[]"
