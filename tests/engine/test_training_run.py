"""A whole training of the tiny network: what it logs, writes and learns."""

from __future__ import annotations

import csv
import json
import logging
import re
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agegender.engine import TrainConfig, train
from agegender.errors import CheckpointError, RecordError, TrainingError, UsageError
from agegender.executor.mxnet_executor import MXNetExecutor
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph import load_checkpoint, load_states, read_info, states_path
from agegender.pipeline import Loader, LoaderConfig
from agegender.recordio import Header, RecordWriter, open_records, pack, unpack

Configure = Callable[..., TrainConfig]
Build = Callable[..., str]

LOG_LINE = re.compile(
    r"Epoch\[(\d+)\] Batch \[(\d+)-(\d+)\]\tSpeed: \d+\.\d\d samples/sec\t"
    r"acc=\d\.\d{6}\tMAE=\d+\.\d{6}\tCUM_5=\d\.\d{6}"
)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="agegender")
    return caplog


def test_it_learns_and_leaves_a_run_folder(
    make_network: Build, configure: Configure, log: pytest.LogCaptureFixture
) -> None:
    config = configure(end_epoch=12, lr=0.02)
    drawn: list[Path] = []
    result = train(config, LoaderConfig(), network_json=make_network(), draw=lambda history, path: drawn.append(path))
    folder = config.checkpoint_prefix.parent
    assert result.last == 12 and not result.interrupted and result.skipped == []
    assert result.figures["acc"] >= 0.9
    assert result.figures["MAE"] < 15
    assert drawn == [folder / "curves.png"]

    lines = messages(log)
    batches = [match for line in lines if (match := LOG_LINE.fullmatch(line))]
    assert [match.groups() for match in batches[:3]] == [("0", "0", "3"), ("0", "3", "6"), ("0", "6", "9")]
    assert len(batches) == 36
    validation = [line for line in lines if line.startswith("Epoch[11] Validation-")]
    assert [line.partition("=")[0] for line in validation] == [
        f"Epoch[11] Validation-{name}" for name in ("acc", "MAE", "CUM_5")
    ]
    text = (folder / "log.txt").read_text()
    assert all(line in text for line in validation)

    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 13))
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert json.loads((folder / "config.json").read_text())["rand_mirror"] is True


def test_info_names_best_and_last_and_what_they_come_from(make_network: Build, configure: Configure) -> None:
    config = configure(end_epoch=3)
    train(config, LoaderConfig(), network_json=make_network(), arguments={"embedding": 8})
    info = read_info(config.checkpoint_prefix)
    assert info is not None
    scored = {int(epoch): scores["MAE"] for epoch, scores in info.metrics.items()}
    assert sorted(scored) == [1, 2, 3]
    assert info.last == 3
    assert info.best == min(scored, key=lambda epoch: scored[epoch])
    assert info.data_shape == (3, 16, 16)
    assert info.arguments == {"embedding": 8}
    assert info.config["lr"] == 0.01
    assert info.data["records"] == 72


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_validation_scores_are_those_of_what_was_saved(
    make_network: Build, configure: Configure, faces: Path, ema: float
) -> None:
    config = configure(end_epoch=4, save_every=1, ema=ema)
    train(config, LoaderConfig(), network_json=make_network())
    info = read_info(config.checkpoint_prefix)
    assert info is not None
    with open_records(faces / "val.rec") as records, Loader(records, batch_size=20, size=(16, 16)) as loader:
        batch = next(loader.epoch(0))
        data = batch.data.transpose(0, 3, 1, 2).astype(np.float32)
        ages = batch.labels[:, 1].copy()
    for epoch in range(1, 5):
        checkpoint = load_checkpoint(config.checkpoint_prefix, epoch)
        age = MXNetExecutor(checkpoint.graph, checkpoint.params).forward(data)["age_output"][:, 0]
        assert info.metrics[str(epoch)]["MAE"] == pytest.approx(np.abs(age - ages).mean(), rel=1e-4), epoch


def test_only_best_last_and_every_nth_stay(make_network: Build, configure: Configure) -> None:
    config = configure(end_epoch=5, save_every=2)
    train(config, LoaderConfig(), network_json=make_network())
    info = read_info(config.checkpoint_prefix)
    assert info is not None
    folder = config.checkpoint_prefix.parent
    kept = {int(path.stem[-4:]) for path in folder.glob("*.params")}
    assert kept == {2, 4, 5, info.best}
    assert [path.name for path in folder.glob("*.states")] == ["model-0005.states"]


