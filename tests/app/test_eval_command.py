"""eval.py: its figures against a plain loop, its files, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.age_distribution import age_interval
from agegender.app import evaluate
from agegender.app.cli import main
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.executor import open_executor
from agegender.face.photo import decode_jpeg, encode_jpeg
from agegender.face.templates import get_template
from agegender.graph.checkpoint import load_checkpoint
from agegender.graph.info import read_info, write_info
from agegender.recordio import Header, RecordWriter, pack
from agegender.resize import resize_crop

FACES = 21
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    images = (synthetic_sample(index).image for index in range(FACES))
    return [encode_jpeg(image) for image in images if image is not None]


@pytest.fixture(scope="module")
def labels() -> np.ndarray[Any, np.dtype[np.float32]]:
    samples = [synthetic_sample(index) for index in range(FACES)]
    known = np.array([[sample.gender, sample.age] for sample in samples], np.float32)
    known[3, 0] = known[4, 1] = -1
    return known


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    Path("dataset").mkdir()


@pytest.fixture
def model(untrained_model: Path, tmp_path: Path) -> str:
    shutil.copytree(untrained_model.parent, tmp_path / "runs" / "ssrnet")
    return "runs/ssrnet/model"


def write_set(bodies: list[bytes], labels: Any, *, template: str | None = "utkface", stem: str = "val") -> Path:
    """Write records, their JSON (unless ``template`` is None) and a CSV with two groups."""
    path = Path("dataset") / f"{stem}.rec"
    with RecordWriter(path) as writer:
        for number, (body, label) in enumerate(zip(bodies, labels)):
            writer.write(100 + number, pack(Header(np.asarray(label), 100 + number), body))
    if template is not None:
        described = get_template(template).to_json(112)
        text = {"format": 1, "split": stem, "records": len(bodies), "template": described, "labels": "gender,age"}
        path.with_suffix(".json").write_text(json.dumps(text), encoding="utf-8")
        rows = [f"{100 + number},faces/{number}.jpg,drawn,,{'ab'[number % 2]},," for number in range(len(bodies))]
        header = "key,path,source,subject,group,box,score"
        path.with_suffix(".csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def plain_loop(model: str, bodies: list[bytes]) -> list[tuple[float, float]]:
    """Return (probability of male, age) of each face, one by one."""
    executor = open_executor(load_checkpoint(model), gpu_ids="cpu")
    answers = []
    for body in bodies:
        crop = resize_crop(decode_jpeg(body), (64, 64))
        outputs = executor.forward(crop.transpose(2, 0, 1)[None].astype(np.float32))
        answers.append((float(outputs["gender_softmax_output"][0, 1]), float(outputs["age_output"][0, 0])))
    return answers


def test_figures_and_files_agree_with_a_plain_loop(
    bodies: list[bytes], labels: Any, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(bodies, labels)
    # The newest run and dataset/val.rec are the defaults; 8 leaves a last batch that is not full.
    assert main(["eval", "--batch_size", "8", "--csv", "faces.csv", "--plot", "ages.png", "--gpu_ids", "cpu"]) == 0
    output = capsys.readouterr()
    assert output.err.splitlines() == [
        "model: runs/ssrnet/model, epoch 1 (the newest run in runs)",
        "data: dataset/val.rec (21 faces, crop template 'utkface')",
    ]
    answers = plain_loop(model, bodies)
    right = [(male > 0.5) == label[0] for (male, _), label in zip(answers, labels) if label[0] >= 0]
    errors = np.array([age - label[1] for (_, age), label in zip(answers, labels) if label[1] >= 0])
    rounded = [abs(round(age) - label[1]) <= 3 for (_, age), label in zip(answers, labels) if label[1] >= 0]
    lines = output.out.splitlines()
    assert lines[0] == "faces: 21 (20 with gender, 20 with age)"
    assert lines[1] == f"acc={np.mean(right):.6f} (gender accuracy, n=20)"
    name, figure = lines[2].split("=", 1)
    assert (name, float(figure.split()[0])) == ("MAE", pytest.approx(np.abs(errors).mean(), abs=1e-4))
    assert lines[3] == f"CUM_5={np.mean(np.abs(errors) <= 5):.6f} (share at most 5 years off, n=20)"
    assert lines[4] == f"older convention, rounded age within 3 years: {np.mean(rounded):.6f} (n=20)"
    assert [line.split()[:2] for line in lines[6:9]] == [["group", "n"], ["a", "11"], ["b", "10"]]
    assert lines[-2:] == ["faces one by one: faces.csv", "picture: ages.png"]
    assert Path("ages.png").read_bytes()[:4] == PNG
    check_csv(answers, labels)


def check_csv(answers: list[tuple[float, float]], labels: Any) -> None:
    with open("faces.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == FACES
    for number, (row, (male, age)) in enumerate(zip(rows, answers)):
        assert row["key"] == str(100 + number)
        assert row["path"] == f"faces/{number}.jpg"
        assert (row["source"], row["group"]) == ("drawn", "ab"[number % 2])
        assert row["predicted_gender"] == str(int(male > 0.5))
        assert float(row["gender_probability"]) == pytest.approx(max(male, 1 - male), abs=1e-3)
        assert float(row["predicted_age"]) == pytest.approx(age, abs=1e-2)
        if number not in (3, 4):
            assert (row["gender"], row["age"]) == tuple(str(int(value)) for value in labels[number])
            assert float(row["error"]) == pytest.approx(age - labels[number][1], abs=1e-2)
    assert rows[3]["gender"] == ""
    assert (rows[4]["age"], rows[4]["error"]) == ("", "")


def test_chinese_lines_are_those_people_know(
    bodies: list[bytes], labels: Any, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(bodies, labels)
    assert main(["eval", "--lang", "zh", "--model", f"{model},1", "--plot", "年龄.png", "--by", "gender"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "人脸：21张（有性别20张，有年龄20张）"
    assert [line.partition("：")[0] for line in lines[1:5]] == [
        "性别准确率",
        "年龄平均绝对误差（MAE）",
        "年龄误差不超过5岁（CUM_5）",
        "年龄准确率",
    ]
    assert all(len(line.partition("：")[2]) >= 8 for line in lines[1:5])
    assert [line.split()[0] for line in lines[6:]] == ["性别", "unknown", "女", "男", "图片：年龄.png"]
    assert Path("年龄.png").read_bytes()[:4] == PNG


def test_without_labels_figures_are_nan(
    bodies: list[bytes], labels: Any, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_set(bodies, np.full_like(labels, -1)).with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"synthetic": True}), encoding="utf-8")
    assert main(["eval", "--plot", "none.png"]) == 0
    output = capsys.readouterr()
    assert output.err.endswith("(21 faces, crop template 'utkface'; drawn faces, not photographs)\n")
    lines = output.out.splitlines()
    assert lines[0] == "faces: 21 (0 with gender, 0 with age)"
    assert lines[1] == "acc=nan (gender accuracy, n=0)"
    assert lines[2].startswith("MAE=nan ")
    assert lines[3].startswith("CUM_5=nan ")
    assert lines[4] == "older convention, rounded age within 3 years: nan (n=0)"


def test_a_face_s_line_is_empty_where_the_model_tells_nothing(bodies: list[bytes], labels: Any, model: str) -> None:
    info = read_info(model)
    assert info is not None
    info.task = "gender"
    write_info(model, info)
    write_set(bodies, labels)
    assert main(["eval", "--csv", "faces.csv"]) == 0
    with open("faces.csv", encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["predicted_age"], first["error"]) == ("", "")
    assert first["gender_probability"] != ""


def test_flip_averages_over_the_mirrored_faces(bodies: list[bytes], labels: Any, model: str) -> None:
    write_set(bodies, labels)
    assert main(["eval", "--flip", "--csv", "faces.csv"]) == 0
    executor = open_executor(load_checkpoint(model), gpu_ids="cpu")
    image = resize_crop(decode_jpeg(bodies[0]), (64, 64))
    both = np.stack([image, image[:, ::-1]]).transpose(0, 3, 1, 2).astype(np.float32)
    with open("faces.csv", encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    assert float(first["predicted_age"]) == pytest.approx(executor.forward(both)["age_output"].mean(), abs=1e-2)


def test_calibration_says_how_far_confidence_can_be_relied_on(
    bodies: list[bytes], labels: Any, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(bodies, labels)
    info = read_info(model)
    assert info is not None
    years = np.array([age for _, age in plain_loop(model, bodies)])
    known = labels[:, 1] >= 0
    stored = {"epoch": 1, "gender_temperature": 3.0, "age_shifts": {"0.8": -20.0}}
    for info.calibration, first, shift in (
        ({}, "calibration: none stored for this epoch, ", 0),
        (stored | {"epoch": 2}, "calibration: none stored for this epoch, ", 0),
        (stored, "calibration: as stored with the model (temperature 3.000)", -20),
    ):
        write_info(model, info)
        assert main(["eval", "--calibration", "--batch_size", "8", "--gpu_ids", "cpu"]) == 0
        lines = capsys.readouterr().out.splitlines()[5:8]
        assert lines[0].startswith(first)
        assert lines[1].startswith("ECE=0.")
        ends = intervals(model, bodies) + np.array([-shift, shift])
        low, high = np.minimum(ends[:, 0], years), np.maximum(ends[:, 1], years)
        held = np.mean(((low <= labels[:, 1]) & (labels[:, 1] <= high))[known])
        assert lines[2].startswith(f"COVERAGE_80={held:.6f} (share of ages in their intervals, ")
        assert lines[2].endswith(f", {np.mean((high - low)[known]):.2f} years wide, n=20)")
    info.calibration = {"gender_temperature": 0}
    write_info(model, info)
    assert main(["eval", "--calibration"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "agegender eval: error: runs/ssrnet/model.json: calibration: gender_temperature is 0, not a number above 0"
    )


def intervals(model: str, bodies: list[bytes]) -> Any:
    """Return the net's own 80% intervals, from its distributions."""
    executor = open_executor(load_checkpoint(model), gpu_ids="cpu")
    crops = np.stack([resize_crop(decode_jpeg(body), (64, 64)) for body in bodies])
    return age_interval(executor.forward(crops.transpose(0, 3, 1, 2).astype(np.float32))["age_softmax_output"])


