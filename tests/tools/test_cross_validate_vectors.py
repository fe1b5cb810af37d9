"""Cross-validation of a perceptron on embeddings that are in folds and have bins of ages, as Adience's."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from agegender.pipeline.set_info import read_set_info
from tests.vector_sets import EMBEDDING, WIDTH, write_vectors
from tools.cross_validate import main

SMALL = ["--network", "mlp", "--width", "0.1", "--depth", "1", "--embedding", "8", "--batch_size", "16"]


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_each_fold_is_tested_by_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    write_vectors(Path("emb/train.rec"), 160, folds=2, bins=True)
    flags = ["--gpu_ids", "cpu", *SMALL, "--engine", "mxnet", "--lr", "0.02", "--end_epoch", "12", "--dropout", "0"]
    assert main(["--data", "emb/train.rec", "--output", "cv", "--val_ratio", "0.2", *flags]) == 0
    printed = capsys.readouterr()
    assert "the set's own 2 folds; 160 faces" in printed.err
    with Path("cv/results.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert [row["fold"] for row in rows] == ["f0", "f1"]
    assert sum(int(row["n_gender"]) for row in rows) == 160
    assert all(float(row["acc"]) > 0.7 for row in rows)
    assert all(0 < float(row["bin_acc"]) <= float(row["bin_1off"]) <= 1 for row in rows)
    info = read_set_info(Path("cv/seed-0/fold-1/dataset/train.rec"))
    assert info is not None
    assert info.embedding == {"size": WIDTH, **EMBEDDING}
    assert info.width == WIDTH
    model = json.loads(Path("cv/seed-0/fold-1/model.json").read_text())
    assert model["input"]["shape"] == [WIDTH, 1, 1]


def test_embeddings_of_two_models_are_not_joined(capsys: pytest.CaptureFixture[str]) -> None:
    write_vectors(Path("one/train.rec"), 8)
    write_vectors(Path("two/train.rec"), 8, model="another,3")
    assert main(["--data", "one/train.rec", "two/train.rec", "--folds", "2", *SMALL]) == 1
    assert "one/train.json can't be joined: their embedding differs" in capsys.readouterr().err