# Gluon asks for the type of each variable, and `data` is the one that is given later.
@pytest.mark.filterwarnings("ignore:Cannot decide type for the following arguments:UserWarning")
def test_mxnet_and_gluon_read_what_is_saved(make_network: Build, configure: Configure) -> None:
    mx = load_mxnet()
    config = configure(end_epoch=1)
    train(config, LoaderConfig(), network_json=make_network())
    prefix = str(config.checkpoint_prefix)
    data = np.random.default_rng(0).uniform(0, 255, (2, 3, 16, 16)).astype(np.float32)
    checkpoint = load_checkpoint(prefix, 1)
    ours = MXNetExecutor(checkpoint.graph, checkpoint.params).forward(data)
    assert set(ours) == {"fc1_output", "gender_softmax_output", "age_softmax_output", "age_output"}

    symbol, arguments, states = mx.model.load_checkpoint(prefix, 1)
    module = mx.mod.Module(symbol, label_names=None)
    module.bind(data_shapes=[("data", data.shape)], for_training=False)
    module.set_params(arguments, states)
    module.forward(mx.io.DataBatch([mx.nd.array(data)]))
    for name, value in zip(symbol.list_outputs(), module.get_outputs()):
        np.testing.assert_allclose(value.asnumpy(), ours[name], rtol=1e-5, atol=1e-5)

    block = mx.gluon.SymbolBlock.imports(f"{prefix}-symbol.json", ["data"], f"{prefix}-0001.params")
    for value, expected in zip(block(mx.nd.array(data)), ours.values()):
        np.testing.assert_allclose(value.asnumpy(), expected, rtol=1e-5, atol=1e-5)


def test_saved_statistics_are_those_of_the_last_step(make_network: Build, configure: Configure) -> None:
    config = configure(end_epoch=1)
    train(config, LoaderConfig(), network_json=make_network())
    params = load_checkpoint(config.checkpoint_prefix, 1).params
    assert np.abs(params["aux:bn1_moving_mean"]).max() > 0
    assert np.abs(params["aux:bn1_moving_var"] - 1).max() > 0


@pytest.mark.parametrize(
    ("known", "nan"), [({"gender": False}, "acc"), ({"age": False}, "MAE"), ({"gender": False, "age": False}, "acc")]
)
def test_training_goes_on_without_labels(
    make_network: Build,
    configure: Configure,
    log: pytest.LogCaptureFixture,
    tmp_path: Path,
    write: Callable[..., None],
    known: dict[str, bool],
    nan: str,
) -> None:
    for split in ("train", "val"):
        write(tmp_path / f"{split}.rec", count=24, seed=4, **known)
    config = configure(data_dir=str(tmp_path), end_epoch=1)
    result = train(config, LoaderConfig(), network_json=make_network())
    line = next(line for line in messages(log) if line.startswith("Epoch[0] Batch"))
    assert f"\t{nan}=nan" in line
    assert f"Epoch[0] Validation-{nan}=nan" in messages(log)
    assert result.last == 1
    assert (result.best is None) == (len(known) == 2)


def test_without_val_there_is_no_best(
    make_network: Build, configure: Configure, log: pytest.LogCaptureFixture, tmp_path: Path, write: Callable[..., None]
) -> None:
    write(tmp_path / "train.rec", count=16, seed=4)
    result = train(configure(data_dir=str(tmp_path), end_epoch=1), LoaderConfig(), network_json=make_network())
    assert (result.last, result.best) == (1, None)
    assert f"{tmp_path / 'val.rec'} is not there: no validation, no best checkpoint" in messages(log)


def test_missing_records_are_one_clear_line(make_network: Build, configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"train\.rec is not there; create_dataset\.py packs one"):
        train(configure(data_dir=str(tmp_path / "nothing")), LoaderConfig(), network_json=make_network())


def test_a_loss_that_is_not_finite_stops_with_the_record_keys(make_network: Build, configure: Configure) -> None:
    config = configure(lr=1e30, optimizer="sgd", age_loss="mse")
    with pytest.raises(
        TrainingError, match=r"not finite in epoch 0, batch \d \(record keys \d+(, \d+)*\); a lower --lr"
    ):
        train(config, LoaderConfig(), network_json=make_network(batch_norm=False))
    assert not list(config.checkpoint_prefix.parent.glob("*.params"))
    assert "not finite" in (config.checkpoint_prefix.parent / "log.txt").read_text()


