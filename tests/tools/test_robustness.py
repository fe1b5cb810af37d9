"""The robustness table: its clean row is what eval.py says, the others what a plain loop gives, and its messages."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from agegender.app.cli import main as agegender
from agegender.app.evaluation.images import RecordImages
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.errors import UsageError
from agegender.executor import open_executor
from agegender.face.corruption import CORRUPTIONS, corrupt
from agegender.face.photo import decode_jpeg, encode_jpeg
from agegender.face.templates import get_template
from agegender.graph.checkpoint import load_checkpoint
from agegender.graph.info import read_info, write_info
from agegender.recordio import Header, RecordWriter, open_records, pack
from agegender.resize import resize_crop
from tools.robustness import CorruptedRecords, main, parse_severities

FACES = 11
LABELS = np.array([[number % 2, 20 + 3 * number] for number in range(FACES)], np.float32)
BASE = ("--model", "model/model", "--gpu_ids", "cpu")


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    images = (synthetic_sample(index).image for index in range(FACES))
    return [encode_jpeg(image) for image in images if image is not None]


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_model(untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    shutil.copytree(untrained_model.parent, tmp_path / "model")


def write_set(bodies: list[bytes], *, template: str = "utkface", path: str = "dataset/test.rec", **about: Any) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    with RecordWriter(Path(path)) as writer:
        for number, (body, label) in enumerate(zip(bodies, LABELS)):
            writer.write(100 + number, pack(Header(label, 100 + number), body))
    described = get_template(template).to_json(112)
    text = {"format": 1, "split": "test", "records": len(bodies), "template": described, "labels": "gender,age"}
    Path(path).with_suffix(".json").write_text(json.dumps(text | about), encoding="utf-8")


def rows_of(text: str) -> dict[str, list[str]]:
    """Return the cells of a Markdown table by the first one."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert lines[0] == ["corruption", "gender acc", "MAE", "CUM_5", "change of MAE"]
    assert set(lines[1]) == {"---"}
    return {line[0]: line[1:] for line in lines[2:]}


