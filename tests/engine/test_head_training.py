"""Heads reg and bins from train.py over eval.py and tools/export.py to infer.py, on every engine and executor."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.age_bins import ADIENCE_12
from agegender.app.cli import main, run_command
from agegender.deploy.open_net import open_onnx
from agegender.executor import open_executor
from agegender.face.photo import write_photo
from agegender.face.templates import get_template
from agegender.graph import ModelInfo, load_checkpoint, read_info
from agegender.readout import Readout

THIRDS = [[0, 29], [30, 59], [60, 100]]
SSRNET = ["--network", "ssrnet", "--width", "0.25", "--data_shape", "3,32,32", "--embedding", "16", "--lr", "0.01"]
LEVI = ["--network", "levi_hassner", "--width", "0.05", "--data_shape", "3,51,63", "--embedding", "24"]
LEVI += ["--optimizer", "adam", "--lr", "0.003"]
Model = tuple[str, ModelInfo]


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., None]) -> Path:
    """A folder with train.rec (96 faces, the older the brighter) and val.rec (24)."""
    folder = tmp_path_factory.mktemp("bright")
    for split, count, seed in (("train", 96, 1), ("val", 24, 2)):
        write(folder / f"{split}.rec", count=count, seed=seed)
        known: dict[str, Any] = {"format": 1, "split": split, "records": count, "labels": "gender,age", "body": "jpeg"}
        known |= {"template": get_template("utkface").to_json(112), "sha256": {}, "synthetic": True}
        (folder / f"{split}.json").write_text(json.dumps(known))
    return folder


def trained(faces: Path, flags: list[str], *, epochs: int = 4) -> Model:
    """Train here, check that the loss fell, and return the prefix and what prefix.json says."""
    common = ["--gpu_ids", "cpu", "--data_dir", str(faces), "--batch_size", "16", "--prefix", "run/model"]
    assert main(["train", *common, "--end_epoch", str(epochs), *flags]) == 0
    with open("run/history.csv", newline="") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.8 * losses[0], losses
    info = read_info("run/model")
    assert info is not None
    return f"run/model,{info.last}", info


def answers(model: str, info: ModelInfo, capsys: pytest.CaptureFixture[str]) -> dict[str, np.ndarray]:
    """Run the model on all executors and as an exported file, and return what all of them say."""
    assert run_command("export", [model, "--output", "net.onnx"], prog="export.py") == 0
    capsys.readouterr()
    checkpoint = load_checkpoint("run/model", info.last)
    data = np.random.default_rng(3).uniform(0, 255, (4, *(info.data_shape or ()))).astype(np.float32)
    found = {
        engine: open_executor(checkpoint, engine=engine, gpu_ids="cpu").forward(data)
        for engine in ("mxnet", "torch", "onnxruntime")
    }
    file, described, _ = open_onnx(Path("net.onnx"), gpu_ids="cpu")
    assert described is not None
    assert (described.head, described.age_bins) == (info.head, info.age_bins)
    for other in (found["torch"], found["onnxruntime"], file.forward(data)):
        assert list(other) == list(found["mxnet"])
        for name, array in found["mxnet"].items():
            np.testing.assert_allclose(other[name], array, rtol=1e-4, atol=1e-4, err_msg=name)
    return found["mxnet"]


def scored(model: str, faces: Path, engine: str, capsys: pytest.CaptureFixture[str]) -> str:
    arguments = ["--model", model, "--data", str(faces / "val.rec"), "--gpu_ids", "cpu", "--lang", "en"]
    assert run_command("eval", [*arguments, "--engine", engine], prog="eval.py") == 0
    return capsys.readouterr().out


def mae(told: str) -> float:
    found = re.search(r"^MAE=(\d+\.\d+) ", told, re.M)
    assert found is not None, told
    return float(found[1])


def inferred(capsys: pytest.CaptureFixture[str], *models: str) -> list[dict[str, Any]]:
    """Return what infer says of one crop, by each of ``models``."""
    found = []
    write_photo(Path("crop.png"), np.random.default_rng(4).integers(0, 256, (112, 112, 3)).astype(np.uint8))
    for model in models:
        arguments = ["--model", model, "--image", "crop.png", "--detector", "none", "--gpu_ids", "cpu"]
        assert run_command("infer", [*arguments, "--json", "--distribution", "--output", "none"], prog="infer.py") == 0
        found += json.loads(capsys.readouterr().out)["faces"]
    return found


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("engine", "age_loss"), [("mxnet", "mae"), ("torch", "mse")])
def test_reg(bright: Path, capsys: pytest.CaptureFixture[str], engine: str, age_loss: str) -> None:
    flags = [*SSRNET, "--engine", engine, "--head", "reg", *(["--age_loss", "mse"] if age_loss == "mse" else [])]
    model, info = trained(bright, flags)
    assert (info.head, info.config["age_loss"], info.age_bins) == ("reg", age_loss, list(range(101)))
    outputs = answers(model, info, capsys)
    assert list(outputs) == ["fc1_output", "gender_softmax_output", "age_output"]
    assert mae(scored(model, bright, engine, capsys)) == pytest.approx(info.metrics[str(info.last)]["MAE"], abs=1e-3)
    face, same = inferred(capsys, model, "net.onnx")
    assert face["age"] == pytest.approx(same["age"], abs=0.11)
    assert face["age_distribution"] is None


def test_bins(bright: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*SSRNET, "--engine", "torch", "--head", "bins", "--age_bins", "0-29,30-59,60-100"]
    model, info = trained(bright, flags)
    assert (info.head, info.config["age_loss"], info.age_bins) == ("bins", "ce", THIRDS)
    assert info.arguments["age_bins"] == THIRDS
    outputs = answers(model, info, capsys)
    assert outputs["age_softmax_output"].shape == (4, 3)
    np.testing.assert_allclose(outputs["age_output"][:, 0], outputs["age_softmax_output"] @ [14.5, 44.5, 80], rtol=1e-4)
    assert mae(scored(model, bright, "torch", capsys)) == pytest.approx(info.metrics[str(info.last)]["MAE"], abs=1e-3)
    face, same = inferred(capsys, model, "net.onnx")
    assert face["age"] == pytest.approx(same["age"], abs=0.11)
    # Over years, even over those of a bin.
    mass = np.array(face["age_distribution"])
    assert len(mass) == 101
    assert mass @ np.arange(101) == pytest.approx(face["age"], abs=0.06)
    assert {len(np.unique(mass[first : last + 1])) for first, last in THIRDS} == {1}
    # Other bins are another net.
    assert main(["train", *flags[:-1], "0-19,20-59,60-100", "--gpu_ids", "cpu", "--data_dir", str(bright),
                 "--batch_size", "16", "--prefix", "run/model", "--end_epoch", "5", "--resume"]) == 2  # fmt: skip
    assert "age_bins 0-19,20-59,60-100: this run was begun with others" in capsys.readouterr().err


def test_levi_hassner_learns_both_on_mxnet(bright: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, info = trained(bright, [*LEVI, "--engine", "mxnet", "--age_bins", "adience12"], epochs=5)
    assert (info.head, info.task, info.data_shape) == ("bins", "both", (3, 51, 63))
    assert info.age_bins == [list(ages) for ages in ADIENCE_12]
    outputs = answers(model, info, capsys)
    assert outputs["age_softmax_output"].shape == (4, 12)
    assert (outputs["fc1_output"].shape, outputs["fc1_output"].min() >= 0) == ((4, 24), True)
    told = scored(model, bright, "mxnet", capsys)
    assert f"acc={info.metrics[str(info.last)]['acc']:.6f} (gender" in told
    assert mae(told) == pytest.approx(info.metrics[str(info.last)]["MAE"], abs=1e-3)


@pytest.mark.parametrize("task", ["age", "gender"])
def test_levi_hassner_learns_one_as_in_the_paper(bright: Path, capsys: pytest.CaptureFixture[str], task: str) -> None:
    model, info = trained(bright, [*LEVI, "--engine", "torch", "--task", task], epochs=5)
    outputs = answers(model, info, capsys)
    wanted = {"age": {"age_softmax_output", "age_output"}, "gender": {"gender_softmax_output"}}[task]
    assert set(outputs) == wanted | {"fc1_output"}
    readout = Readout.of_model({}, head=info.head, task=info.task, age_bins=info.age_bins)
    reading = readout.read(outputs)
    assert (reading.age is None, reading.gender is None) == (task == "gender", task == "age")
    told = scored(model, bright, "torch", capsys)
    assert ("age: the model tells none" in told, "gender: the model tells none" in told) == (
        task == "gender",
        task == "age",
    )
    assert "nan" not in told
