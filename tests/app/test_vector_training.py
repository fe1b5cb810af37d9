"""train.py --network mlp on embeddings, and what the trained net is good for: eval, infer, export, the service."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from agegender import Predictor
from agegender.app import networks
from agegender.app.cli import main
from agegender.deploy.vector_net import open_vector_net
from agegender.engine.config import TrainConfig
from agegender.errors import CheckpointError
from agegender.graph import read_info
from tests.vector_sets import EMBEDDING, WIDTH, made_vectors, write_vectors

SMALL = ["--network", "mlp", "--width", "0.1", "--depth", "1", "--embedding", "8", "--gpu_ids", "cpu"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emb")
    for seed, (split, count) in enumerate((("train", 256), ("val", 64), ("test", 64))):
        write_vectors(folder / f"{split}.rec", count, seed=seed)
    return folder


@pytest.fixture(scope="module")
def trained(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of a small perceptron that has learned, trained by MXNet."""
    prefix = tmp_path_factory.mktemp("run") / "model"
    flags = ["--data_dir", str(sets), "--prefix", str(prefix), "--end_epoch", "12", "--batch_size", "16"]
    assert main(["train", *SMALL, *flags, "--engine", "mxnet", "--lr", "0.01", "--lr_schedule", "cosine"]) == 0
    return prefix


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")