def test_a_bad_record_stops_or_is_counted(
    make_network: Build, configure: Configure, tmp_path: Path, write: Callable[..., None]
) -> None:
    write(tmp_path / "whole.rec", count=16, seed=4)
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key, payload in enumerate(open_records(tmp_path / "whole.rec")):
            writer.write(key, bytes(payload))
        writer.write(99, pack(Header(label=np.array([0, 20], np.float32), id=99), b"no JPEG"))
    config = configure(data_dir=str(tmp_path), end_epoch=1)
    with pytest.raises(RecordError, match=r"train\.rec: record 99"):
        train(config, LoaderConfig(), network_json=make_network())
    result = train(config, LoaderConfig(bad_records="skip"), network_json=make_network())
    assert [key for key, _, _ in result.skipped] == [99]


def test_a_second_run_sets_the_first_one_aside(make_network: Build, configure: Configure) -> None:
    config = configure(end_epoch=1)
    folder = config.checkpoint_prefix.parent
    train(config, LoaderConfig(), network_json=make_network())
    before = (folder / "model-0001.params").read_bytes()
    train(configure(end_epoch=1, seed=5), LoaderConfig(), network_json=make_network())
    assert (folder / "earlier-1" / "model-0001.params").read_bytes() == before
    assert (folder / "model-0001.params").read_bytes() != before


def test_a_full_disk_leaves_the_old_checkpoint_intact(
    make_network: Build, configure: Configure, tmp_path: Path
) -> None:
    network = make_network()
    train(configure(end_epoch=1), LoaderConfig(), network_json=network)
    prefix = configure().checkpoint_prefix
    before = {path.name: path.read_bytes() for path in prefix.parent.glob("model*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for the parameters, not for the states.
    size = len(before["model-0001.params"]) * 3 // 2
    # Python ignores SIGXFSZ, so that a file can't grow beyond the limit but its writer lives, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"checkpoint 2 could not be written to .*; checkpoint 1 is intact"):
            train(configure(end_epoch=2, resume=True), LoaderConfig(), network_json=network)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in prefix.parent.glob("model*")} == before


@pytest.mark.parametrize("engine", ["mxnet", "torch"])
@pytest.mark.parametrize("task", ["age", "gender"])
def test_one_task_alone(
    make_network: Build, configure: Configure, log: pytest.LogCaptureFixture, task: str, engine: str
) -> None:
    config = configure(task=task, engine=engine, end_epoch=1)
    train(config, LoaderConfig(), network_json=make_network())
    other, missing = ("gender", "acc") if task == "age" else ("age", "MAE")
    line = next(line for line in messages(log) if line.startswith("Epoch[0] Batch"))
    assert f"{missing}=" not in line
    assert not [text for text in messages(log) if f"-{missing}=" in text]
    info = read_info(config.checkpoint_prefix)
    assert info is not None and info.task == task
    # Nor is the other head validated.
    assert info.metrics["1"][missing] is None and info.metrics["1"]["acc" if task == "gender" else "MAE"] is not None
    # The other head is nowhere, not even while training.
    states, _ = load_states(states_path(config.checkpoint_prefix, 1))
    saved = load_checkpoint(config.checkpoint_prefix, 1)
    assert not [name for name in [*states, *saved.params, *saved.graph.outputs()] if other in name]
    assert "fc1_output" in saved.graph.outputs() and f"arg:{task}_logits_weight" in saved.params


def test_age_balance_and_label_order(make_network: Build, configure: Configure, tmp_path: Path, faces: Path) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key, payload in enumerate(open_records(faces / "train.rec")):
            header, body = unpack(payload)
            writer.write(key, pack(Header(label=header.label[::-1].copy(), id=key), bytes(body)))
    swapped = configure(data_dir=str(tmp_path), label_order="age,gender", balance="age", prefix=str(tmp_path / "a/m"))
    plain = configure(balance="age", prefix=str(tmp_path / "b/m"))
    for config in (swapped, plain):
        train(config, LoaderConfig(), network_json=make_network())
    one, other = (load_checkpoint(config.checkpoint_prefix, 2).params for config in (swapped, plain))
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_dist_without_a_launcher_says_what_is_missing(make_network: Build, configure: Configure) -> None:
    with pytest.raises(UsageError, match=r"kvstore 'dist_sync' needs the DMLC_\* variables of a launcher"):
        train(configure(kvstore="dist_sync"), LoaderConfig(), network_json=make_network())