def test_label_order_of_the_set_and_of_the_flag(
    bodies: list[bytes], labels: Any, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(bodies, labels)
    assert main(["eval", "--by", "age"]) == 0
    expected = capsys.readouterr()
    write_set(bodies, labels[:, ::-1], template=None, stem="old")
    assert main(["eval", "--data", "dataset/old.rec", "--label_order", "age,gender", "--by", "age"]) == 0
    found = capsys.readouterr()
    assert found.out == expected.out
    assert found.err.splitlines()[-1] == (
        "data: dataset/old.rec (21 faces, crop template not written down, taken for the model's)"
    )


def test_a_bad_record_stops_or_is_left_out_once(
    bodies: list[bytes], labels: Any, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set([*bodies[:5], b"not a picture", *bodies[6:]], labels)
    assert main(["eval"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("agegender eval: error: dataset/val.rec: record 105: body of 13 bytes is no image")
    assert main(["eval", "--bad_records", "skip", "--csv", "faces.csv"]) == 1
    output = capsys.readouterr()
    assert output.err.splitlines()[-1].startswith("left out: 1 bad records (the first: dataset/val.rec: record 105: ")
    assert output.out.splitlines()[0] == "faces: 20 (19 with gender, 19 with age)"
    keys = [line.partition(",")[0] for line in Path("faces.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert keys == [str(100 + number) for number in range(FACES) if number != 5]


def test_another_template_is_refused_or_cropped_anew(
    bodies: list[bytes], labels: Any, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = astronaut()
    write_set([encode_jpeg(photo), encode_jpeg(np.zeros((64, 64, 3), np.uint8))], labels[:2], template="arcface")
    assert main(["eval"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "agegender eval: error: dataset/val.rec is in the crop template 'arcface', the model wants 'utkface'; "
        "--recrop finds and warps the faces anew"
    )
    assert main(["eval", "--recrop"]) == 0
    output = capsys.readouterr()
    assert output.err.splitlines()[-1] == (
        "left out: 1 without a face that the detector finds (the first: dataset/val.rec: record 101)"
    )
    assert output.out.splitlines()[0] == "faces: 1 (1 with gender, 1 with age)"


def test_a_list_of_photos_is_detected_and_crops_are_only_resized(
    bodies: list[bytes], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("crop.jpg").write_bytes(bodies[0])
    Path("photo.jpg").write_bytes(encode_jpeg(astronaut()))
    Path("list.txt").write_text(
        "path,gender,age,template,group\ncrop.jpg,0,30,utkface,a\nphoto.jpg,0,40,,a\n", encoding="utf-8"
    )
    assert main(["eval", "--data", "list.txt", "--csv", "faces.csv"]) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[0] == "faces: 2 (2 with gender, 2 with age)"
    with open("faces.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["key"], row["path"], row["source"]) for row in rows] == [
        ("0", "crop.jpg", "list"),
        ("1", "photo.jpg", "list"),
    ]
    assert float(rows[0]["predicted_age"]) == pytest.approx(plain_loop(model, bodies[:1])[0][1], abs=1e-2)


def test_an_unreadable_photo_stops_or_is_left_out(
    bodies: list[bytes], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("crop.jpg").write_bytes(bodies[0])
    Path("bad.jpg").write_text("no picture", encoding="utf-8")
    Path("list.txt").write_text(
        "path,gender,age,template\nbad.jpg,0,30,utkface\ncrop.jpg,1,20,utkface\n", encoding="utf-8"
    )
    assert main(["eval", "--data", "list.txt"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "agegender eval: error: bad.jpg: not a picture in a format that can be read "
        "(--bad_records skip passes over such images)"
    )
    assert main(["eval", "--data", "list.txt", "--bad_records", "skip"]) == 1
    output = capsys.readouterr()
    assert output.out.splitlines()[0] == "faces: 1 (1 with gender, 1 with age)"
    assert output.err.splitlines()[-1].startswith("left out: 1 bad records (the first: bad.jpg: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "dataset/val.rec is not there; --data names another (create_dataset.py packs val.rec, and"),
        (["--data", "nothing.txt"], "--data 'nothing.txt': there is no such file (create_dataset.py packs one)"),
        (["--data", "list.txt"], "list.txt has crops in the template 'arcface', the model wants 'utkface'; "),
        (["--batch_size", "0"], "--batch_size 0 is not 1 or more"),
        (["--by", "race"], "--by 'race' is none of group, source, age, gender"),
        (["--plot", "ages.gif"], "--plot 'ages.gif': the name must end in .png, .jpg,"),
        (["--csv", "none/faces.csv"], "--csv 'none/faces.csv': there is no folder 'none'"),
        (["--model", "ssrnett"], "there is no model 'ssrnett'"),
    ],
)
def test_what_does_not_fit_is_one_line(
    arguments: list[str], message: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("list.txt").write_text("path,gender,age,template\na.jpg,0,1,arcface\n", encoding="utf-8")
    assert main(["eval", *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"agegender eval: error: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--data", "mine.csv", "--csv", "mine.csv"],
            "--csv 'mine.csv' would overwrite 'mine.csv', which --data reads",
        ),
        (["--data", "./mine.csv", "--csv", "dataset/../mine.csv"], "--csv 'dataset/../mine.csv' would overwrite "),
        (
            ["--data", "link.csv", "--csv", "mine.csv"],
            "--csv 'mine.csv' would overwrite 'link.csv', which --data reads",
        ),
        (
            ["--data", "mine.csv", "--csv", "hard.csv"],
            "--csv 'hard.csv' would overwrite 'mine.csv', which --data reads",
        ),
        (
            ["--data", "mine.csv", "--plot", "crop.jpg"],
            "--plot 'crop.jpg' would overwrite 'crop.jpg', which --data reads",
        ),
        (["--csv", "dataset/val.rec"], "--csv 'dataset/val.rec' would overwrite 'dataset/val.rec', which --data reads"),
        (["--csv", "dataset/val.csv"], "--csv 'dataset/val.csv' would overwrite 'dataset/val.csv', which --data reads"),
        (["--csv", "dataset/val.idx"], "--csv 'dataset/val.idx' would overwrite 'dataset/val.idx', which --data reads"),
        (
            ["--csv", "runs/ssrnet/model.json"],
            "--csv 'runs/ssrnet/model.json' would overwrite 'runs/ssrnet/model.json', which belongs to the model",
        ),
        (["--csv", "same.png", "--plot", "same.png"], "--csv 'same.png' and --plot 'same.png' are the same file"),
        (
            ["--csv", "./same.png", "--plot", "dataset/../same.png"],
            "--csv './same.png' and --plot 'dataset/../same.png' ",
        ),
        (["--csv", "linked.png", "--plot", "same.png"], "--csv 'linked.png' and --plot 'same.png' are the same file"),
        (["--csv", "dataset"], "--csv 'dataset' is a folder; name a file"),
        (["--plot", "plots.png"], "--plot 'plots.png' is a folder; name a file"),
        (["--plot", "dataset"], "--plot 'dataset' is a folder; name a file"),
    ],
)
def test_no_output_replaces_what_is_read_or_written(
    arguments: list[str],
    message: str,
    bodies: list[bytes],
    labels: Any,
    model: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_set(bodies, labels)
    Path("crop.jpg").write_bytes(bodies[0])
    Path("mine.csv").write_text("path,gender,age,template\ncrop.jpg,0,30,utkface\n", encoding="utf-8")
    Path("link.csv").symlink_to("mine.csv")
    Path("hard.csv").hardlink_to("mine.csv")
    Path("linked.png").symlink_to("same.png")
    Path("plots.png").mkdir()
    before = {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()}

    def score(*arguments: object, **options: object) -> None:
        raise AssertionError("it was scored before it was refused")

    monkeypatch.setattr(evaluate, "score", score)
    assert main(["eval", *arguments]) == 2
    output = capsys.readouterr()
    error = output.err.splitlines()[-1]
    assert error.startswith(f"agegender eval: error: {message}")
    assert output.out == ""
    assert {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()} == before


def test_an_output_of_an_earlier_run_is_replaced(bodies: list[bytes], labels: Any, model: str) -> None:
    write_set(bodies, labels)
    Path("faces.csv").write_text("old", encoding="utf-8")
    Path("ages.png").write_text("old", encoding="utf-8")
    assert main(["eval", "--csv", "faces.csv", "--plot", "ages.png", "--gpu_ids", "cpu"]) == 0
    assert Path("faces.csv").read_text(encoding="utf-8").startswith("key,path,source,")
    assert Path("ages.png").read_bytes()[:4] == PNG


def test_a_model_without_description_is_refused(
    bodies: list[bytes], labels: Any, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(bodies, labels)
    Path(f"{model}.json").unlink()
    assert main(["eval"]) == 1
    assert "runs/ssrnet/model.json does not exist: without it" in capsys.readouterr().err


def astronaut() -> Any:
    from skimage import data

    return data.astronaut()
