"""A training that was cut off and resumed ends where one left alone does."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.config import as_json
from agegender.engine import TrainConfig, train
from agegender.errors import DataError, UsageError
from agegender.graph import load_checkpoint, load_states, params_path, read_info, states_path
from agegender.pipeline import LoaderConfig

Configure = Callable[..., TrainConfig]
Build = Callable[..., str]
AUGMENTED = LoaderConfig(jitter=0.1, color=0.2, cutoff=4)

# Trains the network of a file until somebody kills it.
CHILD = """
import json, logging, sys
from agegender.engine import TrainConfig, train
from agegender.pipeline import LoaderConfig
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
config = TrainConfig(**json.loads(sys.argv[1]))
train(config, LoaderConfig(jitter=0.1, color=0.2, cutoff=4), network_json=open(sys.argv[2]).read())
"""


class _At(logging.Handler):
    """Does something when a message is logged that begins as given."""

    def __init__(self, start: str, action: Callable[[], None]) -> None:
        super().__init__()
        self._start, self._action = start, action

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self._start):
            self._action()


@contextmanager
def at(start: str, action: Callable[[], None]) -> Iterator[None]:
    logger, handler = logging.getLogger("agegender"), _At(start, action)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def arrays(prefix: Path, epoch: int) -> dict[str, Any]:
    states, _ = load_states(states_path(prefix, epoch))
    return {**states, **{f"saved {name}": array for name, array in load_checkpoint(prefix, epoch).params.items()}}


def assert_same(one: dict[str, Any], other: dict[str, Any], *, statistics: float = 0.0) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        tolerance = statistics if "aux:" in name else 0.0
        np.testing.assert_allclose(array, other[name], rtol=0, atol=tolerance, err_msg=name)


def child(config: TrainConfig, network: Path, *, root: Path) -> subprocess.Popen[str]:
    """Start a training in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(as_json(config)), str(network)],
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("changes", [{"optimizer": "adam", "ema": 0.9}, {"optimizer": "sgd", "balance": "age"}])
def test_killed_and_resumed_it_is_the_same_bit_for_bit(
    make_network: Build, configure: Configure, tmp_path: Path, root: Path, changes: dict[str, Any]
) -> None:
    file = tmp_path / "network.json"
    file.write_text(make_network())
    # Each in a process of its own, as users train: a process that has run other networks before places arrays at other
    # addresses, and MXNet's sums may then differ in the last bit.
    alone = configure(end_epoch=4, prefix=str(tmp_path / "alone" / "m"), **changes)
    with child(alone, file, root=root) as process:
        process.communicate()
    assert process.returncode == 0

    killed = configure(end_epoch=4, prefix=str(tmp_path / "killed" / "m"), **changes)
    with child(killed, file, root=root) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Epoch[2] Batch [0-3]"):
                process.kill()
        assert process.wait() == -signal.SIGKILL
    info = read_info(killed.checkpoint_prefix)
    assert info is not None and info.last == 2

    resumed = configure(end_epoch=4, prefix=str(tmp_path / "killed" / "m"), resume=True, **changes)
    with child(resumed, file, root=root) as process:
        process.communicate()
    assert process.returncode == 0
    assert_same(arrays(alone.checkpoint_prefix, 4), arrays(resumed.checkpoint_prefix, 4))
    first, second = (read_info(config.checkpoint_prefix) for config in (alone, resumed))
    assert first is not None and second is not None
    assert (first.best, first.metrics) == (second.best, second.metrics)
    histories = [(tmp_path / name / "history.csv").read_text().splitlines() for name in ("alone", "killed")]
    without_times = [[line.split(",")[:9] for line in history] for history in histories]
    assert without_times[0] == without_times[1]


def test_ctrl_c_saves_within_an_epoch_and_it_goes_on(make_network: Build, configure: Configure, tmp_path: Path) -> None:
    network = make_network()
    alone = configure(end_epoch=3, prefix=str(tmp_path / "alone" / "m"))
    train(alone, AUGMENTED, network_json=network)

    stopped = configure(end_epoch=3, prefix=str(tmp_path / "stopped" / "m"))
    before = signal.getsignal(signal.SIGINT)
    with at("Epoch[1] Batch [3-6]", lambda: signal.raise_signal(signal.SIGINT)):
        result = train(stopped, AUGMENTED, network_json=network)
    assert signal.getsignal(signal.SIGINT) is before
    assert result.interrupted and result.last == 2
    _, meta = load_states(states_path(stopped.checkpoint_prefix, 2))
    assert (meta["epoch"], meta["batch"]) == (1, 7)
    info = read_info(stopped.checkpoint_prefix)
    assert info is not None and list(info.metrics) == ["1"]

    resumed = configure(end_epoch=3, prefix=str(tmp_path / "stopped" / "m"), resume=True)
    assert not train(resumed, AUGMENTED, network_json=network).interrupted
    assert_same(arrays(alone.checkpoint_prefix, 3), arrays(resumed.checkpoint_prefix, 3))


