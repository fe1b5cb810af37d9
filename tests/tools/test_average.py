"""The mean of checkpoints: its numbers, what it says of itself, and what can't be averaged."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from agegender.errors import CheckpointError
from agegender.face.photo import encode_jpeg
from agegender.graph.checkpoint import load_checkpoint, save_checkpoint
from agegender.graph.info import read_info, write_info
from agegender.recordio import Header, RecordWriter, pack
from tools.average import main, mean_of


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pair(untrained_model: Path) -> tuple[str, str]:
    """Two checkpoints: the untrained one, calibrated, and one whose parameters are three times as large."""
    first = load_checkpoint(untrained_model, 1)
    assert first.info is not None
    info = dataclasses.replace(first.info, calibration={"epoch": 1}, metrics={"1": {"mae": 5}})
    for name, factor in (("a", 1), ("b", 3)):
        params = {key: array * np.float32(factor) for key, array in first.params.items()}
        save_checkpoint(name, 1, graph=first.graph, params=params)
        write_info(name, info)
    return "a,1", "b,1"


@pytest.mark.parametrize(("weights", "factor"), [((), 2), (("--weights", "3", "1"), 1.5)])
def test_the_mean_is_written(
    pair: tuple[str, str],
    weights: tuple[str, ...],
    factor: float,
    untrained_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*pair, "--output", "mean/model", *weights]) == 0
    one, mean = load_checkpoint(untrained_model, 1), load_checkpoint("mean/model", "best")
    assert mean.graph.to_json() == one.graph.to_json() and mean.params.keys() == one.params.keys()
    for name, array in one.params.items():
        np.testing.assert_allclose(mean.params[name], factor * array.astype(np.float64), rtol=1e-6)
        assert mean.params[name].dtype == np.float32
    info = read_info("mean/model")
    assert info is not None and (info.best, info.last) == (1, 1)
    # Figures and calibration of others are not its own.
    assert (info.metrics, info.calibration) == ({}, {})
    numbers = [float(word) for word in weights[1:]] or [1.0, 1.0]
    assert info.extra["mean_of"] == [
        {"prefix": name, "epoch": 1, "weight": weight} for name, weight in zip("ab", numbers, strict=True)
    ]
    assert capsys.readouterr().out == (f"mean/model-0001.params: the mean of 2 checkpoints, {len(one.params)} arrays\n")


def test_shapes_have_to_agree() -> None:
    with pytest.raises(CheckpointError, match="arg:w is 2x3 in one checkpoint, 3 in another"):
        mean_of([{"arg:w": np.zeros((2, 3))}, {"arg:w": np.zeros(3)}], [1, 1])
    with pytest.raises(CheckpointError, match="arg:v is missing in one checkpoint, 3 in another"):
        mean_of([{}, {"arg:v": np.zeros(3)}], [1, 1])


def test_what_is_refused(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    def error(*words: str) -> str:
        code = main([*words, "--output", "mean/model"])
        text = capsys.readouterr().err
        assert text.count("\n") == 1 and not Path("mean/model-0001.params").exists()
        return f"{code} {text}"

    assert error("a,1") == "2 average.py: error: 1 checkpoint: a mean takes at least two\n"
    assert "2 average.py: error: --weights: 3 numbers for 2" in error(*pair, "--weights", "1", "2", "3")
    assert "2 average.py: error: --weights: 0 is not above 0" in error(*pair, "--weights", "1", "0")
    info = read_info("b")
    assert info is not None
    write_info("b", dataclasses.replace(info, task="age"))
    assert "1 average.py: error: b has task age, a both" in error(*pair)
    Path("b.json").unlink()
    assert "1 average.py: error: b.json is missing" in error(*pair)


def test_nothing_is_overwritten(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("a-0001.params").read_bytes()
    assert main([*pair, "--output", "a"]) == 2
    assert "a-0001.params is there already; --output names a new prefix" in capsys.readouterr().err
    assert Path("a-0001.params").read_bytes() == before


def test_recount_changes_statistics_alone(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(0)
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key in range(70):
            picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            writer.write(key, pack(Header(np.array([key % 2, key], np.float32), key), encode_jpeg(picture)))
    assert main([*pair, "--output", "old/model"]) == 0
    assert main([*pair, "--output", "new/model", "--recount", "train.rec"]) == 0
    old, new = (load_checkpoint(name, 1).params for name in ("old/model", "new/model"))
    assert old.keys() == new.keys()
    moved = {name for name, array in old.items() if not np.array_equal(array, new[name])}
    assert moved == {name for name in old if name.startswith("aux:")}
    info = read_info("new/model")
    assert info is not None and info.extra["recounted_on"] == "train.rec"
    capsys.readouterr()
    assert main([*pair, "--output", "none/model", "--recount", "nowhere.rec"]) == 1
    assert capsys.readouterr().err == "average.py: error: there is no nowhere.rec (there are train.rec)\n"
    assert not Path("none/model-0001.params").exists()
