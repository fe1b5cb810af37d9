"""The figures of a report, by hand and against scikit-learn."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error, roc_auc_score, root_mean_squared_error

from agegender.errors import DataError
from agegender.metrics import ScoreKeeper
from agegender.metrics.calibration import expected_calibration_error
from agegender.metrics.intervals import bootstrap_weights
from agegender.report.numbers import _weighted_auc, gender_figures, report_numbers
from agegender.report.sheet import to_sheet
from agegender.report.splits import split
from tests.report.made_faces import make_faces, random_faces

SOME = 60  # resamples, where only the values matter


def test_figures_are_those_of_the_csv_by_scikit_learn() -> None:
    faces = random_faces()
    rows = list(csv.DictReader(io.StringIO(faces.to_csv())))
    true, seen, gender, male = (
        np.array([float(row[name]) for row in rows]) for name in ("age", "predicted_age", "gender", "male")
    )
    found = report_numbers(faces)["overall"]
    expected = {
        "mae": mean_absolute_error(true, seen),
        "rmse": root_mean_squared_error(true, seen),
        "bias": np.mean(seen - true),
        "CUM_5": np.mean(np.abs(seen - true) <= 5),
        "acc": np.mean((male > 0.5) == (gender == 1)),
        "balanced_acc": balanced_accuracy_score(gender, male > 0.5),
        "auc": roc_auc_score(gender, male),
        "ece": expected_calibration_error(np.stack([1 - male, male], axis=1), gender),
        "coverage80": np.mean([float(row["low80"]) <= float(row["age"]) <= float(row["high80"]) for row in rows]),
        "width80": np.mean([float(row["high80"]) - float(row["low80"]) for row in rows]),
    }
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value), name
        assert found[name]["n"] == 300
        if name != "width80":
            assert found[name]["low"] < value < found[name]["high"], name


def test_minors_and_epsilon_by_hand() -> None:
    faces = make_faces(6, age=[5, 12, 13, 17, 18, 40], predicted=[18, 17.9, 25, 24.9, 30, 40], std=[0, 5, 5, 5, 5, 5])
    found = report_numbers(faces, resamples=SOME)["overall"]
    assert (found["fpr18_25"]["value"], found["fpr18_25"]["n"]) == (0.25, 4)
    assert (found["under13_over18"]["value"], found["under13_over18"]["n"]) == (0.5, 2)
    errors = np.array([5.9, 12, 7.9, 12, 0])
    assert found["epsilon"]["value"] == pytest.approx(np.mean(1 - np.exp(-(errors**2) / 50)))
    assert found["epsilon"]["n"] == 5


def test_a_share_of_nothing_still_has_an_interval() -> None:
    faces = make_faces(20, age=[10] * 20, predicted=[10] * 20)
    found = report_numbers(faces, resamples=SOME)["overall"]
    exact = binomtest(0, 20).proportion_ci(0.95, method="exact")
    assert (found["fpr18_25"]["low"], found["fpr18_25"]["high"]) == pytest.approx((0.0, exact.high))
    assert (found["CUM_5"]["low"], found["CUM_5"]["high"]) == pytest.approx((1 - exact.high, 1.0))
    # Of two people in ten pictures each there are two observations, not twenty.
    people = make_faces(20, age=[10] * 20, predicted=[10] * 20, subject=["anna", "li"] * 10)
    high = report_numbers(people, resamples=SOME)["overall"]["fpr18_25"]["high"]
    assert high == pytest.approx(binomtest(0, 2).proportion_ci(0.95, method="exact").high)


def test_bins_are_scored_as_eval_scores_them() -> None:
    rng = np.random.default_rng(2)
    bins = np.array([(0, 2), (4, 6), (8, 13), (15, 20), (25, 32), (38, 43)], float)[rng.integers(0, 6, 200)]
    predicted = np.round(rng.uniform(0, 50, 200), 3)
    faces = make_faces(200, low=bins[:, 0], high=bins[:, 1], predicted=predicted)
    keeper = ScoreKeeper()
    labels = np.column_stack([np.full(200, -1), bins.mean(axis=1), bins, np.full(200, -1)])
    keeper.update(labels=labels, age=predicted)
    scores, numbers = keeper.compute(), report_numbers(faces, resamples=SOME)
    assert numbers["overall"]["bin_acc"]["value"] == pytest.approx(scores.bin_acc)
    assert numbers["overall"]["bin_1off"]["value"] == pytest.approx(scores.bin_1off)
    assert numbers["overall"]["mae"] == {"value": None, "n": 0, "low": None, "high": None}
    table = numbers["confusion"]["bins"]
    assert table["names"] == ["0-2", "4-6", "8-13", "15-20", "25-32", "38-43"]
    counts = np.array(table["counts"])
    assert counts.sum() == 200
    assert np.trace(counts) / 200 == pytest.approx(scores.bin_acc)
    beside = sum(np.trace(counts, offset) for offset in (-1, 0, 1))
    assert beside / 200 == pytest.approx(scores.bin_1off)
    assert list(numbers["by"]) == ["bin"]
    assert sum(of["bin_acc"]["n"] for of in numbers["by"]["bin"].values()) == 200


def test_subjects_are_drawn_whole_and_half_known_ones_are_said() -> None:
    people = [f"person {number // 10}" for number in range(300)]
    error = np.repeat(np.random.default_rng(0).normal(0, 8, 30), 10)
    columns = {"age": [50] * 300, "predicted": np.round(50 + error, 3)}
    widths = {}
    for name, subject in (("images", [""] * 300), ("subjects", people), ("both", people[:150] + [""] * 150)):
        numbers = report_numbers(make_faces(300, subject=subject, **columns), resamples=400)
        assert numbers["bootstrap"]["unit"] == name
        widths[name] = numbers["overall"]["mae"]["high"] - numbers["overall"]["mae"]["low"]
    assert widths["subjects"] > 2.5 * widths["images"]
    assert widths["images"] < widths["both"] < widths["subjects"]
    assert numbers["bootstrap"]["faces_with_subject"] == 150
    assert numbers["bootstrap"]["subjects"] == 15


def test_the_macro_average_leaves_small_cells_out_and_says_so() -> None:
    # Twenties: 10 women, 1 year off; 30 men, 3 years. One man of a hundred, 50 years off.
    age, gender = [25] * 40 + [100], [0] * 10 + [1] * 31
    predicted = [26] * 10 + [28] * 30 + [50]
    faces = make_faces(41, age=age, gender=gender, predicted=predicted, male=[0.1] * 10 + [0.4] * 15 + [0.6] * 16)
    macro = report_numbers(faces, resamples=SOME)["macro"]
    assert (macro["cells"], macro["least"], macro["left_out"]) == (2, 10, 1)
    assert (macro["mae"]["value"], macro["mae"]["n"]) == (2.0, 40)
    assert macro["acc"]["value"] == pytest.approx((1 + 0.5) / 2)


def test_rows_of_the_tables() -> None:
    boxes = ["0 0 20 20", "0 0 100 64", "5 5 405 405", ""]
    faces = make_faces(
        4, age=[9, 90, 100, np.nan], gender=[0, 1, 1, np.nan], group=["a", "", "b", "a"], source=["x", "x", "x", "x"],
        box=boxes, score=[0.7, 0.8, 0.9, np.nan],
    )  # fmt: skip
    found = {
        column: {name: np.flatnonzero(rows).tolist() for name, rows in of.items()}
        for column, of in split(faces).items()
    }
    assert found["age"] == {"0-9": [0], "90-100": [1, 2]}
    assert found["group"] == {"a": [0, 3], "b": [2]}
    assert "source" not in found
    assert found["age_gender"] == {"0-9/female": [0], "90-100/male": [1, 2]}
    assert found["gender_group"] == {"female/a": [0], "male/b": [2]}
    assert found["size"] == {"0-31": [0], "64-127": [1], "256+": [2]}
    assert sorted(row for rows in found["score"].values() for row in rows) == [0, 1, 2]
    with pytest.raises(DataError, match=r"face 7: its box '1 2 3' is not x1 y1 x2 y2"):
        split(make_faces(1, key=[7], box=["1 2 3"]))


def test_scores_are_parted_into_quarters() -> None:
    faces = make_faces(100, score=np.linspace(0.5, 1.0, 100))
    assert [int(rows.sum()) for rows in split(faces)["score"].values()] == pytest.approx([25] * 4, abs=1)
    assert list(split(make_faces(3, score=[0.9] * 3))["score"]) == ["0.9"]


def test_predictions_that_are_no_number_count_as_wrong() -> None:
    faces = make_faces(4, age=[20] * 4, gender=[1] * 4, predicted=[20, 20, 20, np.nan], male=[0.9, 0.9, 0.9, np.nan])
    found = report_numbers(faces, resamples=SOME)["overall"]
    assert (found["CUM_5"]["value"], found["CUM_5"]["n"]) == (0.75, 4)
    assert (found["acc"]["value"], found["acc"]["n"]) == (0.75, 4)
    assert (found["mae"]["value"], found["mae"]["n"]) == (None, 4)


def test_the_gap_is_between_cells_of_enough_faces() -> None:
    gender, group = [0] * 100 + [1] * 102, ["a"] * 50 + ["b"] * 50 + ["a"] * 50 + ["b"] * 50 + ["c"] * 2
    male = [0.1] * 40 + [0.9] * 10 + [0.1] * 50 + [0.9] * 45 + [0.1] * 5 + [0.9] * 50 + [0.1] * 2
    gap = report_numbers(make_faces(202, gender=gender, group=group, male=male), resamples=SOME)["gap"]
    assert (gap["worst"], gap["best"]) == ("female/a", "female/b")
    assert gap["value"] == pytest.approx(0.2)


def test_of_one_gender_there_is_no_area_under_a_curve() -> None:
    found = gender_figures(make_faces(5, gender=[0] * 5, male=[0.1] * 5), resamples=SOME)
    assert found["auc"] == {"value": None, "n": 5, "low": None, "high": None}
    assert found["ece"]["value"] == pytest.approx(0.1)


def test_resampled_areas_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    gender, male = rng.integers(0, 2, 80).astype(float), np.round(rng.random(80), 1)  # many ties
    place = np.unique(male, return_inverse=True)[1]
    for weights in bootstrap_weights(80, resamples=10):
        expected = roc_auc_score(gender, male, sample_weight=weights)
        assert _weighted_auc(place, gender, weights) == pytest.approx(expected)


def test_the_sheet_has_every_figure() -> None:
    numbers = report_numbers(random_faces(), resamples=SOME)
    rows = list(csv.DictReader(io.StringIO(to_sheet(numbers))))
    found = {(row["table"], row["row"], row["figure"]): row for row in rows}
    assert len(found) == len(rows)
    mae = numbers["by"]["gender_group"]["female/1"]["mae"]
    line = found["gender_group", "female/1", "mae"]
    assert float(line["value"]) == pytest.approx(mae["value"], rel=1e-5)
    assert [float(line[end]) for end in ("low", "high")] == pytest.approx([mae["low"], mae["high"]], rel=1e-5)
    assert int(line["n"]) == mae["n"]
    assert {f"CUM_{years}" for years in range(16)} <= {row["figure"] for row in rows if row["table"] == "overall"}
    assert float(found["overall", "all", "macro_mae"]["value"]) == pytest.approx(numbers["macro"]["mae"]["value"])
    counts = [int(row["value"]) for row in rows if row["table"] == "confusion_decades"]
    assert sum(counts) == 300