def history(prefix: Path) -> list[dict[str, str]]:
    with prefix.with_name("history.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_learns_and_says_what_from(trained: Path) -> None:
    rows = history(trained)
    assert float(rows[-1]["train_loss"]) < 0.6 * float(rows[0]["train_loss"])
    assert float(rows[-1]["val_acc"]) > 0.85
    assert float(rows[-1]["val_MAE"]) < 8
    info = read_info(trained)
    assert info is not None
    assert info.input == {"shape": [WIDTH, 1, 1], "embedding": {"size": WIDTH, **EMBEDDING}}
    assert info.arguments == {"width": 0.1, "depth": 1, "dropout": 0.3, "embedding": 8}
    assert info.config["rand_mirror"] is False
    assert info.template["name"] == "arcface"


def test_torch_goes_on_where_mxnet_stopped(sets: Path, caplog: pytest.LogCaptureFixture) -> None:
    flags = ["train", *SMALL, "--data_dir", str(sets), "--prefix", "run/model", "--batch_size", "32", "--frequent", "4"]
    assert main([*flags, "--engine", "mxnet", "--end_epoch", "1"]) == 0
    assert f"embeddings: {WIDTH} numbers by toy,1" in caplog.messages
    assert main([*flags, "--engine", "torch", "--end_epoch", "3", "--resume"]) == 0
    losses = [float(row["train_loss"]) for row in history(Path("run/model"))]
    assert len(losses) == 3
    assert losses[2] < losses[0]
    line = r"Epoch\[2\] Batch \[4-8\]\tSpeed: [\d.]+ samples/sec\tacc=[\d.]+\tMAE=[\d.]+\tCUM_5=[\d.]+"
    assert any(re.fullmatch(line, message) for message in caplog.messages)


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--jitter", "0.1", "--cutoff", "8"], 2, "--cutoff, --jitter: these change pictures, and the network 'mlp'"),
        (["--data_shape", "99,1,1"], 1, f"train.json: the embeddings have {WIDTH} numbers, the network takes 99"),
        (["--data_shape", "3,64,64"], 2, "data shape (3, 64, 64) is not numbers,1,1, as mlp takes no image"),
        (["--network", "ssrnet"], 1, "the records hold embeddings, the network 'ssrnet' takes pictures"),
    ],
)
def test_what_does_not_go_together(
    sets: Path, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, message: str
) -> None:
    own = ["--network", "mlp", "--gpu_ids", "cpu"] if "--network" not in flags else ["--gpu_ids", "cpu"]
    assert main(["train", *own, "--data_dir", str(sets), "--end_epoch", "1", *flags]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_an_installed_package_takes_embeddings_of_any_length(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(network="mlp", data_dir=str(sets))
    built = networks.build_network(config)
    monkeypatch.setattr(networks, "find_symbols", lambda: None)
    packaged = networks.build_network(config)
    assert packaged.config == built.config
    assert packaged.config.data_shape == (WIDTH, 1, 1)
    assert packaged.graph_json.strip() == built.graph_json.strip()


def test_sets_of_two_models_are_not_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    write_vectors(Path("emb/train.rec"), 20)
    write_vectors(Path("emb/val.rec"), 20, normalised=True)
    assert main(["train", *SMALL, "--data_dir", "emb", "--end_epoch", "1"]) == 1
    assert "emb/val.json and emb/train.json: their embeddings were not made alike" in capsys.readouterr().err


def test_pictures_are_not_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    write_vectors(Path("set/train.rec"), 4)
    document = json.loads(Path("set/train.json").read_text())
    Path("set/train.json").write_text(json.dumps({**document, "body": "jpeg"}))
    assert main(["train", *SMALL, "--data_dir", "set"]) == 1
    assert "the records hold pictures, the network 'mlp' takes embeddings; tools/embed.py" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["mxnet", "torch", "onnxruntime"])
def test_eval_on_every_executor(trained: Path, sets: Path, capsys: pytest.CaptureFixture[str], engine: str) -> None:
    flags = ["--model", str(trained), "--data", str(sets / "test.rec"), "--engine", engine, "--gpu_ids", "cpu"]
    assert main(["eval", *flags, "--csv", "faces.csv"]) == 0
    said = capsys.readouterr().out
    with Path("faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = made_vectors(64, seed=2)[1]
    assert [int(row["gender"]) for row in rows] == labels[:, 0].tolist()
    told = open_vector_net(trained, gpu_ids="cpu", engine=engine).read(made_vectors(64, seed=2)[0])
    assert told.age is not None
    assert told.gender is not None
    error = np.abs(told.age - labels[:, 1]).mean()
    assert f"MAE={error:.4f}"[:-1] in said
    assert f"acc={(told.gender.argmax(axis=1) == labels[:, 0]).mean():.6f}" in said
    assert error < 8


def test_eval_refuses_other_embeddings(trained: Path, sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_vectors(Path("other/val.rec"), 8, sha256={"toy-0001.params": "ff"})
    write_vectors(Path("longer/val.rec"), 8, width=WIDTH + 1)
    own = str(sets / "val.rec")
    for flags, line in (
        (["--data", "other/val.rec"], "these embeddings are others than those that the model learned from (sha256: "),
        (["--data", "longer/val.rec"], f"the embeddings have {WIDTH + 1} numbers, the model takes {WIDTH}"),
        (["--data", own, "--flip"], "--flip mirrors pictures, and the model takes embeddings"),
        (["--data", own, "--model", "ssrnet"], "the records hold embeddings (float32), not pictures"),
    ):
        assert main(["eval", "--model", str(trained), "--gpu_ids", "cpu", *flags]) in (1, 2)
        assert line in capsys.readouterr().err


def test_infer_tells_each_embedding_of_a_file(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors, labels = made_vectors(5, seed=7)
    np.save("faces.npy", vectors)
    flags = ["infer", "--embeddings", "faces.npy", "--model", str(trained), "--gpu_ids", "cpu"]
    assert main([*flags, "--json", "faces.jsonl", "--csv", "faces.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"faces\.npy, 0: gender: (female|male) \(0\.\d\d\), age: \d+ \(\d+ to \d+\), entropy .+", lines[0]
    )
    assert len(lines) == 5
    document = json.loads(Path("faces.jsonl").read_text())
    assert document["embeddings"] == "faces.npy"
    told = open_vector_net(trained, gpu_ids="cpu").read(vectors)
    assert told.age is not None
    assert [face["age"] for face in document["faces"]] == [round(float(age), 1) for age in told.age]
    genders = [face["gender"] for face in document["faces"]]
    assert sum(name == ("female", "male")[int(label)] for name, label in zip(genders, labels[:, 0])) >= 4
    with Path("faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["age"]) for row in rows] == [face["age"] for face in document["faces"]]
    assert all(0 <= float(row["gender_entropy"]) <= 1 and float(row["age_entropy"]) > 0 for row in rows)
    # One alone, on standard output, from dropout that is left on.
    np.save("one.npy", vectors[0].astype(np.float64))
    assert main(["infer", "--embeddings", "one.npy", "--model", str(trained), "--json", "--mc_dropout", "8"]) == 0
    [face] = json.loads(capsys.readouterr().out)["faces"]
    assert face["age_deviation"] > 0


def test_infer_never_unpickles(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("objects.npy", np.array([{}], object), allow_pickle=True)
    Path("pickle.npy").write_bytes(pickle.dumps([1]))
    np.save("short.npy", np.zeros((2, 3), np.float32))
    np.save("good.npy", np.zeros((2, WIDTH), np.float32))
    for flags, code, line in (
        (["objects.npy"], 1, "objects.npy: the .npy file holds no plain numbers"),
        (["pickle.npy"], 1, "pickle.npy: it is no .npy file"),
        (["short.npy"], 1, f"short.npy: the embeddings have shape [2, 3], not [n, {WIDTH}]"),
        (["none.npy"], 2, "--embeddings none.npy: there is no such file"),
        (["good.npy", "--image", "a.jpg"], 2, "--image is for photos, --embeddings are none: give either"),
        (["good.npy", "--csv", "good.npy"], 2, "--csv 'good.npy' would overwrite 'good.npy', which holds embeddings"),
        (["good.npy", "--model", "ssrnet"], 1, "ssrnet.json: the model takes pictures [3, 64, 64], not embeddings"),
    ):
        model = [] if "--model" in flags else ["--model", str(trained)]
        assert main(["infer", "--embeddings", *flags, *model, "--gpu_ids", "cpu"]) == code, line
        assert line in capsys.readouterr().err


def test_an_exported_file_tells_the_same(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(trained), "--output", "mlp.onnx"]) == 0
    assert f"['batch', {WIDTH}, 1, 1]" in capsys.readouterr().out
    vectors = made_vectors(6, seed=9)[0]
    ours = open_vector_net(trained, gpu_ids="cpu", engine="mxnet")
    exported = open_vector_net("mlp.onnx", gpu_ids="cpu")
    assert exported.embedding == ours.embedding == {"size": WIDTH, **EMBEDDING}
    for name in ("gender", "age", "distribution"):
        np.testing.assert_allclose(getattr(exported.read(vectors), name), getattr(ours.read(vectors), name), atol=1e-3)
    assert main(["export", str(trained), "--output", "int8.onnx", "--int8"]) == 2
    assert "--int8 is for nets on pictures" in capsys.readouterr().err


def test_photos_are_not_for_it(trained: Path) -> None:
    line = f"model.json: the model takes embeddings of {WIDTH} numbers, not pictures"
    with pytest.raises(CheckpointError, match=line):
        Predictor(trained, detector=None, gpu_ids="cpu")


def test_the_service_serves_it(trained: Path) -> None:
    from tests.service.running import running

    vectors = made_vectors(3, seed=4)[0]
    stream = io.BytesIO()
    np.save(stream, vectors)
    net = open_vector_net(trained, gpu_ids="cpu", threads=1)
    with running(Predictor("ssrnet", detector=None, gpu_ids="cpu"), [None], vector_net=net) as served:
        answer = served.post("/v1/faces/embeddings", content=stream.getvalue())
    assert answer.status_code == 200, answer.text
    ages = net.read(vectors).age
    assert ages is not None
    assert [face["age"] for face in answer.json()["faces"]] == [round(float(age), 1) for age in ages]
