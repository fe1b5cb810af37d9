"""Sharper ages and a shifted gender: the tables, and that the written net says what they said."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from agegender.app.cli import main as agegender
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.errors import CheckpointError
from agegender.face.photo import encode_jpeg
from agegender.face.templates import get_template
from agegender.graph.info import read_info
from agegender.recordio import Header, RecordWriter, pack
from tools.adjust import Told, adjusted, age_table, gender_table, main

FACES = 12


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untrained_model: Path) -> str:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(untrained_model.parent, "model")
    with RecordWriter("val.rec") as writer:
        for key in range(FACES):
            image = synthetic_sample(key).image
            assert image is not None
            writer.write(key, pack(Header(np.array([key % 2, 5 + 6 * key], np.float32), key), encode_jpeg(image)))
    template = get_template("utkface").to_json(112)
    about = {"format": 1, "records": FACES, "labels": "gender,age", "template": template, "sha256": {}}
    Path("val.json").write_text(json.dumps(about))
    return "val.rec"


def told_of(male: list[float], genders: list[int], groups: list[str]) -> Told:
    logs = np.log(np.stack([1 - np.array(male), np.array(male)], axis=1))
    labels = np.stack([np.array(genders, np.float32), np.full(len(male), 20, np.float32)], axis=1)
    return Told(logs, np.log(np.full((len(male), 3), 1 / 3)), np.array([0.0, 10.0, 20.0]), labels, np.array(groups))


def test_the_written_net_has_the_figures_of_the_tables(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model/model", "--data", data, "--gpu_ids", "cpu", "--engine", "onnxruntime"]
    assert main([*words, "--sharpen", "1.7", "--gender_shift", "-0.3", "--output", "new/model"]) == 0
    tables = capsys.readouterr().out
    info = read_info("new/model")
    assert info is not None and info.extra["adjusted"]["sharpen"] == 1.7
    told = info.metrics["1"]
    assert f"| 1.7 | {told['MAE']:.3f} |" in tables and f"| -0.3 | {told['acc']:.4f} | - |" in tables
    assert agegender(["eval", "--model", "new/model", *words[1:]]) == 0
    printed = dict(
        line.split(" ")[0].split("=")
        for line in capsys.readouterr().out.splitlines()
        if line[:3] in ("MAE", "acc", "CUM")
    )
    assert float(printed["MAE"]) == pytest.approx(told["MAE"], abs=1e-3)
    assert float(printed["acc"]) == pytest.approx(told["acc"], abs=1e-6)
    assert float(printed["CUM_5"]) == pytest.approx(told["CUM_5"], abs=1e-6)


def test_without_output_nothing_is_written(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path().rglob("*"))
    assert main(["model/model", "--data", data, "--gpu_ids", "cpu"]) == 0
    assert "nothing written: --output PREFIX" in capsys.readouterr().err
    assert sorted(Path().rglob("*")) == before


def test_sharpness_draws_the_age_to_the_likeliest() -> None:
    told = dataclasses.replace(told_of([0.5], [1], [""]), age=np.log([[0.6, 0.3, 0.1]]))
    assert told.ages(1) == pytest.approx([5.0])
    # Squared: 0.36, 0.09, 0.01.
    assert told.ages(2) == pytest.approx([(0.9 + 0.2) / 0.46])
    assert next(row for row in age_table(told, [1]) if row.startswith("| 1 ")) == "| 1 | 15.000 | - | - | 0.0% |"


def test_the_shift_is_in_log_odds_and_cells_are_of_thirty() -> None:
    # Group a: of 30 women 15 look a little male; all 30 men look male. Group b has too few to count.
    male = [0.4] * 15 + [0.55] * 15 + [0.9] * 30 + [0.9] * 5
    told = told_of(male, [0] * 30 + [1] * 30 + [0] * 5, ["a"] * 60 + ["b"] * 5)
    rows = list(gender_table(told, [0, 0.3]))
    assert rows[2] == "| 0 | 0.6923 | 0.500 | 42.9% | 100.0% |"
    assert rows[3] == "| 0.3 | 0.9231 | 0.000 | 85.7% | 100.0% |"  # log(0.55 / 0.45) is 0.2


def test_the_weights() -> None:
    params = {
        "arg:age_logits_weight": np.ones((3, 2), np.float32),
        "arg:age_logits_bias": np.array([1, 2, 3], np.float32),
        "arg:gender_logits_bias": np.array([0.5, 0.5], np.float32),
    }
    new = adjusted(params, sharpness=2, shift=0.25)
    assert new["arg:age_logits_weight"].tolist() == [[2, 2]] * 3 and new["arg:age_logits_bias"].tolist() == [2, 4, 6]
    assert new["arg:gender_logits_bias"].tolist() == [0.5, 0.25]
    assert params["arg:gender_logits_bias"].tolist() == [0.5, 0.5]
    with pytest.raises(CheckpointError, match="no arg:age_logits_weight: only head dex"):
        adjusted({}, sharpness=1, shift=0)


def test_what_is_refused(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model/model", "--data", data, "--sharpen", "0"]) == 2
    assert "--sharpen 0 is not above 0" in capsys.readouterr().err
    assert main(["model/model", "--data", data, "--output", "model/model"]) == 2
    assert "model-0001.params is there already" in capsys.readouterr().err
