"""What eval says of a model that tells one of the two only, of groups by their codes, and of what is no set."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.app.cli import main
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.face.photo import encode_jpeg
from agegender.face.templates import get_template
from agegender.graph.info import read_info, write_info
from agegender.recordio import Header, RecordWriter, pack

FACES = 21


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    images = (synthetic_sample(index).image for index in range(FACES))
    return [encode_jpeg(image) for image in images if image is not None]


@pytest.fixture
def labels() -> Any:
    known = np.array([[number % 2, 20 + number] for number in range(FACES)], np.float32)
    known[3, 0] = known[4, 1] = -1
    return known


@pytest.fixture
def model(untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The newest run in an empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    Path("dataset").mkdir()
    shutil.copytree(untrained_model.parent, "runs/ssrnet")
    return "runs/ssrnet/model"


def write_set(bodies: list[bytes], labels: Any, *, groups: str = "ab", source: str = "drawn") -> None:
    """Write dataset/val.rec, its JSON and its CSV, whose faces are in the groups by turns."""
    path = Path("dataset/val.rec")
    with RecordWriter(path) as writer:
        for number, (body, label) in enumerate(zip(bodies, labels, strict=True)):
            writer.write(100 + number, pack(Header(np.asarray(label), 100 + number), body))
    text = {"format": 1, "split": "val", "records": len(bodies), "template": get_template("utkface").to_json(112)}
    path.with_suffix(".json").write_text(json.dumps(text | {"labels": "gender,age"}), encoding="utf-8")
    rows = [
        f"{100 + number},faces/{number}.jpg,{source},,{groups[number % len(groups)]},,\n"
        for number in range(len(bodies))
    ]
    header = "key,path,source,subject,group,box,score\n"
    path.with_suffix(".csv").write_text(header + "".join(rows), encoding="utf-8")


@pytest.mark.parametrize(
    ("task", "lang", "figures", "told", "heads"),
    [
        ("gender", "en", ["acc"], "age: the model tells none", ["group", "n", "acc"]),
        ("age", "en", ["MAE", "CUM_5", "older convention, rounded age within"], "gender: the model tells none",
         ["group", "n", "MAE", "CUM_5", "bias"]),
        ("gender", "zh", ["性别准确率："], "年龄：该模型不判断年龄", ["组", "n", "acc"]),
        ("age", "zh", ["年龄平均绝对误差", "年龄误差不超过5岁", "年龄准确率："], "性别：该模型不判断性别",
         ["组", "n", "MAE", "CUM_5", "bias"]),
    ],
)  # fmt: skip
def test_of_what_a_model_does_not_tell_there_is_one_line(
    bodies: list[bytes], labels: Any, model: str, capsys: pytest.CaptureFixture[str],
    task: str, lang: str, figures: list[str], told: str, heads: list[str],
) -> None:  # fmt: skip
    info = read_info(model)
    assert info is not None
    info.task = task
    write_info(model, info)
    write_set(bodies, labels)
    assert main(["eval", "--lang", lang]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    # What is known of the set does not depend on what the model tells.
    assert (
        lines[0]
        == {
            "en": "faces: 21 (20 with gender, 20 with age)",
            "zh": "人脸：21张（有性别20张，有年龄20张）",
        }[lang]
    )
    rest = lines[1 : lines.index("")]
    rest.remove(told)
    assert all(line.startswith(name) for line, name in zip(rest, figures, strict=True))
    assert "nan" not in out
    table = [line.split() for line in lines[lines.index("") + 1 :]]
    assert table[0] == heads
    assert [(row[0], row[1], len(row)) for row in table[1:]] == [("a", "11", len(heads)), ("b", "10", len(heads))]


@pytest.mark.parametrize(
    ("lang", "source", "names"),
    [
        ("en", "UTKFace", ["White (0)", "Indian (3)", "7"]),
        ("zh", "UTKFace", ["白人 (0)", "印度裔 (3)", "7"]),
        ("en", "AFAD", ["0", "3", "7"]),
    ],
)
def test_codes_of_groups_have_their_meaning(
    bodies: list[bytes], labels: Any, model: str, capsys: pytest.CaptureFixture[str],
    lang: str, source: str, names: list[str],
) -> None:  # fmt: skip
    write_set(bodies, labels, groups="037", source=source)
    assert main(["eval", "--lang", lang, "--csv", "faces.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("") + 1
    for line, name in zip(lines[start + 1 : start + 4], names, strict=True):
        assert line.startswith(f"{name} ")
        assert line.removeprefix(name).split()[0] == "7"
    # The file keeps the codes.
    with open("faces.csv", encoding="utf-8", newline="") as file:
        assert [row["group"] for row in csv.DictReader(file)] == ["037"[number % 3] for number in range(FACES)]


@pytest.mark.parametrize(
    "content",
    [encode_jpeg(np.zeros((20, 20, 3), np.uint8)), b"PK\x03\x04\x14\0\0\0"],
    ids=["photo", "archive"],
)
def test_a_photo_is_no_list(content: bytes, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("party.jpg").write_bytes(content)
    assert main(["eval", "--data", "party.jpg"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "agegender eval: error: --data party.jpg is neither records (a name in .rec) nor a list of photos (text: "
        "path,gender,age); infer.py --image tells the faces of one photo"
    )


def test_a_list_that_excel_saved_is_told_what_to_do(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("faces.txt").write_bytes("path,gender,age\na.jpg,0,1\n".encode("utf-16"))
    assert main(["eval", "--data", "faces.txt"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "agegender eval: error: faces.txt:1: not UTF-8 text; save the list as UTF-8"