def test_a_position_within_an_epoch_needs_the_same_setup(make_network: Build, configure: Configure) -> None:
    network = make_network()
    with at("Epoch[0] Batch [0-3]", lambda: signal.raise_signal(signal.SIGINT)):
        train(configure(), AUGMENTED, network_json=network)
    with pytest.raises(UsageError, match=r"can't be finished with another setup: batch 8 -> 4"):
        train(configure(resume=True, batch_size=4), AUGMENTED, network_json=network)


def test_a_second_ctrl_c_stops_at_once(make_network: Build, configure: Configure) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with at("Epoch[0] Batch [0-3]", twice), pytest.raises(KeyboardInterrupt):
        train(configure(), AUGMENTED, network_json=make_network())
    assert not params_path(configure().checkpoint_prefix, 1).exists()


def test_resume_without_a_checkpoint_starts_from_the_beginning(
    make_network: Build, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="agegender")
    config = configure(end_epoch=1, resume=True)
    assert train(config, AUGMENTED, network_json=make_network()).last == 1
    assert f"{config.checkpoint_prefix} has no checkpoint yet: starting from the beginning" in caplog.messages


def test_more_epochs_than_planned(make_network: Build, configure: Configure, tmp_path: Path) -> None:
    network = make_network()
    train(configure(end_epoch=1), AUGMENTED, network_json=network)
    result = train(configure(end_epoch=2, resume=True), AUGMENTED, network_json=network)
    alone = configure(end_epoch=2, prefix=str(tmp_path / "alone" / "m"))
    train(alone, AUGMENTED, network_json=network)
    assert_same(arrays(alone.checkpoint_prefix, 2), arrays(result.prefix, 2))


def test_two_contexts_resume_alike(make_network: Build, configure: Configure, tmp_path: Path) -> None:
    network = make_network()
    two = {"gpu_ids": "cpu,cpu", "batch_size": 4, "end_epoch": 3, "optimizer": "sgd"}
    alone = configure(prefix=str(tmp_path / "alone" / "m"), **two)
    train(alone, AUGMENTED, network_json=network)
    stopped = configure(prefix=str(tmp_path / "stopped" / "m"), **two)
    with at("Epoch[1] Batch [3-6]", lambda: signal.raise_signal(signal.SIGINT)):
        train(stopped, AUGMENTED, network_json=network)
    resumed = configure(prefix=str(tmp_path / "stopped" / "m"), resume=True, **two)
    train(resumed, AUGMENTED, network_json=network)
    assert_same(arrays(alone.checkpoint_prefix, 3), arrays(resumed.checkpoint_prefix, 3), statistics=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_two_contexts_do_as_one_with_the_same_global_batch(
    make_network: Build, configure: Configure, tmp_path: Path, optimizer: str
) -> None:
    # Without BatchNorm and dropout, whose statistics and draws are each context's own.
    network = make_network(batch_norm=False, dropout=False)
    one = configure(prefix=str(tmp_path / "one" / "m"), optimizer=optimizer, batch_size=8)
    two = configure(prefix=str(tmp_path / "two" / "m"), optimizer=optimizer, batch_size=4, gpu_ids="cpu,cpu")
    for config in (one, two):
        train(config, AUGMENTED, network_json=network)
    first, second = (load_checkpoint(config.checkpoint_prefix, 2).params for config in (one, two))
    for name, array in first.items():
        np.testing.assert_allclose(array, second[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_changed_settings_are_said(make_network: Build, configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    network = make_network()
    train(configure(end_epoch=1), AUGMENTED, network_json=network)
    with caplog.at_level(logging.WARNING, logger="agegender"):
        train(configure(end_epoch=2, lr=0.02, resume=True), AUGMENTED, network_json=network)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "--end_epoch was 1 in this run, now it is 2" in said
    assert any(line.startswith("--lr was ") and line.endswith(" in this run, now it is 0.02") for line in said)


def test_a_damaged_configuration_is_named(make_network: Build, configure: Configure) -> None:
    network = make_network()
    config = configure(end_epoch=1)
    train(config, AUGMENTED, network_json=network)
    (config.checkpoint_prefix.parent / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json is no JSON object .*; delete it to go on without it"):
        train(configure(end_epoch=2, resume=True), AUGMENTED, network_json=network)


def test_a_finished_run_says_that_nothing_is_left(
    make_network: Build, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    train(configure(end_epoch=1), LoaderConfig(), network_json=make_network())
    said = "nothing is left to do: 1 epoch is trained; --end_epoch N, N above 1, trains more"
    caplog.set_level(logging.INFO, logger="agegender")
    result = train(configure(end_epoch=1, resume=True), LoaderConfig(), network_json=make_network())
    assert (result.last, result.interrupted) == (1, False)
    assert said in caplog.messages
    caplog.clear()
    assert train(configure(end_epoch=2, resume=True), LoaderConfig(), network_json=make_network()).last == 2
    assert not [message for message in caplog.messages if "nothing is left" in message]
