"""What a run says of itself: statistics.json and TensorBoard's curves, on both engines, over interruptions."""

from __future__ import annotations

import csv
import json
import logging
import math
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agegender.config import as_json
from agegender.engine import TrainConfig, train
from agegender.engine.board import FILES, Board
from agegender.engine.statistics import RunStatistics, Waiting
from agegender.errors import DataError, TrainingError, UsageError
from agegender.pipeline import LoaderConfig

Configure = Callable[..., TrainConfig]
Build = Callable[..., str]
STEPS = 9  # 72 faces in batches of 8


def statistics(config: TrainConfig) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((config.checkpoint_prefix.parent / "statistics.json").read_text())
    return found


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the points (step, value) of each tag, as TensorBoard's own reader sees them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder))
    read.Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def interrupted(start: str, config: TrainConfig, network: str) -> None:
    """Train until a line is logged that begins with ``start``, then press Ctrl-C."""

    class Press(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith(start):
                signal.raise_signal(signal.SIGINT)

    handler = Press()
    logging.getLogger("agegender").addHandler(handler)
    try:
        assert train(config, LoaderConfig(), network_json=network).interrupted
    finally:
        logging.getLogger("agegender").removeHandler(handler)


@pytest.mark.parametrize("engine", ["mxnet", "torch"])
def test_both_engines_write_down_every_epoch(engine: str, make_network: Build, configure: Configure) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    config = configure(engine=engine, tensorboard="auto", eval_every=2, lr_schedule="cosine")
    result = train(config, LoaderConfig(), network_json=make_network())
    folder = config.checkpoint_prefix.parent
    found, drawn = statistics(config), curves(folder)
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))

    assert (found["format"], found["state"], found["command"]) == (1, "finished", "train")
    assert found["config"] == {**as_json(config), **as_json(LoaderConfig())} | {"backbone_lr": 1.0}
    assert found["network"]["parameters"] > 1000
    assert found["data"] | {"records": 72, "faces_per_epoch": 72, "batches_per_epoch": STEPS} == found["data"]
    assert len(found["data"]["digest"]) == 64 and found["data"]["val_faces"] == 20
    assert [epoch["epoch"] for epoch in found["epochs"]] == [1, 2]
    assert found["best"] == {"epoch": 2, **result.figures}
    first, second = found["epochs"]
    assert first["val"] is None and set(second["val"]) == {"acc", "MAE", "CUM_5"}
    for epoch, row in zip(found["epochs"], rows, strict=True):
        for name, value in epoch["train"].items():
            assert float(row[f"train_{name}"]) == pytest.approx(value, rel=1e-6)
        assert float(row["lr"]) == pytest.approx(epoch["lr"])
        assert epoch["faces"] == 72
        assert epoch["samples_per_second"] == pytest.approx(72 / epoch["seconds"], rel=0.1)
        assert 0 <= epoch["loader_seconds"] <= epoch["seconds"]
        assert epoch["loader_share"] == pytest.approx(epoch["loader_seconds"] / epoch["seconds"], abs=0.02)
        assert epoch["peak_memory"] > 50_000_000 and epoch["peak_gpu_memory"] is None
    assert second["val_seconds"] > 0

    [session] = found["sessions"]
    assert session | {"engine": engine, "workers": 1, "began_at": {"epoch": 0, "batch": 0}} == session
    assert session["versions"]["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert engine in session["versions"]
    assert session["machine"]["cores"] >= 1
    assert found["wall_seconds"] == session["seconds"] >= first["seconds"] + second["seconds"]
    assert socket.gethostname() not in [part for text in _texts(found) for part in re.split(r"\W+", text)]

    assert [step for step, _ in drawn["train/loss"]] == [STEPS, 2 * STEPS]
    assert [value for _, value in drawn["train/loss"]] == pytest.approx(
        [each["train"]["loss"] for each in (first, second)]
    )
    assert drawn["val/MAE"] == [(2 * STEPS, pytest.approx(second["val"]["MAE"]))]
    assert [value for _, value in drawn["run/lr"]] == pytest.approx([first["lr"], second["lr"]])
    assert drawn["run/epoch"] == [(STEPS, 1.0), (2 * STEPS, 2.0)]
    windows = [3, 6, 9, 12, 15, 18]
    for name in ("loss", "acc", "MAE", "CUM_5", "samples_per_second", "lr"):
        assert [step for step, _ in drawn[f"batch/{name}"]] == windows
    # Each window has three batches of the same size: their mean is the epoch's.
    assert math.fsum(value for _, value in drawn["batch/loss"][:3]) / 3 == pytest.approx(
        first["train"]["loss"], rel=1e-5
    )
    assert math.fsum(value for _, value in drawn["batch/acc"][:3]) / 3 == pytest.approx(first["train"]["acc"], rel=1e-5)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def test_an_interrupted_run_goes_on(make_network: Build, configure: Configure) -> None:
    network = make_network()
    config = configure(end_epoch=3, tensorboard="auto")
    interrupted("Epoch[1] Batch [3-6]", config, network)
    found = statistics(config)
    assert found["state"] == "interrupted"
    assert found["sessions"][0]["left_at"] == {"epoch": 1, "batch": 7}
    assert [epoch["epoch"] for epoch in found["epochs"]] == [1]

    train(configure(end_epoch=3, tensorboard="auto", resume=True), LoaderConfig(), network_json=network)
    found = statistics(config)
    assert found["state"] == "finished"
    assert [epoch["epoch"] for epoch in found["epochs"]] == [1, 2, 3]
    assert [session["state"] for session in found["sessions"]] == ["interrupted", "finished"]
    assert found["sessions"][1]["began_at"] == {"epoch": 1, "batch": 7}
    assert found["wall_seconds"] == pytest.approx(sum(each["seconds"] for each in found["sessions"]), abs=0.01)
    folder = config.checkpoint_prefix.parent
    assert len(list(folder.glob(FILES))) == 2
    drawn = curves(folder)
    assert [step for step, _ in drawn["train/loss"]] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert [step for step, _ in drawn["batch/loss"]] == [3, 6, 9, 12, 15, 18, 21, 24, 27]


def test_what_a_killed_run_drew_beyond_its_checkpoint_is_drawn_anew(make_network: Build, configure: Configure) -> None:
    network = make_network()
    config = configure(end_epoch=1, tensorboard="auto")
    train(config, LoaderConfig(), network_json=network)
    folder = config.checkpoint_prefix.parent
    # As if the second epoch had been under way when the machine went off.
    found = statistics(config)
    found["sessions"][0]["state"] = found["state"] = "running"
    found["epochs"].append({**found["epochs"][0], "epoch": 2})
    (folder / "statistics.json").write_text(json.dumps(found))
    with Board(folder, steps_done=STEPS) as board:
        board.add({"batch/loss": 1234.0}, step=STEPS + 3)
    assert (STEPS + 3, 1234.0) in curves(folder)["batch/loss"]

    train(configure(end_epoch=2, tensorboard="auto", resume=True), LoaderConfig(), network_json=network)
    assert 1234.0 not in [value for _, value in curves(folder)["batch/loss"]]
    assert [step for step, _ in curves(folder)["batch/loss"]] == [3, 6, 9, 12, 15, 18]
    found = statistics(config)
    assert [epoch["epoch"] for epoch in found["epochs"]] == [1, 2]
    assert found["epochs"][1]["train"] != found["epochs"][0]["train"]
    assert [session["state"] for session in found["sessions"]] == ["lost", "finished"]


def test_a_new_run_begins_new_files(make_network: Build, configure: Configure, tmp_path: Path) -> None:
    network = make_network()
    for _ in range(2):
        train(configure(end_epoch=1, tensorboard="auto"), LoaderConfig(), network_json=network)
    folder = tmp_path / "run"
    for place in (folder, folder / "earlier-1"):
        assert len(list(place.glob(FILES))) == 1
        assert len(json.loads((place / "statistics.json").read_text())["sessions"]) == 1
        assert (place / "run.yaml").read_text().startswith("# What this run was trained with.")


def test_another_folder_for_the_curves(make_network: Build, configure: Configure, tmp_path: Path) -> None:
    config = configure(end_epoch=1, tensorboard=str(tmp_path / "curves" / "one"))
    train(config, LoaderConfig(), network_json=make_network())
    assert not list(config.checkpoint_prefix.parent.glob(FILES))
    assert set(curves(tmp_path / "curves" / "one")) >= {"train/acc", "val/CUM_5", "run/samples_per_second"}


def test_an_error_is_written_down(make_network: Build, configure: Configure) -> None:
    config = configure(optimizer="sgd", lr=1e30)
    with pytest.raises(TrainingError) as raised:
        train(config, LoaderConfig(), network_json=make_network())
    found = statistics(config)
    assert found["state"] == "failed"
    assert found["sessions"][0]["reason"] == str(raised.value)
    assert "the loss is not finite in epoch 0" in str(raised.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"epochs": [1]}', '{"sessions": [{"seconds": "long"}]}'])
def test_damaged_statistics_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "statistics.json").write_text(text)
    with pytest.raises(DataError, match=r"statistics\.json can't be read .*; delete it to go on"):
        RunStatistics(tmp_path, about={}, session={}, resumed_at=1, active=True)
    # A new run writes its own, and workers other than the first none.
    RunStatistics(tmp_path, about={}, session={}, resumed_at=1, active=False)
    assert (tmp_path / "statistics.json").read_text() == text


def test_without_tensorboard_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"^--tensorboard needs the package tensorboard, .*: pip install tensorboard$"):
        Board(tmp_path / "curves", steps_done=0)
    assert not (tmp_path / "curves").exists()


def test_files_of_one_second_stay_in_their_order(tmp_path: Path) -> None:
    for number in range(3):
        with Board(tmp_path, steps_done=number) as board:
            board.add({"x": float(number), "unknown": float("nan")}, step=number + 1)
    assert curves(tmp_path) == {"x": [(1, 0.0), (2, 1.0), (3, 2.0)]}


def test_waiting_counts_only_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("agegender.engine.statistics.time.perf_counter", lambda: clock[0])

    def slow() -> Iterator[int]:
        for number in range(3):
            clock[0] += 2.0
            yield number
        clock[0] += 0.5  # finding out that there is no more is waiting, too

    waiting = Waiting()
    for _ in waiting.over(slow()):
        clock[0] += 30.0
    assert waiting.seconds == 6.5
