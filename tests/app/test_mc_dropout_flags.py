"""--mc_dropout of infer.py and eval.py: columns, lines, and what it doesn't go with."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from agegender.app.cli import run_command
from agegender.app.evaluation.passes import DoubtKeeper, doubt_figures
from agegender.app.evaluation.report import Results
from agegender.app.inference.results import CsvFile
from agegender.doubt import Doubt
from agegender.face.photo import encode_jpeg, read_photo, write_photo
from agegender.readout import Reading
from agegender.recordio import Header, RecordWriter, pack

NUMBERS = ("age_deviation", "age_entropy", "gender_entropy")


@pytest.fixture
def crop(root: Path, tmp_path: Path) -> Path:
    path = tmp_path / "crop.png"
    write_photo(path, np.ascontiguousarray(read_photo(root / "test.jpg")[60:210, 150:300]))
    return path


def infer(*words: object, code: int = 0) -> None:
    flags = ["--detector", "none", "--output", "none", "--gpu_ids", "cpu", "--engine", "torch", "--lang", "en"]
    assert run_command("infer", [*flags, *map(str, words)], prog="infer.py") == code


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_faces_have_three_numbers_more(
    root: Path, crop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--model", root / "models/ssrnet/ssrnet", "--image", crop, "--mc_dropout", 8]
    infer(*common)
    assert re.search(r"gender: (fe)?male \(0\.\d\d\), age: \d+ \(\d+ to \d+\) ±\d+\.\d\n", capsys.readouterr().out)
    results = [tmp_path / name for name in ("a.csv", "b.csv", "a.jsonl")]
    infer(*common, "--csv", results[0], "--json", results[2])
    infer(*common, "--csv", results[1])
    assert results[0].read_bytes() == results[1].read_bytes()
    [row] = rows(results[0])
    assert tuple(row)[-4:] == (*NUMBERS, "error")
    [face] = json.loads(results[2].read_text())["faces"]
    assert all(float(row[name]) == face[name] > 0 for name in NUMBERS)
    infer(*common, "--seed", 5, "--csv", results[1])
    [other] = rows(results[1])
    assert other["age_deviation"] != row["age_deviation"] and other["age_low"] == row["age_low"]
    # A file without these columns is another's.
    capsys.readouterr()
    infer(*common[:-2], "--csv", results[0], "--resume", code=1)
    assert "doesn't begin with the columns of infer.py --csv, so --resume" in capsys.readouterr().err


def test_a_file_of_passes_is_gone_on_with(tmp_path: Path) -> None:
    with_error = CsvFile(tmp_path / "a.csv", passes=True)
    with_error.write("bad.jpg", [], "not a picture")
    with_error.close()
    again = CsvFile(tmp_path / "a.csv", passes=True, resume=True)
    assert again.has("bad.jpg") and again.failed == 1
    again.close()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "m50", "--mc_dropout", "8"], "m50-0001.params is of a network without dropout"),
        (["--model", "ssrnet", "--mc_dropout", "1"], "--mc_dropout 1: at least 2 passes"),
        (["--video", "street.mp4", "--mc_dropout", "8"], "--mc_dropout is for photos"),
    ],
)
def test_what_it_does_not_go_with(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    infer(*flags, code=2)
    assert message in capsys.readouterr().err


def test_eval_says_whether_doubt_tells_who_is_wrong(
    root: Path, crop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = read_photo(crop)
    with RecordWriter(tmp_path / "val.rec") as writer:
        for key, (face, gender) in enumerate(((picture, 0), (picture[:, ::-1], 1), (picture[::-1], 0))):
            label = np.array([gender, 20 + 10 * key], np.float32)
            writer.write(key, pack(Header(label, key), encode_jpeg(np.ascontiguousarray(face))))
    flags = ["--model", str(root / "models/ssrnet/ssrnet"), "--data", str(tmp_path / "val.rec"), "--gpu_ids", "cpu"]
    flags += ["--engine", "torch", "--lang", "en", "--csv", str(tmp_path / "faces.csv"), "--flip"]
    assert run_command("eval", [*flags, "--mc_dropout", "8"], prog="eval.py") == 0
    out = capsys.readouterr().out
    assert "Monte Carlo dropout: the mean of 8 passes (seed 0)\n" in out
    assert re.search(r"age over the passes: deviation \d\.\d{3} years .* error -?[01]\.\d{3} \(n=3\)", out)
    assert re.search(r"gender entropy: 0\.\d{3} bits .* probability [01]\.\d{3} \(n=3\)", out)
    told = rows(tmp_path / "faces.csv")
    assert tuple(told[0])[-3:] == NUMBERS and all(float(row["age_deviation"]) > 0 for row in told)
    assert run_command("eval", [*flags, "--mc_dropout", "1"], prog="eval.py") == 2
    assert "--mc_dropout 1: at least 2 passes" in capsys.readouterr().err


def test_figures_of_doubt() -> None:
    views = [
        Reading(doubt=Doubt(np.array([1, 3], np.float32), None, np.array([0.2, 0.8], np.float32))),
        Reading(doubt=Doubt(np.array([2, 5], np.float32), None, np.array([0.4, 1.0], np.float32))),
    ]
    keeper = DoubtKeeper()
    keeper.add(views)
    doubt = keeper.compute()
    assert {name: values.tolist() for name, values in doubt.items()} == {
        "age_deviation": [1.5, 4.0],
        "gender_entropy": pytest.approx([0.3, 0.9], abs=1e-6),
    }
    results = Results(
        rows=np.arange(2),
        labels=np.array([[0, 30], [0, 40]], np.float32),
        male=np.array([0.1, 0.7]),
        age=np.array([31.0, 50.0]),
        doubt=doubt,
    )
    assert list(doubt_figures(results, passes=4, seed=7, lang="en")) == [
        "Monte Carlo dropout: the mean of 4 passes (seed 7)",
        "age over the passes: deviation 2.750 years (median 2.750), rank correlation with the absolute error 1.000 "
        "(n=2)",
        "gender entropy: 0.600 bits (median 0.600), higher for a wrong answer than for a right one with probability "
        "1.000 (n=2)",
    ]
    assert "各次年龄的标准差：2.750岁" in list(doubt_figures(results, passes=4, seed=7, lang="zh"))[1]
