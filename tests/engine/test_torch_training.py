"""The PyTorch engine against MXNet's: the same losses, steps and files; started on one, gone on with on the other."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.engine import TrainConfig, train
from agegender.engine.backend import Trainable, open_backend
from agegender.errors import CheckpointError, TrainingError, UsageError
from agegender.graph import load_checkpoint, load_states, read_info, states_path
from agegender.pipeline import LoaderConfig
from agegender.pipeline.batch import Batch

Configure = Callable[..., TrainConfig]
Build = Callable[..., str]
SIDE = 16


def batches(count: int, *, rows: int = 8, unknown: bool = True) -> list[Batch]:
    """Return batches of noise with labels, some of them unknown."""
    rng = np.random.default_rng(5)
    made = []
    for _ in range(count):
        labels = np.stack([rng.integers(0, 2, rows), rng.integers(0, 101, rows)], axis=1).astype(np.float32)
        if unknown:
            labels[0, 0] = labels[1, 1] = labels[2, :] = -1
        data = rng.integers(0, 256, (rows, SIDE, SIDE, 3), dtype=np.uint8)
        made.append(Batch(data=data, labels=labels, keys=np.arange(rows), positions=np.arange(rows), valid=rows))
    return made


def run(module: Trainable, config: TrainConfig, steps: list[Batch], initial: dict[str, Any]) -> list[Any]:
    """Train on ``steps`` from the parameters ``initial``; return what each step computed."""
    module.set_parameters(initial)
    module.start_optimizer(
        str(config.optimizer), momentum=config.mom, wd=float(config.wd or 0), ema=config.ema, steps_done=0
    )
    return [module.step(batch, lr=float(config.lr or 0), seed=0).read() for batch in steps]


def both(network: str, config: TrainConfig, steps: list[Batch]) -> tuple[Any, Any]:
    """Train on MXNet and on PyTorch; return (results of the steps, states) of each."""
    ended = []
    initial: dict[str, Any] = {}
    for engine in ("mxnet", "torch"):
        chosen = TrainConfig(**{**vars(config), "engine": engine})
        with open_backend(chosen, network) as backend:
            module = backend.trainable(LoaderConfig(), rows=len(steps[0].labels), size=(SIDE, SIDE))
            initial = initial or module.initialise(seed=3)
            results = run(module, chosen, steps, initial)
            ended.append((results, module.states()))
    return ended[0], ended[1]


def assert_close(one: dict[str, Any], other: dict[str, Any], *, relative: float) -> None:
    """Assert that arrays differ by at most ``relative`` of the largest value in them."""
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.shape == other[name].shape
        scale = max(float(np.abs(array).max()), 1e-3)
        np.testing.assert_allclose(other[name] / scale, array / scale, rtol=0, atol=relative, err_msg=name)


def plain(optimizer: str) -> bool:
    """Whether an optimizer takes gradients as they are.

    The others divide them by their own size, and that of a bias before BatchNorm is rounding alone: it moves anywhere.
    """
    return optimizer in ("sgd", "nag")


@pytest.mark.parametrize("age_loss", ["ce", "dldl", "meanvar", "mae", "mse"])
def test_every_loss_moves_both_engines_alike(make_network: Build, configure: Configure, age_loss: str) -> None:
    config = configure(age_loss=age_loss, optimizer="sgd", lr=0.01, label_smoothing=0.1, age_weight=0.7)
    (expected, _), (results, states) = both(make_network(dropout=False), config, batches(3))
    for ours, theirs in zip(results, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    assert any(name.startswith("opt0:") for name in states)


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.02), ("nag", 0.02), ("adam", 0.002), ("rmsprop", 0.001)])
def test_twenty_steps_of_each_optimizer_end_at_the_same_parameters(
    make_network: Build, configure: Configure, optimizer: str, lr: float
) -> None:
    config = configure(optimizer=optimizer, lr=lr, wd=5e-4, ema=0.9, age_loss="ce")
    network = make_network(dropout=False, batch_norm=plain(optimizer))
    (_, expected), (_, states) = both(network, config, batches(20))
    parameters = {name: array for name, array in expected.items() if not name.startswith("opt")}
    assert {name for name in parameters if name.startswith("ema:")}
    assert_close(parameters, {name: states[name] for name in parameters}, relative=1e-3)
    assert expected.keys() == states.keys()


@pytest.mark.parametrize(("task", "still"), [("age", "gender_logits"), ("gender", "age_logits")])
def test_a_head_that_is_not_trained_stays_as_it_is(
    make_network: Build, configure: Configure, task: str, still: str
) -> None:
    config = configure(task=task, lr=0.003, optimizer="sgd")
    (_, expected), (_, states) = both(make_network(dropout=False), config, batches(4))
    assert_close(
        {name: array for name, array in expected.items() if not name.startswith("opt")},
        {name: array for name, array in states.items() if not name.startswith("opt")},
        relative=2e-3,
    )
    assert not [name for name in states if name.startswith("opt") and still in name]


def test_a_training_learns_logs_and_saves_what_both_engines_load(
    make_network: Build, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="agegender")
    config = configure(engine="torch", end_epoch=12, lr=0.02)
    result = train(config, LoaderConfig(), network_json=make_network())
    lines = [record.getMessage() for record in caplog.records]
    assert any("on cpu (torch)" in line for line in lines)
    assert any(re.match(r"Epoch\[11\] Batch \[6-9\]\tSpeed: \d+\.\d\d samples/sec\tacc=", line) for line in lines)
    assert result.last == 12 and result.best is not None
    assert result.figures["acc"] >= 0.9 and result.figures["MAE"] < 15
    from agegender.executor import open_executor

    checkpoint = load_checkpoint(result.prefix)
    data = np.random.default_rng(0).integers(0, 256, (3, 3, SIDE, SIDE)).astype(np.float32)
    ours, theirs = (
        open_executor(checkpoint, engine=engine, gpu_ids="cpu").forward(data) for engine in ("torch", "mxnet")
    )
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-4, atol=1e-4, err_msg=name)


def test_resumed_it_ends_where_one_left_alone_does(make_network: Build, configure: Configure, tmp_path: Path) -> None:
    network, augmented = make_network(), LoaderConfig(jitter=0.1, color=0.2)
    ended = {}
    for name, ends in (("whole", (4,)), ("parts", (1, 2, 4))):
        prefix = tmp_path / name / "model"
        for end in ends:
            config = configure(engine="torch", ema=0.9, end_epoch=end, prefix=str(prefix), resume=end != ends[0])
            train(config, augmented, network_json=network)
        ended[name], _ = load_states(states_path(prefix, 4))
    assert ended["whole"].keys() == ended["parts"].keys()
    for name, array in ended["whole"].items():
        np.testing.assert_array_equal(ended["parts"][name], array, err_msg=name)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("order", [("mxnet", "torch"), ("torch", "mxnet")])
def test_a_run_goes_over_to_the_other_engine(
    make_network: Build, configure: Configure, tmp_path: Path, order: tuple[str, str], optimizer: str
) -> None:
    network = make_network(dropout=False, batch_norm=plain(optimizer))
    # MXNet keeps a momentum of gammas that it never moves.
    network = network.replace('"fix_gamma": "False"', '"fix_gamma": "True"')
    lr = {"sgd": 0.01, "adam": 0.003}[optimizer]
    ended = {}
    for name, engines in (("alone", (order[1], order[1])), ("over", order)):
        prefix = tmp_path / name / "model"
        common = {"prefix": str(prefix), "optimizer": optimizer, "lr": lr, "age_loss": "ce", "pretrained": None}
        start = tmp_path / "start" / "model"
        if not start.parent.exists():
            train(configure(engine="mxnet", end_epoch=1, prefix=str(start)), LoaderConfig(), network_json=network)
        common["pretrained"] = f"{start},1"
        train(configure(**common, engine=engines[0], end_epoch=1), LoaderConfig(), network_json=network)
        train(configure(**common, engine=engines[1], end_epoch=2, resume=True), LoaderConfig(), network_json=network)
        ended[name], meta = load_states(states_path(prefix, 2))
        assert meta["engine"] == order[1]
    parameters = {name: array for name, array in ended["alone"].items() if not name.startswith("opt")}
    assert_close(parameters, {name: ended["over"][name] for name in parameters}, relative=5e-3)
    assert ended["alone"].keys() == ended["over"].keys()


def test_a_loss_that_is_not_finite_names_the_records(make_network: Build, configure: Configure) -> None:
    config = configure(engine="torch", optimizer="sgd", lr=1e30)
    with pytest.raises(TrainingError, match=r"the loss is not finite in epoch 0, batch \d+ \(record keys \d+"):
        train(config, LoaderConfig(), network_json=make_network())


def test_a_state_of_another_optimizer_is_refused(make_network: Build, configure: Configure) -> None:
    train(configure(engine="torch", optimizer="sgd", end_epoch=1), LoaderConfig(), network_json=make_network())
    with pytest.raises(CheckpointError, match=r"the saved optimizer state has no opt1:\w+: it is of another"):
        train(
            configure(engine="torch", optimizer="adam", end_epoch=2, resume=True),
            LoaderConfig(),
            network_json=make_network(),
        )


def test_softmax_losses_need_a_softmax_over_ages(configure: Configure) -> None:
    from agegender.executor.mxnet_runtime import load_mxnet

    mx = load_mxnet()
    fc1 = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc1")
    gender = mx.sym.softmax(mx.sym.FullyConnected(fc1, num_hidden=2, name="gender_logits"), name="gender_softmax")
    network = mx.sym.Group([fc1, gender, mx.sym.FullyConnected(fc1, num_hidden=1, name="age")]).tojson()
    with (
        open_backend(configure(engine="torch", age_loss="dldl"), network) as backend,
        pytest.raises(UsageError, match=r"age_loss 'dldl' needs a softmax over ages"),
    ):
        backend.trainable(LoaderConfig(), rows=8, size=(SIDE, SIDE))


def test_bf16_trains_on_the_processor_too(make_network: Build, configure: Configure) -> None:
    result = train(
        configure(engine="torch", precision="bf16", end_epoch=8, lr=0.02), LoaderConfig(), network_json=make_network()
    )
    assert result.figures["MAE"] < 25
    info = read_info(result.prefix)
    assert info is not None and info.config["precision"] == "bf16"
