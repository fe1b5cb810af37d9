"""The committed reports say what can be computed from their faces.csv: by NumPy and scikit-learn, nothing of ours."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error, roc_auc_score, root_mean_squared_error

REPORTS = Path(__file__).resolve().parents[2] / "docs/reports"
MODELS = ("lite0", "m50", "ssrnet")
# The same faces, larger.
DATA = {"lite0": "packed/129/test.rec"}


def columns(name: str) -> dict[str, Any]:
    with open(REPORTS / name / "faces.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ("gender", "age", "male", "predicted_age", "low50", "high50", "low80", "high80", "low90", "high90")
    found: dict[str, Any] = {key: np.array([float(row[key]) for row in rows]) for key in numbers}
    return {**found, "group": np.array([row["group"] for row in rows])}


def report(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REPORTS / name / "report.json").read_text(encoding="utf-8"))
    return found


def figures(of: dict[str, Any], rows: Any) -> dict[str, tuple[float, int]]:
    """Return (value, n) of what can be said of the faces ``rows``."""
    age, seen = of["age"][rows], of["predicted_age"][rows]
    gender, male = of["gender"][rows], of["male"][rows]
    error, n = seen - age, len(age)
    minor, child = age < 18, age < 13
    found = {
        "mae": (mean_absolute_error(age, seen), n),
        "rmse": (root_mean_squared_error(age, seen), n),
        "bias": (error.mean(), n),
        "acc": (np.mean((male > 0.5) == (gender == 1)), n),
        "fpr18_25": (np.mean(seen[minor] >= 25) if minor.any() else None, int(minor.sum())),
        "under13_over18": (np.mean(seen[child] >= 18) if child.any() else None, int(child.sum())),
    }
    found |= {f"CUM_{years}": (np.mean(np.abs(error) <= years), n) for years in range(16)}
    for share in (50, 80, 90):
        low, high = of[f"low{share}"][rows], of[f"high{share}"][rows]
        found[f"coverage{share}"] = (np.mean((low <= age) & (age <= high)), n)
        found[f"width{share}"] = (np.mean(high - low), n)
    if len(set(gender)) == 2:
        found["balanced_acc"] = (balanced_accuracy_score(gender, male > 0.5), n)
    return found


def tables(of: dict[str, Any]) -> dict[str, dict[str, Any]]:
    decade = np.minimum(of["age"] // 10, 9).astype(int)
    ages = {f"{first}0-{first}9".removeprefix("0") if first else "0-9": decade == first for first in range(9)}
    ages["90-100"] = decade == 9
    genders = {name: of["gender"] == code for code, name in enumerate(("female", "male"))}
    groups = {name: of["group"] == name for name in "01234"}
    return {
        "age": ages,
        "gender": genders,
        "group": groups,
        "age_gender": {f"{one}/{two}": ages[one] & genders[two] for one in ages for two in genders},
        "gender_group": {f"{one}/{two}": genders[one] & groups[two] for one in genders for two in groups},
    }


def agree(found: dict[str, Any], expected: dict[str, tuple[float | None, int]]) -> None:
    for name, (value, n) in expected.items():
        if name in found:
            assert found[name]["n"] == n, name
            assert found[name]["value"] == (None if value is None else pytest.approx(value, abs=1e-9)), name
            if n > 1:
                assert found[name]["low"] <= value <= found[name]["high"], name


@pytest.mark.parametrize("name", MODELS)
def test_figures_of_all_faces(name: str) -> None:
    of, found = columns(name), report(name)
    everyone = np.ones(len(of["age"]), bool)
    expected = figures(of, everyone)
    # Expected calibration error over 15 bins of equal width, the long way.
    confidence, right = np.maximum(of["male"], 1 - of["male"]), (of["male"] > 0.5) == (of["gender"] == 1)
    ece = 0.0
    for first in range(15):
        inside = (confidence > first / 15) & (confidence <= (first + 1) / 15)
        if inside.any():
            ece += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    expected["ece"] = (ece, len(everyone))
    expected["auc"] = (roc_auc_score(of["gender"], of["male"]), len(everyone))
    assert set(expected) == set(found["overall"]) - {"epsilon", "bin_acc", "bin_1off"}
    agree(found["overall"], expected)
    assert found["n"] == len(everyone) == 2314
    assert found["overall"]["epsilon"]["n"] == found["overall"]["bin_acc"]["n"] == 0


@pytest.mark.parametrize("name", MODELS)
def test_figures_of_every_row_of_every_table(name: str) -> None:
    of, found = columns(name), report(name)
    wanted = tables(of)
    assert list(found["by"]) == list(wanted)
    for table, rows in wanted.items():
        assert set(found["by"][table]) == {row for row, members in rows.items() if members.any()}
        for row, figures_of_row in found["by"][table].items():
            agree(figures_of_row, figures(of, rows[row]))


@pytest.mark.parametrize("name", MODELS)
def test_the_macro_average_the_gap_and_the_confusion(name: str) -> None:
    of, found = columns(name), report(name)
    wanted = tables(of)
    cells = {row: figures(of, rows) for row, rows in wanted["age_gender"].items() if rows.sum() >= 10}
    assert found["macro"]["cells"] == len(cells)
    for figure in ("mae", "acc"):
        value = np.mean([of_cell[figure][0] for of_cell in cells.values()])
        assert found["macro"][figure]["value"] == pytest.approx(value)
        assert found["macro"][figure]["n"] == sum(of_cell[figure][1] for of_cell in cells.values())
    shares = {row: figures(of, rows)["acc"][0] for row, rows in wanted["gender_group"].items() if rows.sum() >= 30}
    assert found["gap"]["value"] == pytest.approx(max(shares.values()) - min(shares.values()))
    assert shares[found["gap"]["worst"]] == min(shares.values())
    table = found["confusion"]["decades"]
    for true, counts in zip(table["names"], table["counts"], strict=True):
        for seen, count in zip(table["names"], counts, strict=True):
            low, high = (int(end) for end in seen.split("-"))
            inside = (of["predicted_age"] >= low) & (of["predicted_age"] < (high + 1 if high < 100 else 101))
            assert count == np.sum(wanted["age"][true] & inside), (true, seen)


@pytest.mark.parametrize("name", MODELS)
def test_an_interval_by_another_bootstrap(name: str) -> None:
    of, found = columns(name), report(name)
    off = np.abs(of["predicted_age"] - of["age"])
    rng = np.random.default_rng(99)
    means = [off[rng.integers(len(off), size=len(off))].mean() for _ in range(2000)]
    mae = found["overall"]["mae"]
    assert np.quantile(means, [0.025, 0.975]) == pytest.approx([mae["low"], mae["high"]], abs=0.04)


@pytest.mark.parametrize("name", MODELS)
def test_reports_are_small_and_show_nobody(name: str) -> None:
    files = list((REPORTS / name).iterdir())
    assert {file.name for file in files} == {"index.html", "report.json", "tables.csv", "faces.csv"}
    assert sum(file.stat().st_size for file in files) < 1_000_000
    page = (REPORTS / name / "index.html").read_text(encoding="utf-8")
    assert "image/jpeg" not in page
    assert page.count("data:image/svg+xml") == 6


@pytest.mark.parametrize("name", MODELS)
def test_reports_are_of_the_shipped_models(name: str, root: Path) -> None:
    manifest = (root / "models/manifest.json").read_text(encoding="utf-8")
    about = report(name)["about"]
    (digest,) = about["model"]["sha256"].values()
    assert digest in manifest
    folder = f"docs/reports/{name}"
    assert about["command"] == (
        f"python eval.py --model {name} --data {DATA.get(name, 'dataset/test.rec')} --report {folder} --report_faces 0"
    )
    assert about["command"] in (REPORTS / "README.md").read_text(encoding="utf-8")
    assert about["model"]["learned_from_sibling"] is True
