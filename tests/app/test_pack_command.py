"""create_dataset.py: what it finds, packs and says."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agegender.app.cli import run_command
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.face import encode_jpeg
from agegender.pipeline import read_set_info
from agegender.recordio import open_records, unpack

SIZE = 48


def create_dataset(*arguments: object) -> int:
    return run_command("pack", [*map(str, arguments), "--lang", "en"], prog="create_dataset.py")


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    """A data root with twelve UTKFace chips."""
    folder = tmp_path / "data" / "UTKFace"
    folder.mkdir(parents=True)
    for number in range(12):
        image = synthetic_sample(number, size=SIZE).image
        assert image is not None
        (folder / f"{20 + number}_{number % 2}_0_20170{number}.jpg.chip.jpg").write_bytes(encode_jpeg(image))
    return folder.parent


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A list with a portrait, a photo of noise, and a crop in another template."""
    from skimage.data import astronaut

    portrait = astronaut()
    (tmp_path / "portrait.jpg").write_bytes(encode_jpeg(portrait))
    (tmp_path / "gray.jpg").write_bytes(encode_jpeg(np.full((200, 200, 3), 90, np.uint8)))
    (tmp_path / "flat.jpg").write_bytes(encode_jpeg(np.full((112, 112, 3), 120, np.uint8)))
    rows = "path,gender,age,template\nportrait.jpg,0,45,\ngray.jpg,1,30,\nflat.jpg,1,30,arcface\n"
    (tmp_path / "photos_list.txt").write_text(rows)
    return tmp_path / "photos_list.txt"


