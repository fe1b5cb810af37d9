"""eval.py --compare, and several sets: against plain loops over its own faces, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.app.cli import main
from agegender.app.evaluation.compare import FEWEST, cells_of, compare, compare_all, compare_cells, pair
from agegender.app.evaluation.sets import set_figures, split_data
from agegender.app.evaluation.sides import Predictions, numbered, read_predictions
from agegender.app.evaluation.texts import TEXTS
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.errors import DataError
from agegender.face.photo import encode_jpeg
from agegender.face.templates import get_template
from agegender.recordio import Header, RecordWriter, pack

FACES = 24


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    images = (synthetic_sample(index).image for index in range(FACES))
    return [encode_jpeg(image) for image in images if image is not None]


@pytest.fixture(scope="module")
def labels() -> Any:
    samples = [synthetic_sample(index) for index in range(FACES)]
    known = np.array([[sample.gender, sample.age] for sample in samples], np.float32)
    known[3, 0] = known[4, 1] = -1
    return known


@pytest.fixture(autouse=True)
def _in_a_folder_with_two_models(untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``a/model`` and ``b/model``, whose parameters differ by a shift of the last bias."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    Path("dataset").mkdir()
    for name in "ab":
        shutil.copytree(untrained_model.parent, tmp_path / name)


def write_set(bodies: list[bytes], labels: Any, *, stem: str = "val", subjects: bool = False) -> str:
    path = Path("dataset") / f"{stem}.rec"
    with RecordWriter(path) as writer:
        for number, (body, label) in enumerate(zip(bodies, labels)):
            writer.write(100 + number, pack(Header(np.asarray(label), 100 + number), body))
    described = get_template("utkface").to_json(112)
    order = "gender,age,low,high,std" if np.shape(labels)[1] == 5 else "gender,age"
    text = {"format": 1, "split": stem, "records": len(bodies), "template": described, "labels": order}
    path.with_suffix(".json").write_text(json.dumps(text), encoding="utf-8")
    who = [f"p{number // 3}" if subjects else "" for number in range(len(bodies))]
    rows = [f"{100 + number},f/{number}.jpg,drawn,{who[number]},{'ab'[number % 2]},," for number in range(len(bodies))]
    path.with_suffix(".csv").write_text("\n".join(["key,path,source,subject,group,box,score", *rows]) + "\n")
    return str(path)


def make(
    age: Any,
    predicted: Any,
    *,
    gender: Any = None,
    male: Any = None,
    group: Any = None,
    subject: Any = None,
    bins: Any = None,
    name: str,
) -> Predictions:
    n = len(age)
    nan = np.full(n, np.nan)
    texts = {"group": group, "source": None, "subject": subject}
    return Predictions(
        name=name,
        keys=numbered([(str(number), "") for number in range(n)]),
        names={column: [""] * n if of is None else list(of) for column, of in texts.items()},
        gender=nan if gender is None else np.array(gender, float),
        age=np.array(age, float),
        male=nan if male is None else np.array(male, float),
        predicted=np.array(predicted, float),
        bins=np.full((n, 2), np.nan) if bins is None else np.array(bins, float),
    )


def rows_of(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_two_models_are_compared_on_the_same_faces(
    bodies: list[bytes], labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_set(bodies, labels)
    for name, flip in (("a", "0"), ("b", "1")):
        assert main(["eval", "--model", f"{name}/model", "--data", data, "--flip", flip, "--csv", f"{name}.csv"]) == 0
    capsys.readouterr()
    assert main(["eval", "--compare", "a.csv", "b.csv", "--csv", "table.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["A: a.csv", "B: b.csv", f"faces in both: {FACES}; resampled by image"]
    assert lines[-1] == "table: table.csv"
    first, second = rows_of("a.csv"), rows_of("b.csv")
    known = [place for place, row in enumerate(first) if row["error"]]
    errors = [np.array([abs(float(rows[place]["error"])) for place in known]) for rows in (first, second)]
    table = {(row["column"], row["cell"], row["figure"]): row for row in rows_of("table.csv")}
    overall = table["", "", "MAE"]
    assert overall["n"] == str(len(known)) == str(FACES - 1)
    assert float(overall["difference"]) == pytest.approx(errors[1].mean() - errors[0].mean(), abs=2e-3)
    assert float(overall["low"]) <= float(overall["difference"]) <= float(overall["high"])
    right = np.mean([row["predicted_gender"] == row["gender"] for row in first if row["gender"]])
    assert float(table["", "", "acc"]["a"]) == pytest.approx(right)
    assert (table["group", "a", "MAE"]["n"], table["group", "a", "MAE"]["p"]) == ("11", "")
    assert table["group", "a", "MAE"]["b_is"] == "too few"

    # The same from the models themselves: two names of one net don't differ at all.
    assert main(["eval", "--compare", "a/model", "b/model", "--data", data, "--csv", "same.json"]) == 0
    output = capsys.readouterr()
    assert [line.partition(",")[0] for line in output.err.splitlines() if line.startswith("model")] == [
        "model: a/model",
        "model: b/model",
    ]
    same = json.loads(Path("same.json").read_text(encoding="utf-8"))
    assert (same["a"], same["b"], same["n"], same["only_a"]) == ("a/model", "b/model", FACES, 0)
    assert {row["difference"] for row in same["rows"]} == {0.0}
    assert {row["p"] for row in same["rows"] if not row["column"]} == {1.0}
    assert {row["b_is"] for row in same["rows"]} == {"could be chance", "too few"}


def test_a_model_beside_a_file_in_either_layout(
    bodies: list[bytes], labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_set(bodies, labels)
    assert main(["eval", "--model", "a/model", "--data", data, "--csv", "a.csv"]) == 0
    # What --report calls the same columns, with the probability of male.
    lines = ["key,path,source,subject,group,gender,age,low,high,std,male,predicted_age,low80,high80"]
    for row in rows_of("a.csv"):
        sure = float(row["gender_probability"])
        male = sure if row["predicted_gender"] == "1" else 1 - sure
        known = ",".join(row[name] for name in ("gender", "age"))
        named = ",".join([row["key"], row["path"], row["source"], "", row["group"]])
        lines.append(f"{named},{known},,,,{male:.4f},{row['predicted_age']},1,2")
    Path("faces.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    mine, reported = read_predictions(Path("a.csv")), read_predictions(Path("faces.csv"))
    assert mine.keys == reported.keys
    np.testing.assert_array_equal(mine.age, reported.age)
    np.testing.assert_array_equal(mine.gender, reported.gender)
    np.testing.assert_allclose(mine.male, reported.male, atol=1e-4)
    np.testing.assert_array_equal(mine.predicted, reported.predicted)
    capsys.readouterr()
    assert main(["eval", "--compare", "b/model", "faces.csv", "--data", data, "--csv", "t.csv"]) == 0
    assert f"faces in both: {FACES};" in capsys.readouterr().out
    assert all(abs(float(row["difference"])) < 1e-3 for row in rows_of("t.csv"))


def test_known_differences_are_told_from_chance() -> None:
    rng = np.random.default_rng(0)
    n = 600
    age, gender = rng.integers(1, 90, n), rng.integers(0, 2, n)
    noise = rng.normal(0, 4, n)
    a = make(age, age + noise, gender=gender, male=np.where(rng.random(n) < 0.9, gender, 1 - gender), name="a")
    # B is better at men's ages alone, and right about every gender.
    b = make(
        age, np.where(gender == 1, age + noise / 2, age + rng.normal(0, 4, n)), gender=gender, male=gender, name="b"
    )
    overall = {row.figure: row for row in compare_all(a, b)}
    assert {name: row.b_is for name, row in overall.items()} == dict.fromkeys(["acc", "MAE", "RMSE", "CUM_5"], "better")
    assert overall["MAE"].found.difference == pytest.approx(
        np.abs(b.predicted - age).mean() - np.abs(a.predicted - age).mean()
    )
    cells = {(row.column, row.cell, row.figure): row for row in compare_cells(a, b, columns=["gender", "age", "group"])}
    assert cells["gender", "male", "MAE"].b_is == "better"
    assert cells["gender", "female", "MAE"].b_is == "could be chance"
    assert "group" not in {column for column, _, _ in cells}
    # Holm over all of these: no p falls, and the smallest is multiplied by the number of tests.
    tests = [row for row in cells.values() if row.found.p is not None]
    assert all(row.p_holm is not None and row.found.p is not None and row.p_holm >= row.found.p for row in tests)
    smallest = min(tests, key=lambda row: row.found.p or 0)
    assert smallest.p_holm == pytest.approx(min(1, len(tests) * (smallest.found.p or 0)))
    assert {row.b_is for row in cells.values() if row.found.n < FEWEST} <= {"too few"}
    lines = list(compare(a, b, by=(), csv=None, lang="en"))
    [first] = [line for line in lines if line.startswith("acc ") and "McNemar" not in line]
    assert first.split()[-3:] == ["<0.0001", "<0.0001", "better"]
    # Turned round, what was better is worse.
    assert {row.b_is for row in compare_all(b, a)} == {"worse"}


ADIENCE = ((0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))


def bin_of(age: float) -> int:
    """Return the place of the bin whose nearer end is the nearest: between two bins, the younger at the middle."""
    return min(range(8), key=lambda place: (max(ADIENCE[place][0] - age, 0, age - ADIENCE[place][1]), place))


def test_bins_are_compared_as_bins() -> None:
    rng = np.random.default_rng(0)
    place = rng.integers(0, 8, 400)
    bins = np.array(ADIENCE, float)[place]
    a = make([np.nan] * 400, rng.uniform(0, 100, 400), bins=bins, name="a")
    b = make([np.nan] * 400, np.where(rng.random(400) < 0.7, bins.mean(axis=1), a.predicted), bins=bins, name="b")
    rows = {row.figure: row.found for row in compare_all(a, b)}
    assert list(rows) == ["bin_acc", "bin_1off"]
    for side, told in (("a", a.predicted), ("b", b.predicted)):
        away = [abs(bin_of(age) - true) for age, true in zip(told.tolist(), place.tolist(), strict=True)]
        assert getattr(rows["bin_acc"], side) == pytest.approx(np.mean([off == 0 for off in away]))
        assert getattr(rows["bin_1off"], side) == pytest.approx(np.mean([off <= 1 for off in away]))
    assert {row.b_is for row in compare_all(a, b)} == {"better"}
    assert rows["bin_acc"].test == "McNemar"
    cells = compare_cells(a, b, columns=["age"])
    assert [(row.cell, row.figure, row.found.n) for row in cells] == [
        (f"{low}-{high}", "bin_acc", int((place == number).sum())) for number, (low, high) in enumerate(ADIENCE)
    ]
    with pytest.raises(DataError, match="face 0  has a bin that begins at"):
        pair(a, make([np.nan] * 400, b.predicted, bins=np.roll(bins, 1, axis=0) + 1, name="b"))


def test_bins_from_records_and_from_either_file(
    bodies: list[bytes], labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = np.full((FACES, 5), -1, np.float32)
    wide[:, :2] = labels
    for row in range(12):
        wide[row, 1:4] = (20 if row < 6 else 40) + np.array([4, 0, 9])
    data = write_set(bodies, wide)
    for name in "ab":
        assert main(["eval", "--model", f"{name}/model", "--data", data, "--csv", f"{name}.csv"]) == 0
    for name in ("b.csv", "b/model"):
        capsys.readouterr()
        assert main(["eval", "--compare", "a.csv", name, "--data", data, "--csv", "t.csv"]) == 0
        lines = capsys.readouterr().out.splitlines()
        found = {(row["column"], row["cell"], row["figure"]): row for row in rows_of("t.csv")}
        assert found["", "", "MAE"]["n"] == "12"
        told = [float(row["predicted_age"]) for row in rows_of("a.csv")][:12]
        # Two bins: what is nearer to the older one, above 34.5, counts as that.
        right = np.mean([(age > 34.5) == (row >= 6) for row, age in enumerate(told)])
        assert float(found["", "", "bin_acc"]["a"]) == pytest.approx(right)
        assert float(found["", "", "bin_1off"]["b"]) == 1
        assert found["age", "20-29", "bin_acc"]["n"] == "6"
        assert any(line.startswith("bin_1off") and line.endswith("could be chance") for line in lines)
    first = rows_of("a.csv")
    assert [(row["low"], row["high"], row["error"] == "") for row in (first[0], first[20])] == [
        ("20", "29", True),
        ("", "", False),
    ]


def test_twins_raise_few_alarms() -> None:
    alarms = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        age, gender = rng.integers(1, 90, 60), rng.integers(0, 2, 60)
        sides = [
            make(age, age + rng.normal(0, 5, 60), gender=gender, male=np.abs(gender - rng.random(60) * 0.55), name=name)
            for name in "ab"
        ]
        alarms += any(row.b_is in ("better", "worse") for row in compare_all(sides[0], sides[1]))
    assert alarms <= 5  # of 30, 5% are 1.5; six or more would come once in 300 times


def test_cells_are_decades_genders_and_names() -> None:
    faces = make(
        [0, 9.5, 10, 99, 100, np.nan],
        [1] * 6,
        gender=[0, 1, np.nan, 0, 0, 1],
        group=["x", "x", "y", "y", "", "x"],
        name="a",
    )
    rows = {
        column: {k: np.flatnonzero(v).tolist() for k, v in cells_of(faces, column).items()}
        for column in ("age", "gender", "group")
    }
    assert rows["age"] == {"0-9": [0, 1], "10-19": [2], "90-99": [3], "100": [4]}
    assert rows["gender"] == {"female": [0, 3, 4], "male": [1, 5]}
    assert rows["group"] == {"x": [0, 1, 5], "y": [2, 3]}


def test_faces_are_paired_by_key_path_and_number() -> None:
    a = make([10, 20, 30], [1, 2, 3], name="a")
    b = a.take([2, 0])
    first, second = pair(a, b)
    assert first.keys == second.keys == [a.keys[0], a.keys[2]]
    assert second.predicted.tolist() == [1, 3]
    assert numbered([("1", "x"), ("1", "x"), ("1", "y")]) == [("1", "x", 0), ("1", "x", 1), ("1", "y", 0)]
    other = make([10, 21], [1, 2], name="b")
    with pytest.raises(DataError, match="a and b are of different sets: face 1  has age 20 in one, 21 in the other"):
        pair(a, other)
    with pytest.raises(DataError, match="a and b have no face in common"):
        pair(a, make([], [], name="b"))


def test_several_sets_in_one_table(bodies: list[bytes], labels: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_set(bodies, labels)
    two = write_set(bodies[:9], np.stack([labels[:9, 0], np.full(9, -1)], axis=1), stem="two", subjects=True)
    alone = []
    for data in (one, two):
        assert main(["eval", "--model", "a/model", "--data", data]) == 0
        alone.append(dict(line.split(" ")[0].split("=") for line in capsys.readouterr().out.splitlines()[1:4]))
    for words in ([one, two], [f"{one},{two}"]):
        assert main(["eval", "--model", "a/model", "--data", *words, "--csv", "sets.csv"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split()[:2] == ["set", "acc"]
        assert [line.split()[0] for line in lines[1:3]] == [one, two]
        assert lines[-1] == "table: sets.csv"
        rows = rows_of("sets.csv")
        for row, figures in zip(rows, alone, strict=True):
            assert float(row["acc"]) == pytest.approx(float(figures["acc"]), abs=1e-6)
            assert float(row["acc_low"]) <= float(row["acc"]) <= float(row["acc_high"])
        assert float(rows[0]["MAE"]) == pytest.approx(float(alone[0]["MAE"]), abs=1e-5)
        assert (rows[0]["MAE_n"], rows[1]["MAE_n"], rows[1]["MAE"], rows[1]["MAE_low"]) == ("23", "0", "", "")
        assert " - " in lines[2]
    assert main(["eval", "--model", "a/model", "--data", one, two, "--csv", "sets.json", "--lang", "zh"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("数据集")
    assert [row["n"] for row in json.loads(Path("sets.json").read_text())["rows"]] == [FACES, 9]


def test_figures_of_a_set_are_resampled_by_subject_where_known() -> None:
    rng = np.random.default_rng(1)
    age = np.repeat(rng.integers(20, 60, 50), 8).astype(float)
    error = np.repeat(rng.normal(0, 5, 50), 8)
    alike = make(age, age + error, subject=[f"p{number // 8}" for number in range(400)], name="a")
    apart = make(age, age + error, name="a")
    of, naive = set_figures(alike), set_figures(apart)
    assert (of["resampled"], naive["resampled"]) == ("subjects", "images")
    assert of["MAE"] == naive["MAE"] == pytest.approx(np.abs(error).mean())
    assert of["MAE_high"] - of["MAE_low"] > 2 * (naive["MAE_high"] - naive["MAE_low"])
    assert of["bias"] == pytest.approx(error.mean())


def test_a_set_whose_name_has_a_comma_is_one_set() -> None:
    Path("a,b.rec").touch()
    assert split_data("a,b.rec") == ["a,b.rec"]
    assert split_data("a.rec,b.rec") == ["a.rec", "b.rec"]
    assert split_data("a.rec") == ["a.rec"]


def test_chinese_says_the_same_things() -> None:
    assert set(TEXTS["en"]) == set(TEXTS["zh"])
    assert all(TEXTS["zh"].values())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--compare", "a/model", "a/model"], 2, "--compare a/model a/model: both are the same; name two"),
        (["--compare", "a.csv", "none.csv"], 2, "--compare none.csv: there is no such file"),
        (["--compare", "nobody", "a/model"], 2, "there is no model 'nobody'"),
        (["--compare", "a.csv", "b.csv", "--against", "insightface"], 2, "--compare and --against: which one"),
        (["--compare", "a.csv", "b.csv", "--model", "m50"], 2, "--model m50 and --compare: both models stand behind"),
        (["--compare", "a.csv", "b.csv", "--data", "x.rec", "y.rec"], 2, "--compare takes one set; --data names 2"),
        (["--compare", "a.csv", "b.csv", "--plot", "x.png"], 2, "--plot wants one model and one set, and doesn't go"),
        (
            ["--compare", "a.csv", "b.csv", "--csv", "a.csv"],
            2,
            "--csv 'a.csv' would overwrite 'a.csv', which is compared",
        ),
        (["--compare", "a.csv", "b.csv", "--csv", "no/t.csv"], 2, "--csv 'no/t.csv': there is no folder 'no'"),
        (["--compare", "a.csv", "b.csv"], 1, "a.csv and b.csv have no face in common"),
        (["--compare", "a.csv", "bad.csv"], 1, "bad.csv: line 2: age 'old' is no number from 0 to 150"),
        (["--compare", "a.csv", "odd.csv"], 1, "odd.csv has no column path, gender, age, predicted_age, male"),
        (["--compare", "a.csv", "nothing.csv"], 1, "a.csv and nothing.csv: neither gender nor age is both known"),
        (["--data", "a.rec,a.rec"], 2, "--data names a.rec twice"),
        (["--data", ","], 2, "--data ',' names no set"),
        (["--data", "a.rec", "b.rec"], 2, "a.rec is not there"),
        (["--data", "a.rec", "b.rec", "--by", "colour"], 2, "--by 'colour' is none of"),
        (["--data", "a.rec", "b.rec", "--calibration"], 2, "--calibration wants one model and one set"),
    ],
)
def test_what_does_not_fit_is_one_line(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    head = "key,path,source,group,gender,age,predicted_gender,gender_probability,predicted_age,error"
    for name, row in (
        ("a", "1,x,,,0,30,0,0.9,31,+1.0"),
        ("b", "2,y,,,0,30,0,0.9,31,+1.0"),
        ("bad", "1,x,,,0,old,0,0.9,31,+1.0"),
        ("nothing", "1,x,,,,,0,0.9,31,"),
    ):
        Path(f"{name}.csv").write_text(f"{head}\n{row}\n", encoding="utf-8")
    Path("odd.csv").write_text("key\n1\n", encoding="utf-8")
    model = [] if "--model" in arguments or "--compare" in arguments else ["--model", "a/model"]
    assert main(["eval", *model, *arguments]) == code
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"agegender eval: error: {message}")


def test_an_age_that_is_a_bin_counts_in_no_figure_in_years() -> None:
    head = "key,path,source,group,gender,age,predicted_gender,gender_probability,predicted_age,error"
    Path("a.csv").write_text(f"{head}\n1,x,,,1,28,1,0.5000,31.0,\n2,y,,,0,28,0,0.5000,31.0,+3.0\n", encoding="utf-8")
    faces = read_predictions(Path("a.csv"))
    assert np.isnan(faces.age[0]) and faces.age[1] == 28
    # A probability rounded to a half still tells the gender that was told.
    assert (faces.male > 0.5).tolist() == [True, False]


def test_a_bad_record_makes_the_exit_code_1(
    bodies: list[bytes], labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_set([*bodies[:5], b"not a picture", *bodies[6:]], labels)
    assert main(["eval", "--compare", "a/model", "b/model", "--data", data]) == 1
    assert "record 105: body of 13 bytes is no image" in capsys.readouterr().err.splitlines()[-1]
    assert main(["eval", "--compare", "a/model", "b/model", "--data", data, "--bad_records", "skip"]) == 1
    output = capsys.readouterr()
    assert f"faces in both: {FACES - 1};" in output.out
    assert output.err.count("left out: 1 bad records") == 2
