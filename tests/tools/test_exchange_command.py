"""tools/exchange.py as people run it: what it prints, its exit codes, and what it leaves alone."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.face import encode_jpeg
from agegender.files import write_json
from agegender.recordio import Header, RecordWriter, open_records, pack, unpack
from tools.exchange import main

COUNT, SIZE = 12, 32
IMPORT = ("--template", "utkface", "--image_size", SIZE, "--split_as", "train")


def _run(*arguments: object) -> int:
    """Run the command here; wrong usage of flags leaves by SystemExit, as argparse does."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


def _apart(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools" / "exchange.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root)


def _bodies(path: Path) -> list[bytes]:
    with open_records(path) as records:
        return [bytes(unpack(payload)[1]) for payload in records]


def _jpegs() -> list[bytes]:
    colours = np.random.default_rng(0).integers(0, 256, (COUNT, 1, 1, 3), np.uint8)
    return [encode_jpeg(np.broadcast_to(colour, (SIZE, SIZE, 3)).copy(), 95) for colour in colours]


def _labels(number: int) -> tuple[int, int]:
    return number % 2, 20 + number


def _write(folder: Path, names: list[str]) -> None:
    """Write the faces as the shards ``names``, with a JSON beside them."""
    jpegs, share = _jpegs(), COUNT // len(names)
    folder.mkdir(exist_ok=True)
    for shard, name in enumerate(names):
        with RecordWriter(folder / name) as writer:
            for key in range(shard * share, (shard + 1) * share):
                writer.write(key, pack(Header(np.array(_labels(key), np.float32), key), jpegs[key]))
    write_json(folder / "train.json", {"labels": "gender,age", "synthetic": False, "split_rule": {}})


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Twelve faces of 20 to 31 years, women and men in turn."""
    _write(tmp_path / "ours", ["train.rec"])
    return tmp_path / "ours" / "train.rec"


@pytest.mark.parametrize(
    ("target", "flags", "files"),
    [
        ("a.h5", ["--jpeg"], ["a.h5"]),
        ("a.hdf5", [], ["a.hdf5"]),
        ("shards", ["--format", "webdataset", "--per_shard", 5], [f"shards/train-00000{n}.tar" for n in range(3)]),
        ("theirs/train.rec", [], ["theirs/train.rec"]),
        ("theirs/faces", ["--format", "insightface"], ["theirs/faces"]),
    ],
)
def test_there_and_back(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, flags: list[Any], files: list[str]
) -> None:
    assert _run("export", faces, tmp_path / target, *flags) == 0
    said = capsys.readouterr()
    sizes = [f"{tmp_path / file}: {(tmp_path / file).stat().st_size:,} bytes" for file in files]
    assert said.out.splitlines() == [*sizes, "12 faces exported"]
    source = tmp_path / (target if len(files) == 1 else "shards/train-*.tar")
    kept = flags[:2] if "--format" in flags else []
    assert _run("import", source, tmp_path / "back", *IMPORT, *kept) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'back' / 'train.rec'}: 12 faces\n"
    records = open_records(tmp_path / "back" / "train.rec")
    assert records.labels().astype(int).tolist() == [list(_labels(number)) for number in range(COUNT)]
    if target != "a.hdf5":  # pixels are encoded anew
        assert _bodies(records.path) == _jpegs()


@pytest.mark.parametrize("name", ["train.rec", "train-*-of-*.rec"])
def test_shards_of_records(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path / "ours", [f"train-{number:05d}-of-00003.rec" for number in range(3)])
    assert _run("export", tmp_path / "ours" / name, tmp_path / "one.rec") == 0
    assert _bodies(tmp_path / "one.rec") == _jpegs()
    assert _run("import", tmp_path / "ours" / name, tmp_path / "back", *IMPORT) == 0
    assert _bodies(tmp_path / "back" / "train.rec") == _jpegs()
    capsys.readouterr()
    (tmp_path / "ours" / "train-00001-of-00003.rec").unlink()
    if "*" not in name:
        assert _run("export", tmp_path / "ours" / name, tmp_path / "two.rec") == 1
        assert "1 of 3 shards are missing, the first is train-00001-of-00003.rec" in capsys.readouterr().err
        assert not (tmp_path / "two.rec").exists()


def test_nothing_is_replaced_without_force(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = ("--format", "webdataset")
    for target, flags, file in (("a.h5", (), "a.h5"), ("s", shards, "s/train-000000.tar"), ("o/a.rec", (), "o/a.rec")):
        assert _run("export", faces, tmp_path / target, *flags) == 0
        before = (tmp_path / file).stat().st_mtime_ns
        capsys.readouterr()
        assert _run("export", faces, tmp_path / target, *flags) == 2
        assert capsys.readouterr().err == f"exchange.py: error: {tmp_path / file} exists; --force replaces it\n"
        assert (tmp_path / file).stat().st_mtime_ns == before
        assert _run("export", faces, tmp_path / target, *flags, "--force") == 0
        assert (tmp_path / file).stat().st_mtime_ns > before
    into = ("import", tmp_path / "a.h5", tmp_path / "set", *IMPORT)
    assert _run(*into) == 0
    capsys.readouterr()
    assert _run(*into) == 2
    assert f"{tmp_path / 'set' / 'train.rec'} exists; --force replaces it" in capsys.readouterr().err
    assert _run(*into, "--force", "--name", "new") == 0
    assert json.loads((tmp_path / "set" / "train.json").read_text())["sources"] == {"new": 12}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "export {set} {new}/a.xyz",
            r"a\.xyz: its ending says no format; --format is one of hdf5, webdataset, insight",
        ),
        ("export {set} {set}", r"train\.rec is the set itself"),
        ("export {set} {set} --force", r"train\.rec is the set itself"),
        ("export {set} {new}/s --format webdataset --per_shard 0", "--per_shard 0 is not at least 1"),
        ("export {new}/no.rec {new}/a.h5", r"no\.rec: there is no such file"),
        ("export {set} {new}/a.h5 --format tar", "argument --format: invalid choice: 'tar'"),
        ("export {set} {new}/a.rec --label_order age", "argument --label_order: invalid choice: 'age'"),
        ("import {new}/no.h5 {new} --template utkface", r"no\.h5: there is no such file"),
        ("import {new}/no-*.tar {new} --template utkface", r"no-\*\.tar: there is no such file"),
        ("import {set} {new}", "the following arguments are required: --template"),
        ("import {set} {new} --template utkfac", "unknown template 'utkfac'|template 'utkfac'"),
        ("import {set} {new} --template none --set_template utkfac", "template 'utkfac'"),
        ("import {set} {new} --template utkface --val_ratio 1.5", r"val_ratio 1\.5 is not within 0\.\.1"),
        ("import {set} {new} --template utkface --quality 0", "--quality 0 is not within 1..100"),
        ("import {set} {new} --template utkface --gender_coding x", "argument --gender_coding: invalid choice"),
        ("import {set} {new} --template utkface --color_order gbr", "argument --color_order: invalid choice"),
        ("", "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_usage(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    before = faces.read_bytes()
    assert _run(*arguments.format(set=faces, new=tmp_path / "new").split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert "error: " in line
    assert re.search(message, line)
    assert not (tmp_path / "new").exists()
    assert faces.read_bytes() == before


def test_usage_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    see = " (--help shows all flags)\n"
    assert _run("import", "a.h5", "set") == 2
    assert capsys.readouterr().err == (
        "exchange.py import: error: the following arguments are required: --template; "
        f"the form is: exchange.py import source output --template TEMPLATE{see}"
    )
    assert _run("export", "a", "b", "--fromat", "hdf5") == 2
    error = "unrecognized arguments: --fromat hdf5; did you mean --format?"
    assert capsys.readouterr().err == f"exchange.py export: error: {error}{see}"


def test_a_set_that_goes_is_named(faces: Path, tmp_path: Path, root: Path) -> None:
    flags = IMPORT[:4]
    done = _apart(root, "import", faces, tmp_path / "set", *flags, "--test_ratio", 0.25, "--val_ratio", 0)
    assert (done.returncode, done.stderr) == (0, "")
    done = _apart(root, "import", faces, tmp_path / "set", *flags, "--val_ratio", 0, "--force")
    assert done.stderr == (
        f"{tmp_path / 'set'}: the new set has no test.csv, test.idx, test.json, test.lst, test.rec; "
        "the old ones will be removed when it is complete\n"
    )
    assert done.stdout == f"{tmp_path / 'set' / 'train.rec'}: 12 faces\n"
    assert not list((tmp_path / "set").glob("test.*"))


def test_gender_coding(faces: Path, tmp_path: Path) -> None:
    assert _run("import", faces, tmp_path / "a", *IMPORT, "--gender_coding", "male,female") == 0
    genders = open_records(tmp_path / "a" / "train.rec").labels()[:, 0]
    assert genders.tolist() == [1 - number % 2 for number in range(COUNT)]


def test_the_template_of_the_set_is_that_of_the_images(faces: Path, tmp_path: Path) -> None:
    for name, flags in (
        ("a", ("--template", "arcface")),
        ("b", ("--template", "arcface", "--set_template", "arcface")),
    ):
        assert _run("import", faces, tmp_path / name, *IMPORT, *flags) == 0
        assert json.loads((tmp_path / name / "train.json").read_text())["template"]["name"] == "arcface"
        assert _bodies(tmp_path / name / "train.rec") == _jpegs()


def test_color_order(tmp_path: Path) -> None:
    import h5py
    import simplejpeg

    red = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    red[..., 0] = 200
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["ages"], file["genders"] = red, [1, 2], [0, 1]
    for order, expected in (("rgb", (200, 0, 0)), ("bgr", (0, 0, 200))):
        assert _run("import", tmp_path / "a.h5", tmp_path / order, *IMPORT, "--color_order", order) == 0
        (pixels, _) = map(simplejpeg.decode_jpeg, _bodies(tmp_path / order / "train.rec"))
        np.testing.assert_allclose(pixels.mean((0, 1)), expected, atol=3)


def test_label_order(faces: Path, tmp_path: Path) -> None:
    assert _run("export", faces, tmp_path / "a.rec", "--label_order", "age,gender") == 0
    assert open_records(tmp_path / "a.rec").labels().astype(int).tolist()[3] == [23, 1]
    assert _run("import", tmp_path / "a.rec", tmp_path / "a", *IMPORT, "--label_order", "age,gender") == 0
    assert open_records(tmp_path / "a" / "train.rec").labels().astype(int).tolist()[3] == [1, 23]
    assert _run("import", tmp_path / "a.rec", tmp_path / "b", *IMPORT) == 1  # 20 years are no gender
    assert not list((tmp_path / "b").iterdir() if (tmp_path / "b").exists() else [])


def test_the_synthetic_mark(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("import", faces, tmp_path / "a", *IMPORT, "--synthetic") == 0
    assert _run("export", tmp_path / "a" / "train.rec", tmp_path / "a.h5") == 0
    assert _run("import", tmp_path / "a.h5", tmp_path / "b", *IMPORT) == 0
    assert _run("import", faces, tmp_path / "c", *IMPORT) == 0
    assert _run("import", tmp_path / "a" / "train.rec", tmp_path / "d", *IMPORT) == 0
    said = [json.loads((tmp_path / name / "train.json").read_text())["synthetic"] for name in "abcd"]
    assert said == [True, True, False, True]
    capsys.readouterr()
    assert _run("export", tmp_path / "a" / "train.rec", tmp_path / "e.rec") == 0
    assert "note: these records can't say that the faces are drawn" in capsys.readouterr().err
    (tmp_path / "e.json").write_text("[1]")  # another tool's
    assert _run("import", tmp_path / "e.rec", tmp_path / "f", *IMPORT) == 0
    assert json.loads((tmp_path / "f" / "train.json").read_text())["synthetic"] is False


def test_bins_stay_behind_only_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = "gender,age,low,high,std"
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, pack(Header(np.array([1, 28, 25, 32, -1], np.float32), 0), _jpegs()[0]))
    write_json(tmp_path / "a.json", {"labels": order})
    assert _run("export", tmp_path / "a.rec", tmp_path / "b.rec") == 0
    assert f"note: bins and deviations stay behind; --label_order {order} keeps them" in capsys.readouterr().err
    assert _run("export", tmp_path / "a.rec", tmp_path / "c.rec", "--label_order", order) == 0
    assert "note:" not in capsys.readouterr().err
    assert open_records(tmp_path / "c.rec").labels(5).tolist() == [[1, 28, 25, 32, -1]]
    assert _run("import", tmp_path / "c.rec", tmp_path / "d", *IMPORT, "--label_order", order) == 0
    assert open_records(tmp_path / "d" / "train.rec").labels(5).tolist() == [[1, 28, 25, 32, -1]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.h5", r"a\.h5: no HDF5 file that can be read \(.*truncated file"),
        ("a.rec", r"a\.idx does not fit a\.rec .*from another set"),
        ("tars/train-000000.tar", r"train-000000\.tar: damaged at or after '00000006\.jpg' \(unexpected end of data\)"),
    ],
)
def test_truncated_input(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    file = tmp_path / name
    flags = ("--format", "webdataset") if file.suffix == ".tar" else ()
    assert _run("export", faces, file.parent if flags else file, *flags) == 0
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 5])
    capsys.readouterr()
    assert _run("import", file, tmp_path / "set", *IMPORT) == 1
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = [line for line in said.err.splitlines() if "importing" not in line]
    assert re.search(f"^exchange.py: error: {file.parent}/{message}", line)
    assert not (tmp_path / "set").exists()


def test_a_tar_without_an_end_is_read_with_a_warning(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert _run("export", faces, tmp_path / "tars", "--format", "webdataset") == 0
    file = tmp_path / "tars" / "train-000000.tar"
    with tarfile.open(file) as tar:
        last = tar.getmembers()[-1]
    file.write_bytes(file.read_bytes()[: last.offset_data + 512])
    capsys.readouterr()
    assert _run("import", file, tmp_path / "set", *IMPORT) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'set' / 'train.rec'}: 12 faces\n"
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}: ends after '00000011.json', which is whole, without an end marker: were there more members?"
    ]


def test_loose_photos(tmp_path: Path, root: Path) -> None:
    """A portrait and a photo without a face, in a process of its own as detecting needs it."""
    from skimage.data import astronaut

    for number, image in enumerate((astronaut(), np.full((200, 200, 3), 90, np.uint8))):
        (tmp_path / f"{number}.jpg").write_bytes(encode_jpeg(image, 95))
        (tmp_path / f"{number}.json").write_text(f'{{"age": {40 + number}, "gender": "f", "subject": "s{number}"}}')
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for number in range(2):
            for kind in ("jpg", "json"):
                tar.add(tmp_path / f"{number}.{kind}", f"{number}.{kind}")
    flags = ("--template", "none", "--split_as", "train", "--workers", 1)
    done = _apart(root, "import", tmp_path / "photos.tar", tmp_path / "set", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'set' / 'train.rec'}: 1 faces",
        f"1 left out: no face found; {tmp_path / 'set' / 'skipped.csv'} lists them",
    ]
    about = json.loads((tmp_path / "set" / "train.json").read_text())
    assert about["template"]["name"] == "utkface"
    with open(tmp_path / "set" / "train.csv", newline="") as file:
        ((row),) = csv.DictReader(file)
    assert (row["path"], row["source"], row["subject"]) == ("photos/0", "photos", "s0")
    left, top, right, bottom = map(float, row["box"].split())
    assert 150 < left < 200
    assert 250 < right < 300
    assert 40 < top < 100
    assert 170 < bottom < 230


def test_help_is_light(root: Path) -> None:
    code = (
        "import sys; sys.argv = ['exchange.py', 'import', '--help']\n"
        "try:\n    import runpy; runpy.run_path('tools/exchange.py', run_name='__main__')\n"
        "except SystemExit as ended:\n"
        "    heavy = {'numpy', 'cv2', 'h5py', 'mxnet', 'torch', 'tqdm'} & set(sys.modules)\n"
        "    print(ended.code, sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=root)
    assert done.stderr == "0 []\n"
    for flag in ("--template", "--set_template", "--gender_coding", "--color_order", "--label_order", "--synthetic"):
        assert flag in done.stdout


def test_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--help") == 0
    assert "exit code: 0 all well, 1 damaged data, 2 wrong usage" in capsys.readouterr().out
    assert _run("export", "--help") == 0
    assert "--per_shard" in capsys.readouterr().out