def test_packs_what_lies_under_the_root(chips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (chips / "UTKFace" / "nonsense.jpg").write_bytes(b"")
    (chips / "UTKFace" / "200_1_0_1.jpg.chip.jpg").write_bytes(b"")
    code = create_dataset("--root", chips, "--output", chips, "--image_size", SIZE, "--val_ratio", 0.25)
    said = capsys.readouterr()
    assert code == 0
    assert said.out.splitlines() == [
        "source   found  packed  bad label  bad name",
        "UTKFace     14      12          1         1",
        "total       14      12          1         1",
        f"{chips / 'train.rec'}: 9 faces",
        f"{chips / 'val.rec'}: 3 faces",
        f"skipped faces, one by one: {chips / 'skipped.csv'}",
    ]
    # Nobody watches a bar here, and the work is short.
    assert said.err == ""
    assert create_dataset("--root", chips, "--output", chips, "--image_size", SIZE) == 0
    assert f"{chips / 'train.rec'} is there already; it will be replaced" in capsys.readouterr().err


def test_a_set_that_goes_is_named(tmp_path: Path, root: Path) -> None:
    def said(*flags: object) -> str:
        # Apart: a process logs to the standard error that it began with.
        words = ("--synthetic", 24, "--image_size", SIZE, "--output", "out", "--workers", 1, *flags)
        command = [sys.executable, root / "create_dataset.py", *words]
        done = subprocess.run([str(word) for word in command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert said("--test_ratio", 0.2, "--lang", "en") == ""
    assert (tmp_path / "out" / "test.rec").is_file()
    assert said("--lang", "en").splitlines() == [
        "out/train.rec is there already; it will be replaced when the new one is complete",
        "out: the new set has no test.csv, test.idx, test.json, test.lst, test.rec; "
        "the old ones will be removed when it is complete",
    ]
    assert not list((tmp_path / "out").glob("test.*"))
    assert said("--shards", 2, "--lang", "zh").splitlines() == [
        "out/train.rec已存在；新的数据集完成后将替换它",
        "out：新数据集没有train.idx, train.rec；新数据集完成后将删除这些旧文件",
    ]
    assert said("--shards", 2, "--lang", "en").splitlines() == [
        "out/train-*-of-00002.rec (2 files) is there already; it will be replaced when the new one is complete"
    ]


def test_unreadable_images_make_the_exit_code_1(chips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = next((chips / "UTKFace").iterdir())
    name.write_bytes(b"no picture")
    code = create_dataset("--sources", "utkface", "--root", chips, "--output", chips / "out", "--image_size", SIZE)
    said = capsys.readouterr()
    assert code == 1
    assert f"images missing or unreadable: 1; see {chips / 'out' / 'skipped.csv'}" in said.err
    assert len(open_records(chips / "out" / "train.rec")) == 10
    with open(chips / "out" / "skipped.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["source"], row["reason"]) == (str(name), "UTKFace", "unreadable image")


def test_nothing_there_says_what_to_put_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert create_dataset("--root", tmp_path / "empty", "--output", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert f"no face dataset under {tmp_path / 'empty'}. Put one of these there:" in said
    assert f"AgeDB: {tmp_path / 'empty'}/AgeDB/<number>_<Name>_<age>_<m|f>.jpg" in said
    for word in ("megaage_asian", "AFAD", "UTKFace", "--list FILE", "create_dataset.py --synthetic 2000"):
        assert word in said
    assert not (tmp_path / "out").exists()


def test_empty_dataset_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "UTKFace").mkdir()
    assert create_dataset("--root", tmp_path, "--output", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert said == "create_dataset.py: error: there is no face to pack: the chosen datasets have no images\n"


def test_unknown_source_is_suggested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert create_dataset("--root", tmp_path, "--sources", "UTKFaces") == 2
    assert "unknown source 'UTKFaces'; did you mean 'UTKFace'?" in capsys.readouterr().err


def test_synthetic_faces_are_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert create_dataset("--synthetic", 8, "--image_size", SIZE, "--output", tmp_path) == 0
    said = capsys.readouterr().out
    assert "synthetic      8       8" in said
    assert "these faces are synthetic (drawn)" in said
    assert sorted(path.name for path in tmp_path.glob("*_list.txt")) == ["synthetic_list.txt"]


def test_chinese_table_is_aligned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--synthetic", "8", "--image_size", str(SIZE), "--output", str(tmp_path), "--lang", "zh"]
    assert run_command("pack", arguments, prog="create_dataset.py") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["来源       找到  已打包", "synthetic     8       8", "合计          8       8"]
    assert lines[3] == f"{tmp_path / 'train.rec'}：7张人脸"


def test_loose_photos_are_detected_and_warped(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--list", photos, "--val_ratio", 0, "--template", "utkface")
    assert create_dataset(*arguments, "--output", tmp_path / "out", "--workers", 2) == 0
    said = capsys.readouterr().out
    assert "photos      3       1              1               1" in said
    with open_records(tmp_path / "out" / "train.rec") as records:
        header, body = unpack(records.read(0))
        assert header.label.tolist() == [0, 45]
        crop = bytes(body)
    info = read_set_info(tmp_path / "out" / "train.rec")
    assert info is not None and info.template["name"] == "utkface"
    with open(tmp_path / "out" / "train.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    left, top, right, bottom = map(float, row["box"].split())
    assert 150 < left < right < 300 and 50 < top < bottom < 220
    assert float(row["score"]) > 0.99
    with open(tmp_path / "out" / "skipped.csv", newline="") as file:
        assert [row["reason"] for row in csv.DictReader(file)] == ["other template", "no face found"]
    # One worker gives the same bytes.
    assert create_dataset(*arguments, "--output", tmp_path / "one", "--workers", 1) == 0
    for name in ("train.rec", "train.idx", "train.lst", "train.csv", "train.json", "skipped.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert len(crop) > 2000


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at the children through /proc")
def test_workers_end_with_a_killed_job(root: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        noise = rng.integers(0, 255, (300, 300, 3), dtype=np.uint8)
        (tmp_path / f"{number}.jpg").write_bytes(encode_jpeg(noise))
    (tmp_path / "noise.txt").write_text("".join(f"{number}.jpg,0,1\n" for number in range(40)))
    command = [sys.executable, root / "create_dataset.py", "--list", tmp_path / "noise.txt", "--output", tmp_path / "o"]
    with subprocess.Popen([*map(str, command), "--workers", "2"], stderr=subprocess.DEVNULL) as process:
        children: list[int] = []
        end = time.monotonic() + 60
        while len(children) < 2 and time.monotonic() < end and process.poll() is None:
            children = [pid for pid in _children(process.pid) if b"spawn_main" in _command_line(pid)]
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    assert len(children) == 2
    end = time.monotonic() + 30
    while any(b"spawn_main" in _command_line(pid) for pid in children) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(b"spawn_main" in _command_line(pid) for pid in children)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_unwritable_output_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert create_dataset("--synthetic", 4, "--output", tmp_path / "file") == 1
    said = capsys.readouterr().err
    assert os.strerror(17) in said or os.strerror(20) in said
    assert "--resume" not in said