def figures_of(path: str = "rows.csv") -> dict[str, dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return {row["corruption"]: row for row in csv.DictReader(file)}


def test_the_clean_row_is_what_eval_says(bodies: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    write_set(bodies)
    assert agegender(["eval", *BASE, "--data", "dataset/test.rec", "--batch_size", "4"]) == 0
    evaluated = capsys.readouterr()
    # Another batch size, so that the last batch of neither is full.
    assert main([*BASE, "--batch_size", "3", "--csv", "rows.csv"]) == 0
    output = capsys.readouterr()
    assert output.err.splitlines() == [*evaluated.err.splitlines(), "figures: rows.csv"]
    expected = dict(line.split(" ")[0].split("=") for line in evaluated.out.splitlines()[1:4])
    clean = figures_of()["clean"]
    assert f"{float(clean['acc']):.6f}" == expected["acc"]
    assert float(clean["MAE"]) == pytest.approx(float(expected["MAE"]), abs=2e-5)
    assert f"{float(clean['CUM_5']):.6f}" == expected["CUM_5"]
    assert clean["n"] == str(FACES)
    acc, mae, cum = (float(expected[name]) for name in ("acc", "MAE", "CUM_5"))
    table = rows_of(output.out)
    assert list(table) == ["clean", *CORRUPTIONS]
    assert table["clean"] == [f"{acc:.1%}", f"{mae:.2f}", f"{cum:.1%}", ""]


def test_the_other_rows_are_those_of_a_plain_loop(bodies: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    write_set(bodies)
    assert main([*BASE, "--seed", "4", "--csv", "rows.csv"]) == 0
    table, figures = rows_of(capsys.readouterr().out), figures_of()
    executor = open_executor(load_checkpoint("model/model"), gpu_ids="cpu")
    for name in CORRUPTIONS:
        errors, right = [], []
        for number, (body, (gender, age)) in enumerate(zip(bodies, LABELS)):
            crop = resize_crop(corrupt(decode_jpeg(body), name, seed=4, number=number), (64, 64))
            outputs = executor.forward(crop.transpose(2, 0, 1)[None].astype(np.float32))
            errors.append(abs(float(outputs["age_output"][0, 0]) - age))
            right.append((outputs["gender_softmax_output"][0, 1] > 0.5) == gender)
        assert float(figures[name]["MAE"]) == pytest.approx(np.mean(errors), abs=1e-3)
        assert float(figures[name]["acc"]) == pytest.approx(np.mean(right))
        change = float(figures[name]["MAE"]) - float(figures["clean"]["MAE"])
        assert float(figures[name]["MAE_change"]) == pytest.approx(change)
        assert table[name][3] == f"{change:+.2f}"


def test_severities_are_those_of_a_plain_loop(bodies: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    write_set(bodies)
    arguments = [*BASE, "--severities", "2,5", "--csv", "rows.csv", "--plot", "severities.png"]
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert output.err.splitlines()[-2:] == ["figures: rows.csv", "picture: severities.png"]
    assert Path("severities.png").read_bytes()[:4] == b"\x89PNG"
    with open("rows.csv", encoding="utf-8", newline="") as file:
        rows = {(row["corruption"], row["severity"]): row for row in csv.DictReader(file)}
    graded = [name for name in CORRUPTIONS if name != "mirror"]
    assert list(rows) == [("clean", ""), *((name, severity) for name in graded for severity in "25")]
    assert rows["rotate", "5"]["amount"] == "30"
    executor = open_executor(load_checkpoint("model/model"), gpu_ids="cpu")
    clean_errors = []
    for body, (_, age) in zip(bodies, LABELS):
        crop = resize_crop(decode_jpeg(body), (64, 64))
        outputs = executor.forward(crop.transpose(2, 0, 1)[None].astype(np.float32))
        clean_errors.append(abs(float(outputs["age_output"][0, 0]) - age))
    for name in ("noise", "jpeg", "shift"):
        errors = []
        for number, (body, (_, age)) in enumerate(zip(bodies, LABELS)):
            crop = resize_crop(corrupt(decode_jpeg(body), name, seed=0, number=number, severity=5), (64, 64))
            outputs = executor.forward(crop.transpose(2, 0, 1)[None].astype(np.float32))
            errors.append(abs(float(outputs["age_output"][0, 0]) - age))
        assert float(rows[name, "5"]["MAE"]) == pytest.approx(np.mean(errors), abs=1e-3)
        for figure, sample in (("MAE", errors), ("MAE_change", np.subtract(errors, clean_errors))):
            low, high = (float(rows[name, "5"][f"{figure}_{end}"]) for end in ("low", "high"))
            assert low <= float(rows[name, "5"][figure]) <= high
            # SciPy's own resamples: the ends differ by what 1,000 draws leave open.
            ends = bootstrap((sample,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
            assert (low, high) == pytest.approx(ends, abs=0.12 * (ends.high - ends.low))
    lines = output.out.splitlines()
    mae, acc = (shown_of(rows["clean", ""], name, form) for name, form in (("MAE", ".2f"), ("acc", ".1%")))
    assert lines[0] == f"clean: MAE {mae}, gender acc {acc} (n={FACES})"
    heads = [number for number, line in enumerate(lines) if line.endswith("| 2 | 5 | mean |")]
    assert [lines[number].split()[1] for number in heads] == ["MAE", "gender"]
    shown = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines[heads[0] + 2 :][:11]}
    assert list(shown) == [*graded, "mean"]
    two, five = (float(rows["noise", severity]["MAE"]) for severity in "25")
    assert shown["noise"][:2] == [shown_of(rows["noise", severity], "MAE", ".2f") for severity in "25"]
    assert shown["noise"][2].startswith(f"{(two + five) / 2:.2f} ±")
    of_five = [float(rows[name, "5"]["MAE"]) for name in graded]
    assert shown["mean"][1].startswith(f"{np.mean(of_five):.2f} ±")
    # A mean over corruptions is of the same faces, so it is nearly as unsure as each of them.
    halves = {name: float(cells[1].partition("±")[2]) for name, cells in shown.items()}
    assert 0.5 * min(halves.values()) < halves["mean"] <= max(halves.values())


def shown_of(row: dict[str, str], figure: str, form: str) -> str:
    half = (float(row[f"{figure}_high"]) - float(row[f"{figure}_low"])) / 2
    return f"{float(row[figure]):{form}} ±{half:{form}}"


def test_faces_of_one_person_are_drawn_together(bodies: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    halves = []
    for who in ("", "same"):
        write_set(bodies)
        lines = [f"{100 + number},f{number},drawn,{who},,," for number in range(FACES)]
        text = "\n".join(["key,path,source,subject,group,box,score", *lines])
        Path("dataset/test.csv").write_text(text + "\n", encoding="utf-8")
        assert main([*BASE, "--severities", "3", "--csv", "rows.csv"]) == 0
        rows = figures_of()
        halves.append(float(rows["noise"]["MAE_high"]) - float(rows["noise"]["MAE_low"]))
    # Of a single person every resample is the whole set.
    assert halves[0] > 1
    assert halves[1] == pytest.approx(0)


@pytest.mark.parametrize(
    ("text", "found"), [(None, []), ("1-5", [1, 2, 3, 4, 5]), ("3", [3]), ("5,1", [1, 5]), ("2-3, 3", [2, 3])]
)
def test_severities_as_people_write_them(text: str | None, found: list[int]) -> None:
    assert parse_severities(text) == found


@given(st.text(max_size=8))
def test_other_severities_are_refused_in_one_line(text: str) -> None:
    try:
        assert set(parse_severities(text)) <= {1, 2, 3, 4, 5}
    except UsageError as error:
        assert str(error).startswith(f"--severities {text!r} is nothing like 1-5, 3 or 1,3,5")


def test_a_face_is_spoilt_in_the_same_way_whatever_the_limit(bodies: list[bytes]) -> None:
    write_set(bodies)
    with open_records("dataset/test.rec") as records:
        images = RecordImages(records, label_order="gender,age")
        every = CorruptedRecords(images, range(FACES), name="noise", seed=0)
        some = CorruptedRecords(images, [5, 10], name="noise", seed=0)
        for row, number in enumerate((5, 10)):
            np.testing.assert_array_equal(some.read(row)[0], every.read(number)[0])
            assert some.name(row) == every.name(number) == f"dataset/test.rec: record {100 + number}"
        assert [origin.key for origin in some.origins()] == [105, 110]
        assert not np.array_equal(every.read(5)[0], CorruptedRecords(images, [5], name="noise", seed=1).read(0)[0])


def test_the_limit_is_spread_over_the_set(bodies: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    # The record between the first and the last of three is bad, and never read.
    write_set([*bodies[:3], b"no picture", *bodies[4:]])
    assert main([*BASE, "--limit", "3", "--csv", "rows.csv"]) == 0
    assert {row["n"] for row in figures_of().values()} == {"3"}
    assert "(3 faces, " in capsys.readouterr().err


def test_a_model_of_one_task_and_its_unknown_figures(bodies: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    write_set(bodies)
    info = read_info("model/model")
    assert info is not None
    info.task = "gender"
    write_info("model/model", info)
    assert main([*BASE, "--limit", "2", "--csv", "rows.csv"]) == 0
    table = rows_of(capsys.readouterr().out)
    assert table["clean"][1:] == ["-", "-", ""]
    assert table["blur"][1:] == ["-", "-", "-"]
    assert table["blur"][0].endswith("%")
    assert figures_of()["blur"]["MAE_change"] == ""


def test_a_bad_record_stops_or_is_left_out(bodies: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    write_set([*bodies[:5], b"no picture"])
    assert main([*BASE]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    last = output.err.splitlines()[-1]
    assert last.startswith("robustness.py: error: dataset/test.rec: record 105: body of 10 bytes is no image ")
    assert main([*BASE, "--bad_records", "skip", "--csv", "rows.csv"]) == 1
    assert "left out: 1 bad records (the first: dataset/test.rec: record 105: " in capsys.readouterr().err
    assert {row["n"] for row in figures_of().values()} == {"5"}
    write_set([b"no picture"])
    assert main([*BASE, "--bad_records", "skip"]) == 1
    assert "error: not one of the 1 faces can be scored: dataset/test.rec: record 100" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "dataset/none.rec"], 2, "dataset/none.rec is not there; --data names another"),
        (["--data", "faces.txt"], 2, "--data 'faces.txt' is no .rec: only crops in the model's own template"),
        (
            ["--data", "dataset/arcface.rec"],
            2,
            "dataset/arcface.rec is in the crop template 'arcface', the model wants 'utkface'; pack",
        ),
        (["--data", "dataset/vectors.rec"], 1, "dataset/vectors.json: the records hold float32, not images"),
        (["--data", "dataset/odd.rec"], 2, "label order 'age' is neither 'gender,age' nor 'age,gender'"),
        (["--model", "nobody"], 2, "there is no model 'nobody'"),
        (["--batch_size", "0"], 2, "--batch_size 0 is not 1 or more"),
        (["--limit", "0"], 2, "--limit 0 is not 1 or more"),
        (["--seed", "-1"], 2, "--seed -1 is not 0 or more"),
        (["--severities", "6"], 2, "--severities '6' is nothing like 1-5, 3 or 1,3,5 (they go from 1 to 5)"),
        (["--plot", "x.png"], 2, "--plot 'x.png' draws severities; add --severities 1-5"),
        (["--plot", "x.txt", "--severities", "3"], 2, "--plot 'x.txt': the name must end in .png"),
        (
            ["--plot", "x.png", "--csv", "x.png", "--severities", "3"],
            2,
            "--csv 'x.png' and --plot 'x.png' are the same file",
        ),
        (["--csv", "none/rows.csv"], 2, "--csv 'none/rows.csv': there is no folder 'none'"),
    ],
)
def test_what_does_not_fit_is_one_line(
    arguments: list[str], code: int, message: str, bodies: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(bodies[:2])
    write_set(bodies[:2], template="arcface", path="dataset/arcface.rec")
    write_set(bodies[:2], path="dataset/vectors.rec", body="float32", embedding={"size": 4})
    write_set(bodies[:2], path="dataset/odd.rec", labels="age")
    assert main([*BASE, *arguments]) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[-1].startswith(f"robustness.py: error: {message}")


def test_help_lists_the_corruptions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"  {name:8} {corruption.summary}" in text for name, corruption in CORRUPTIONS.items())
    with pytest.raises(SystemExit) as caught:
        main(["--engine", "abacus"])
    assert caught.value.code == 2
