"""A set of bins from packing over training on either engine to eval."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agegender.app.cli import run_command
from agegender.dataset.config import PackConfig
from agegender.dataset.pack import pack
from agegender.dataset.sources.bins import FAIRFACE, bin_of, middle
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.engine import TrainConfig, train
from agegender.graph import read_info
from agegender.pipeline import LoaderConfig

SIDE = 16


@pytest.fixture(scope="module")
def binned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.rec and val.rec of drawn faces of which only FairFace's bins are known."""
    faces = []
    for number in range(60):
        face = synthetic_sample(number, size=SIDE)
        ages = bin_of(face.age, face.age, tuple(FAIRFACE.values()))
        assert ages is not None
        faces.append(replace(face, low=ages[0], high=ages[1], age=middle(ages)))
    folder = tmp_path_factory.mktemp("binned")
    pack(faces, PackConfig(output=str(folder), image_size=SIDE, val_ratio=0.25, workers=1))
    return folder


@pytest.mark.parametrize("engine", ["mxnet", "torch"])
def test_bins_are_learned_scored_and_choose_the_best(
    binned: Path,
    make_network: Callable[..., str],
    configure: Callable[..., TrainConfig],
    engine: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = configure(data_dir=str(binned), engine=engine, end_epoch=3)
    result = train(config, LoaderConfig(), network_json=make_network())
    info = read_info(Path(config.prefix))
    assert info is not None
    figures = info.metrics[str(result.best)]
    assert figures["n_bin"] == 15
    assert figures["MAE"] is None
    assert figures["bin_acc"] == max(known["bin_acc"] for known in info.metrics.values())
    assert 0 <= figures["bin_acc"] <= figures["bin_1off"] <= 1
    capsys.readouterr()
    arguments = ["--model", f"{config.prefix},{result.best}", "--data", str(binned / "val.rec"), "--gpu_ids", "cpu"]
    assert run_command("eval", [*arguments, "--engine", engine, "--lang", "en"], prog="eval.py") == 0
    told = capsys.readouterr().out
    assert f"bin_acc={figures['bin_acc']:.6f} bin_1off={figures['bin_1off']:.6f} (age in the right bin" in told
    assert "n=15" in told


def test_faces_in_bins_have_no_error_in_years(
    binned: Path, make_network: Callable[..., str], configure: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = configure(data_dir=str(binned), engine="torch", end_epoch=1)
    train(config, LoaderConfig(), network_json=make_network())
    arguments = ["--model", config.prefix, "--data", str(binned / "val.rec"), "--gpu_ids", "cpu", "--engine", "torch"]
    assert run_command("eval", [*arguments, "--csv", str(tmp_path / "faces.csv"), "--lang", "en"], prog="eval.py") == 0
    with open(tmp_path / "faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15
    assert {row["error"] for row in rows} == {""}
    assert {int(row["age"]) for row in rows} <= {middle(ages) for ages in FAIRFACE.values()}
