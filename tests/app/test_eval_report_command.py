"""eval.py --report: its files, what they say of where they come from, and what is refused."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.app.cli import main
from agegender.app.evaluation.faces import FaceRows
from agegender.app.evaluation.images import Origin, record_origins
from agegender.app.evaluation.worst import WorstFaces
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.face.photo import decode_jpeg, encode_jpeg
from agegender.face.templates import get_template
from agegender.files import sha256_file
from agegender.recordio import Header, RecordWriter, open_records, pack

FACES = 24
ROWS = [
    {
        "subject": f"s{number % 6}",
        "group": "ab"[number % 2],
        "box": f"0 0 {40 + number} 50",
        "score": f"0.{80 + number}",
    }
    for number in range(FACES)
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    Path("dataset").mkdir()


@pytest.fixture
def model(untrained_model: Path, tmp_path: Path) -> str:
    shutil.copytree(untrained_model.parent, tmp_path / "runs" / "ssrnet")
    return "runs/ssrnet/model"


def write_set(*, stem: str = "test", bins: bool = False, subjects: bool = True, shift: int = 0) -> Path:
    """Write drawn faces; with ``bins`` their ages are known by decade only."""
    path = Path("dataset") / f"{stem}.rec"
    lines = ["key,path,source,subject,group,box,score"]
    with RecordWriter(path) as writer:
        for key, row in enumerate(ROWS):
            sample = synthetic_sample(key)
            assert sample.image is not None
            low = sample.age // 10 * 10
            label = [sample.gender, low + 4, low, low + 9, -1] if bins else [sample.gender, sample.age]
            writer.write(key, pack(Header(np.array(label, np.float32), key), encode_jpeg(sample.image)))
            subject = f"s{key % 6 + shift}" if subjects else ""
            lines.append(f"{key},faces/{key}.jpg,drawn,{subject},{row['group']},{row['box']},{row['score']}")
    path.with_suffix(".csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    info = {
        "format": 1, "split": stem, "records": FACES, "template": get_template("utkface").to_json(112),
        "labels": "gender,age,low,high,std" if bins else "gender,age",
        "split_rule": {"val_ratio": 0.05, "test_ratio": 0.1, "seed": 3},
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(info), encoding="utf-8")
    return path


def evaluate(*arguments: str) -> dict[str, Any]:
    assert main(["eval", "--data", "dataset/test.rec", "--gpu_ids", "cpu", "--report", "out", *arguments]) == 0
    found: dict[str, Any] = json.loads(Path("out/report.json").read_text(encoding="utf-8"))
    return found


def faces() -> list[dict[str, str]]:
    with open("out/faces.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_files_and_what_they_say(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_set()
    write_set(stem="train", shift=4)
    found = evaluate("--model", model, "--by", "gender")
    assert capsys.readouterr().out.splitlines()[-1] == "report: out/index.html"
    assert {file.name for file in Path("out").iterdir()} == {"index.html", "report.json", "tables.csv", "faces.csv"}
    rows = faces()
    for row, known in zip(rows, ROWS, strict=True):
        assert {name: row[name] for name in known} | {"score": float(row["score"])} == {
            **known,
            "score": float(known["score"]),
        }
    about = found["about"]
    assert about["command"] == (
        "agegender eval --data dataset/test.rec --gpu_ids cpu --report out --model runs/ssrnet/model --by gender"
    )
    assert about["data"]["sha256"] == {"test.rec": sha256_file(path)}
    assert about["model"]["sha256"] == {"model-0001.params": sha256_file("runs/ssrnet/model-0001.params")}
    assert about["model"]["learned_from_sibling"] is None
    assert about["subjects"] == {"n": FACES, "known": FACES, "people": 6, "compared": ["train.csv"], "shared": 2}
    assert about["speed"]["faces"] == FACES
    assert about["speed"]["engine"] == "mxnet"
    assert {"agegender", "Python", "numpy", "scikit-learn", "Jinja2", "mxnet"} <= set(about["versions"])
    assert found["bootstrap"]["unit"] == "subjects"
    assert list(found["by"]["size"]) == ["32-63"]
    assert len(found["by"]["score"]) == 4
    off = [abs(float(row["predicted_age"]) - float(row["age"])) for row in rows]
    assert found["overall"]["mae"]["value"] == pytest.approx(np.mean(off))
    assert found["largest_errors"][0]["key"] == rows[int(np.argmax(off))]["key"]
    page = Path("out/index.html").read_text(encoding="utf-8")
    assert "2 of these people are in train.csv too: the figures flatter" in page
    assert "and 10.0% of all others, drawn by seeded hashes (seed 3)" in page
    assert "bootstrap over the 6 subjects, 1000 resamples, seed 0" in page


def test_subjects_widen_the_intervals_of_the_command(model: str) -> None:
    write_set(subjects=False)
    alone = evaluate()
    write_set()
    together = evaluate()
    assert (alone["bootstrap"]["unit"], together["bootstrap"]["unit"]) == ("images", "subjects")
    assert alone["overall"]["mae"]["value"] == together["overall"]["mae"]["value"]
    assert alone["overall"]["mae"]["low"] != together["overall"]["mae"]["low"]
    assert "image-level split: subjects may appear on both sides" not in Path("out/index.html").read_text("utf-8")


def test_the_worst_faces_are_shown_as_many_as_asked_for(model: str) -> None:
    write_set()
    evaluate("--report_faces", "3")
    page = Path("out/index.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 3
    rows = sorted(faces(), key=lambda row: -abs(float(row["predicted_age"]) - float(row["age"])))
    for row in rows[:3]:
        caption = f"{float(row['age']):.0f} → {float(row['predicted_age']):.0f}"
        assert f'alt="{row["key"]} {row["path"]}: {caption}"' in page
    evaluate("--report_faces", "0")
    assert "data:image/jpeg" not in Path("out/index.html").read_text(encoding="utf-8")


def test_a_set_of_bins(model: str) -> None:
    write_set(bins=True)
    found = evaluate()
    assert found["overall"]["mae"]["n"] == 0
    assert found["overall"]["bin_acc"]["n"] == FACES
    assert np.sum(found["confusion"]["bins"]["counts"]) == FACES
    assert [row["age"] for row in faces()] == [""] * FACES
    assert "Most surely the wrong gender" in Path("out/index.html").read_text(encoding="utf-8")


def test_a_list_is_called_one_and_tells_where_faces_were_found(model: str) -> None:
    from skimage import data

    Path("photo.jpg").write_bytes(encode_jpeg(data.astronaut()))
    Path("list.csv").write_text("path,gender,age,subject\nphoto.jpg,0,34,eileen\n", encoding="utf-8")
    assert main(["eval", "--data", "list.csv", "--report", "out", "--gpu_ids", "cpu", "--lang", "zh"]) == 0
    (row,) = faces()
    assert row["subject"] == "eileen"
    left, top, right, bottom = (float(end) for end in row["box"].split())
    assert 150 < left < right < 310 and 30 < top < bottom < 240
    assert 0.9 < float(row["score"]) <= 1
    page = Path("out/index.html").read_text(encoding="utf-8")
    assert "列表文件：内容由作者选定" in page
    assert '<html lang="zh-Hans">' in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report", "photo.jpg"], "--report 'photo.jpg' is a file; name a folder"),
        (["--report", "out", "--report_faces", "-1"], "--report_faces -1 is below 0 (0 shows no face)"),
        (
            ["--report", "out", "--csv", "out/faces.csv"],
            "--csv 'out/faces.csv' is what --report 'out' writes as faces.csv; name another file",
        ),
        (
            ["--report", "mine", "--data", "mine/faces.csv"],
            "--report 'mine/faces.csv' would overwrite 'mine/faces.csv', which --data reads; name another file",
        ),
        (
            ["--report", "runs/../mine", "--data", "mine/faces.csv"],
            "--report 'runs/../mine/faces.csv' would overwrite 'mine/faces.csv', which --data reads",
        ),
    ],
)
def test_what_would_be_overwritten_is_refused(
    arguments: list[str], message: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set()
    for folder in ("out", "mine"):
        Path(folder).mkdir()
    Path("photo.jpg").write_bytes(b"a photo")
    Path("mine/faces.csv").write_text("path,gender,age\nphoto.jpg,0,30\n", encoding="utf-8")
    before = {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()}
    assert main(["eval", "--data", "dataset/test.rec", *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"agegender eval: error: {message}")
    assert {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()} == before


def test_without_its_packages_it_says_what_to_install(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "jinja2" else real(name, *more)
    )
    write_set()
    assert main(["eval", "--data", "dataset/test.rec", "--report", "out"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "agegender eval: error: --report needs Jinja2: pip install agegender[report]"
    assert not Path("out").exists()


def test_origins_tell_who_and_where() -> None:
    path = write_set()
    with open_records(path) as records:
        assert record_origins(records)[7] == Origin(
            key=7, path="faces/7.jpg", source="drawn", subject="s1", group="b", box="0 0 47 50", score="0.87"
        )


def test_the_worst_are_kept_over_batches_and_ties_stay_with_the_first() -> None:
    kept = WorstFaces(2)
    for first, ages in ((0, [20.0, 50.0, np.nan]), (3, [50.0, 10.0, 90.0])):
        count = len(ages)
        crops = np.full((count, 8, 8, 3), np.arange(first, first + count)[:, None, None, None] * 20, np.uint8)
        labels = np.array([[0, 20]] * (count - 1) + [[0, 60]], np.float32)
        kept.offer(
            FaceRows(data=crops, labels=labels, rows=np.arange(first, first + count)), male=None, age=np.array(ages)
        )
    worst = kept.chosen([Origin(key=100 + row) for row in range(6)], ["female", "male"])
    assert worst is not None
    assert [picture.alt for picture in worst.pictures] == ["101: 20 → 50", "103: 20 → 50"]
    assert decode_jpeg(worst.pictures[0].jpeg)[0, 0, 0] == pytest.approx(20, abs=3)


def test_where_no_age_is_known_the_surest_wrong_genders_are_shown() -> None:
    kept = WorstFaces(5)
    labels = np.array([[0, -1], [1, -1], [1, -1], [-1, -1]], np.float32)
    batch = FaceRows(data=np.zeros((4, 8, 8, 3), np.uint8), labels=labels, rows=np.arange(4))
    kept.offer(batch, male=np.array([0.9, 0.2, 0.8, 0.9]), age=np.array([1.0, 2, 3, 4]))
    worst = kept.chosen([Origin(key=row) for row in range(4)], ["female", "male"])
    assert worst is not None
    assert worst.kind == "worst_gender"
    assert [picture.caption for picture in worst.pictures] == ["female, 90%", "male, 80%"]
    assert WorstFaces(5).chosen([], ["female", "male"]) is None
