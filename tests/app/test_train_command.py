"""train.py: flags, files, messages, and the networks it builds."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from agegender.app import networks
from agegender.app.cli import main
from agegender.app.networks import build_network, find_symbols, packaged_networks
from agegender.engine.config import TrainConfig
from agegender.errors import UsageError
from agegender.graph import builtin_json, load_checkpoint, read_info
from agegender.recordio import Header, RecordWriter, pack

LINE = r"Epoch\[0\] Batch \[0-2\]\tSpeed: \d+\.\d\d samples/sec\tacc=0\.\d{6}\tMAE=\d+\.\d{6}\tCUM_5=0\.\d{6}"
TEMPLATE = {"name": "utkface", "points": [[0.3, 0.3]] * 5, "size": [112, 112]}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 6)):
        with RecordWriter(folder / f"{split}.rec") as writer:
            for key in range(count):
                body = simplejpeg.encode_jpeg(rng.integers(0, 255, (72, 72, 3)).astype(np.uint8))
                writer.write(key, pack(Header(np.array([key % 2, rng.integers(0, 101)], np.float32), key), body))
        info = {"format": 1, "split": split, "records": count, "template": TEMPLATE, "labels": "gender,age"}
        info |= {"body": "jpeg", "sha256": {f"{split}.rec": "00"}, "synthetic": True}
        (folder / f"{split}.json").write_text(json.dumps(info))
    return folder


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(faces: Path, *flags: str) -> int:
    common = ["--network", "ssrnet", "--gpu_ids", "cpu", "--data_dir", str(faces), "--batch_size", "8"]
    return main(["train", *common, "--end_epoch", "1", "--frequent", "2", *flags])


def test_it_trains_and_says_where(
    faces: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert run(faces, "--jitter", "0.1", "--lr-steps", "3,5", "--ema", "0.9") == 0
    assert any(re.fullmatch(LINE, message) for message in caplog.messages)
    assert re.match(
        r"best: runs/ssrnet/model,1 \(acc \d\.\d{4}, MAE [\d.]+, CUM_5 [\d.]+\); last: runs/ssrnet/model,1",
        capsys.readouterr().out,
    )
    folder = Path("runs/ssrnet")
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("config.json", "run.yaml", "log.txt", "history.csv", "statistics.json", "curves.png"),
        *("model-symbol.json", "model-0001.params", "model-0001.states", "model.json"),
    }
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
    config = json.loads((folder / "config.json").read_text())
    assert (config["lr_steps"], config["optimizer"], config["lr"], config["jitter"]) == ([3, 5], "adam", 1e-3, 0.1)
    info = read_info("runs/ssrnet/model")
    assert info is not None
    assert info.template == TEMPLATE
    assert info.synthetic
    assert info.data["sha256"] == {"train.rec": "00"}
    assert info.data_shape == (3, 64, 64)
    assert info.arguments["embedding"] == 64
    assert load_checkpoint("runs/ssrnet/model", "best").graph.to_json()


def test_ctrl_c_says_how_to_go_on(faces: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    import logging

    class Interrupt(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Batch [0-1]" in record.getMessage():
                signal.raise_signal(signal.SIGINT)

    handler = Interrupt()
    logging.getLogger("agegender").addHandler(handler)
    monkeypatch.setattr("sys.argv", ["train.py", "--network", "ssrnet", "--batch_size", "4"])
    try:
        assert run(faces, "--batch_size", "4", "--frequent", "1") == 130
    finally:
        logging.getLogger("agegender").removeHandler(handler)
    out = capsys.readouterr().out
    assert out.startswith("saved runs/ssrnet/model-0001; go on with:\n")
    assert "python train.py --network ssrnet --batch_size 4 --resume" in out


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--network", "mobilnet"], 2, "unknown network 'mobilnet'"),
        (
            ["--network", "ssrnett"],
            2,
            f"unknown network 'ssrnett'; did you mean 'ssrnet'? ({', '.join(packaged_networks())})",
        ),
        (["--gpu_ids", "7"], 2, "GPU 7 is not there; this machine has"),
        (["--data_dir", "nowhere"], 1, "nowhere/train.rec is not there; create_dataset.py packs one"),
        (["--head", "ssr", "--age_loss", "dldl"], 2, "age_loss 'dldl' needs a softmax over ages"),
        (["--network", "m50", "--head", "ssr"], 2, "unknown head 'ssr' for m50 (dex, reg, bins)"),
        (["--num_layers", "18"], 2, "unknown argument 'num_layers' for ssrnet"),
        (["--data_shape", "3,60,60"], 2, "data shape (3, 60, 60)"),
        (["--batch_size", "0"], 2, "batch_size 0 is not 1 or more"),
        (["--ema", "1"], 2, "ema 1.0 is not within 0..1"),
        (["--pretrained", "nothing,3"], 2, "nothing"),
    ],
)
def test_what_can_not_be_is_one_line(
    faces: Path, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, message: str
) -> None:
    assert run(faces, *flags) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_head_ssr_trains_with_the_absolute_error(faces: Path) -> None:
    assert run(faces, "--head", "ssr", "--lr_schedule", "cosine") == 0
    info = read_info("runs/ssrnet/model")
    assert info is not None
    assert (info.head, info.config["age_loss"]) == ("ssr", "mae")


def test_packaged_defaults_are_those_of_symbols() -> None:
    symbols = find_symbols()
    assert symbols is not None
    assert list(packaged_networks()) == list(symbols.NETWORKS)
    for name, packaged in packaged_networks().items():
        assert vars(packaged) == {field: getattr(symbols.NETWORKS[name], field) for field in vars(packaged)}


@pytest.mark.parametrize(
    ("network", "head", "name"), [("m50", None, "m50"), ("ssrnet", "dex", "ssrnet"), ("ssrnet", "ssr", "ssrnet-ssr")]
)
def test_without_symbols_the_packaged_graph_serves(
    monkeypatch: pytest.MonkeyPatch, network: str, head: str | None, name: str
) -> None:
    built = build_network(TrainConfig(network=network, head=head))
    monkeypatch.setattr(networks, "find_symbols", lambda: None)
    packaged = build_network(TrainConfig(network=network, head=head))
    assert packaged.graph_json == builtin_json(name)
    assert packaged.config == built.config
    with pytest.raises(UsageError, match="embedding, width: only the network's defaults come"):
        build_network(TrainConfig(network=network, head=head, embedding=32, width=2.0))


def test_without_mxnet_nothing_is_built_from_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mxnet" else found(name))
    assert find_symbols() is None
    assert build_network(TrainConfig(network="r50")).graph_json == builtin_json("r50")


def test_several_devices_train_in_a_process_each(faces: Path, root: Path) -> None:
    flags = ["--network", "ssrnet", "--engine", "torch", "--gpu_ids", "cpu,cpu", "--data_dir", str(faces)]
    flags += ["--batch_size", "4", "--end_epoch", "1", "--frequent", "2"]
    done = subprocess.run([sys.executable, root / "train.py", *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "engine: torch (as asked)"
    assert "16 faces, 2 batches of 4 per epoch on cpu (torch, worker 0 of 2)" in lines[1]
    assert sum(bool(re.fullmatch(LINE, line)) for line in lines) == 1
    assert done.stdout.startswith("best: runs/ssrnet/model,1 (acc ")
    assert load_checkpoint("runs/ssrnet/model").params


def test_a_device_that_is_not_there_is_named_once(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(faces, "--engine", "torch", "--gpu_ids", "8,9") == 2
    error = capsys.readouterr().err
    assert "error: GPU 8 is not there; this machine has" in error and error.count("\n") == 1


def test_defaults_people_know() -> None:
    config = build_network(TrainConfig()).config
    assert (config.network, config.data_shape, config.batch_size) == ("m50", (3, 112, 112), 128)
    assert (config.optimizer, config.lr, config.mom, config.wd) == ("sgd", 0.1, 0.9, 5e-4)
    assert (config.lr_steps, config.end_epoch, config.frequent) == ((10, 30, 80, 150, 200), 200, 20)
    assert config.age_loss == "dldl"


def test_balance_leaves_a_figure_and_numbers(faces: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(faces, "--balance", "over", "--task", "age") == 0
    assert any(re.fullmatch(r"balance over: 16 faces, \d\d per epoch", message) for message in caplog.messages)
    assert Path("runs/ssrnet/balance.png").read_bytes()[:4] == b"\x89PNG"
    assert Path("runs/ssrnet/balance.csv").read_text().startswith("age,faces,per_epoch\n")
    # A run after it sets its files aside.
    assert run(faces) == 0
    assert Path("runs/ssrnet/earlier-1/balance.png").is_file() and not Path("runs/ssrnet/balance.png").exists()


@pytest.mark.parametrize(("task", "engine"), [("age", "mxnet"), ("gender", "torch")])
def test_a_net_of_one_task_is_saved_and_scored_as_such(
    faces: Path, capsys: pytest.CaptureFixture[str], task: str, engine: str
) -> None:
    assert run(faces, "--task", task, "--engine", engine) == 0
    said = capsys.readouterr().out
    assert ("MAE" in said, "acc " in said) == (task == "age", task == "gender")
    other = {"age": "gender", "gender": "age"}[task]
    saved = load_checkpoint("runs/ssrnet/model")
    assert not [name for name in [*saved.params, *saved.graph.outputs()] if name.partition(":")[2].startswith(other)]
    assert not [name for name in saved.graph.outputs() if name.startswith(other)]
    assert main(["eval", "--model", "runs/ssrnet/model", "--data", str(faces / "val.rec"), "--gpu_ids", "cpu"]) == 0
    scored = capsys.readouterr().out
    assert "faces: 6 (6 with gender, 6 with age)" in scored
