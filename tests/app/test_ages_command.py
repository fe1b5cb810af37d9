"""show_age_distribution.py: what it counts by default, what it prints, and where it says no."""

from __future__ import annotations

import os
import re
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
    Path("more.csv").write_text("path,gender,age,source\nb.jpg,0,40,mine\n")
    arguments = ["--list", "mine.csv", "--list", "more.csv", "--rec", "x.rec", "--label_order", "age,gender"]
    assert main(["ages", "--lang", "en", *arguments, "--output", "x.svg"]) == 0
    out = capsys.readouterr().out
    assert "mine: 2 faces (female 2," in out
    assert "x: 3 faces (female 0, male 0, gender unknown 3)" in out
    assert Path("x.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--list", "l2.txt", "--list", "l2.txt"], "l2.txt is given twice; it is counted once"),
        (
            ["--list", "l2.txt", "--list", "dataset/../l2.txt"],
            "dataset/../l2.txt is the same file as l2.txt; it is counted once",
        ),
        (["--list", "l2.txt", "--list", "link.txt"], "link.txt is the same file as l2.txt; it is counted once"),
        (["--rec", "l2.rec", "--rec", "./dataset/../l2.rec"], "dataset/../l2.rec is the same file as l2.rec; "),
        (["--rec", "s.rec", "--rec", "s-0000*.rec"], "s-0000*.rec is the same file as s.rec; it is counted once"),
    ],
)
def test_a_file_that_is_given_twice_is_counted_once(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("l2.txt").write_text("a.jpg,0,30\nb.jpg,1,40\nc.jpg,1,50\n")
    Path("link.txt").symlink_to("l2.txt")
    write_records(Path("l2.rec"))
    write_records(Path("s-00000-of-00001.rec"))
    assert main(["ages", "--lang", "en", *arguments]) == 0
    captured = capsys.readouterr()
    assert "total: 3 faces" in captured.out.splitlines()
    [line] = captured.err.splitlines()
    assert line.startswith(said)


def test_a_file_that_is_given_twice_is_said_in_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    Path("l2.txt").write_text("a.jpg,0,30\n")
    assert main(["ages", "--lang", "zh", "--list", "l2.txt", "--list", "l2.txt"]) == 0
    captured = capsys.readouterr()
    assert "合计：1张人脸" in captured.out.splitlines()
    assert captured.err == "l2.txt重复给出，只计一次\n"


def test_chinese_where_standard_output_has_none(root: Path) -> None:
    """A console of another script gets escapes, not a traceback."""
    Path("dataset/A_list.txt").write_text("a.jpg,0,30\n")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, str(root / "show_age_distribution.py"), "--lang", "zh"]
    result = subprocess.run(command, capture_output=True, env=environment, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.splitlines()[0].startswith(rb"A\uff1a1\u5f20\u4eba\u8138")


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
        (["--output", "dataset"], 2, "--output 'dataset' is a folder; name a file"),
        (["--list", "l.svg", "--output", "./l.svg"], 2, "--output './l.svg' would overwrite 'l.svg', which is counted"),
        (["--rec", "s.rec", "--rec", "s-00001-of-00002.rec"], 2, "is in --rec 's.rec' already"),
        (["--rec", "s-00001-of-00002.rec", "--rec", "s.rec"], 2, "is in --rec 's-00001-of-00002.rec' already"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], code: int | None, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.csv").write_text("path,gender,age\n")
    Path("bad.csv").write_text("a.jpg,0,x\n")
    Path("l.svg").write_text("a.jpg,0,30\n")
    write_records(Path("s-00000-of-00002.rec"))
    write_records(Path("s-00001-of-00002.rec"))
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


def test_balance_counts_and_draws_before_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"a{n}.jpg,0,30" for n in range(300)] + [f"b{n}.jpg,1,70" for n in range(6)] + ["c.jpg,1,-1"]
    Path("dataset/A_list.txt").write_text("\n".join(rows) + "\n")
    assert main(["ages", "--lang", "en", "--balance", "under"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "total: 307 faces"
    assert re.fullmatch(r"balance under: 307 faces, (2[5-9]\d) per epoch", lines[3])
    before, after = re.findall(r"\d+", lines[4].partition(":")[2])
    assert lines[4].startswith("  age 30-39: ") and int(before) == 300 and 240 < int(after) < 300
    assert lines[5:7] == ["  age 70-79: 6 -> 6", "  age unknown: 1 -> 1"]
    assert Path("age_distribution.png").read_bytes()[:4] == PNG
    assert main(["ages", "--lang", "zh", "--balance", "over"]) == 0
    assert "  年龄30-39：300 -> 300" in capsys.readouterr().out.splitlines()
