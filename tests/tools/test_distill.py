"""Ages drawn towards models: what is written, beside what eval.py tells of the same faces, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from agegender.app.cli import main as agegender
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.face.photo import encode_jpeg
from agegender.face.templates import get_template
from agegender.pipeline.set_info import read_set_info
from agegender.recordio import Header, RecordWriter, open_records, pack, unpack
from tools.distill import main, mixed_ages

LABELS = np.array([[0, 20], [1, 30], [-1, 41], [1, -1], [0, 90]], np.float32)
KEYS = (3, 5, 8, 9, 12)


@pytest.fixture(autouse=True)
def _set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dataset").mkdir()
    with RecordWriter("dataset/train.rec") as writer:
        for key, label in zip(KEYS, LABELS, strict=True):
            image = synthetic_sample(key).image
            assert image is not None
            writer.write(key, pack(Header(label, key), encode_jpeg(image)))
    about = {
        "format": 1,
        "records": len(KEYS),
        "split": "train",
        "labels": "gender,age",
        "template": get_template("utkface").to_json(112),
        "sha256": {"train.rec": "abc"},
    }
    Path("dataset/train.json").write_text(json.dumps(about))
    rows = "".join(f"{key},{key}.jpg,x,,g{key},,\n" for key in KEYS)
    Path("dataset/train.csv").write_text("key,path,source,subject,group,box,score\n" + rows)


def write_told(path: str, ages: dict[int, float]) -> None:
    Path(path).write_text("key,predicted_age\n" + "".join(f"{key},{age}\n" for key, age in ages.items()))


def run(*words: str) -> int:
    return main(["--data", "dataset/train.rec", "--output", "new/train.rec", *words])


def test_ages_move_and_all_else_stays(capsys: pytest.CaptureFixture[str]) -> None:
    write_told("a.csv", dict(zip(KEYS, (24, 30, 41, 50, 70), strict=True)))
    write_told("b.csv", dict(zip(reversed(KEYS), (60, 50, 43, 31, 26), strict=True)))
    assert run("--faces", "a.csv", "b.csv", "--weight", "0.25") == 0
    old, new = open_records("dataset/train.rec"), open_records("new/train.rec")
    # A quarter of the way to 25, 30.5, 42 and 65; the unknown age stays unknown.
    assert new.labels(2).tolist() == [[0, 21.25], [1, 30.125], [-1, 41.25], [1, -1], [0, 83.75]]
    assert new.keys.tolist() == list(KEYS)
    for row in range(len(KEYS)):
        before, after = unpack(old.read(row)), unpack(new.read(row))
        assert bytes(before[1]) == bytes(after[1]) and before[0].id == after[0].id
    assert Path("new/train.csv").read_bytes() == Path("dataset/train.csv").read_bytes()
    info = read_set_info("new/train.rec")
    assert info is not None and info.raw["distilled"] == {"weight": 0.25, "models": 2, "of": {"train.rec": "abc"}}
    assert sorted(info.sha256) == ["train.csv", "train.idx", "train.rec"]
    assert capsys.readouterr().out == "new/train.rec: 5 faces, 4 ages moved by 1.97 years on average, 6.2 at most\n"


def test_takes_what_eval_writes(untrained_model: Path) -> None:
    shutil.copytree(untrained_model.parent, "model")
    words = ["eval", "--model", "model/model", "--data", "dataset/train.rec", "--csv", "told.csv", "--gpu_ids", "cpu"]
    assert agegender(words) == 0
    assert run("--faces", "told.csv", "--weight", "1") == 0
    with open("told.csv", newline="") as file:
        told = {int(row["key"]): float(row["predicted_age"]) for row in csv.DictReader(file)}
    ages = [told[key] if key != 9 else -1 for key in KEYS]
    np.testing.assert_allclose(open_records("new/train.rec").labels(2)[:, 1], ages, rtol=1e-6)


def test_mean_of_the_models() -> None:
    mixed = mixed_ages([10, -1], [[20, 5], [40, 6]], weight=0.5)
    assert mixed.tolist() == [20, -1] and mixed.dtype == np.float32


@pytest.mark.parametrize(
    ("told", "words", "code", "message"),
    [
        ("key,predicted_age\n3,20\n", (), 1, "told.csv: tells no age of record 5 (4 of 5 are missing)"),
        ("key,age\n3,20\n", (), 1, "told.csv: no table of eval.py --csv with key and predicted_age"),
        ("key,predicted_age\n3,old\n", (), 1, "could not convert string to float: 'old'"),
        (None, (), 1, "told.csv: No such file or directory"),
        ("", ("--weight", "1.5"), 2, "--weight 1.5 is not above 0 and at most 1"),
    ],
)
def test_what_is_refused(
    told: str | None, words: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if told is not None:
        Path("told.csv").write_text(told)
    assert run("--faces", "told.csv", *words) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not Path("new").exists()


def test_never_onto_itself(capsys: pytest.CaptureFixture[str]) -> None:
    write_told("a.csv", dict.fromkeys(KEYS, 30))
    before = Path("dataset/train.rec").read_bytes()
    assert main(["--data", "dataset/train.rec", "--output", "dataset/train.rec", "--faces", "a.csv"]) == 2
    assert "--output dataset/train.rec is the set that is read" in capsys.readouterr().err
    assert Path("dataset/train.rec").read_bytes() == before
