"""Opening what tells age and gender: exported files, files of others, pairs, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from agegender.deploy.net import Net
from agegender.deploy.open_net import METADATA_KEY, open_net, open_onnx, open_reader
from agegender.deploy.pair import Pair
from agegender.errors import CheckpointError, UsageError
from agegender.executor.onnx_executor import ONNXExecutor, ONNXFile
from agegender.executor.onnx_graph import to_onnx
from agegender.executor.torch_executor import TorchExecutor
from agegender.graph import load_checkpoint, read_info, write_info


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.integers(0, 256, (112, 112, 3), np.uint8) for _ in range(5)]


@pytest.fixture
def bare(untrained_model: Path, tmp_path: Path) -> Path:
    """An .onnx file without our metadata."""
    checkpoint = load_checkpoint(untrained_model)
    model = to_onnx(checkpoint.graph, checkpoint.params, image=(3, 64, 64), batch=2)
    path = tmp_path / "bare.onnx"
    onnx.save(model, path)
    return path


def test_executors_by_name(untrained_model: Path, crops: list[np.ndarray]) -> None:
    nets = {engine: open_net(untrained_model, engine=engine, gpu_ids="cpu") for engine in ("auto", "torch", "mxnet")}
    assert isinstance(open_net(untrained_model, gpu_ids="cpu", threads=1)._executor, ONNXExecutor)
    assert isinstance(nets["torch"]._executor, TorchExecutor)
    ages = [net.read(crops).age for net in nets.values()]
    assert ages[0] is not None
    assert np.ptp(ages, axis=0).max() < 1e-3
    named = open_net(untrained_model, providers=["CPUExecutionProvider"], threads=1)
    assert named.read(crops).age == pytest.approx(ages[0], abs=1e-4)


def test_a_file_of_others_is_described_beside_it(bare: Path, untrained_model: Path, crops: list[np.ndarray]) -> None:
    with pytest.raises(CheckpointError, match=r"bare\.onnx doesn't say what it is: .*bare\.json does not exist"):
        open_net(bare)
    info = read_info(untrained_model)
    assert info is not None
    write_info(bare.with_suffix(""), info)
    net = open_net(bare, gpu_ids="cpu")
    # Its batch is two: five faces are three calls, the last filled up.
    assert net.read(crops).age == pytest.approx(open_net(untrained_model).read(crops).age, abs=1e-3)
    assert open_onnx(bare)[1:] == (info, bare.with_suffix(".json"))


def test_damaged_metadata_is_named(bare: Path) -> None:
    model = onnx.load(bare)
    for text, message in (("{", "is not JSON"), ('{"format": 99}', "has format 99"), ("[]", "holds list")):
        onnx.helper.set_model_props(model, {METADATA_KEY: text})
        onnx.save(model, bare)
        with pytest.raises(CheckpointError, match=message):
            open_net(bare)


def test_files_that_are_no_model(tmp_path: Path, bare: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no\.onnx does not exist"):
        open_net(tmp_path / "no.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(CheckpointError, match=r"text\.onnx: ONNX Runtime can't run it"):
        open_net(tmp_path / "text.onnx")
    with pytest.raises(UsageError, match=r"--engine torch can't run .*bare\.onnx: an \.onnx file runs on onnxruntime"):
        open_net(bare, engine="torch")
    with pytest.raises(CheckpointError, match=r"bare\.onnx takes images of shape \(3, 64, 64\), not \(3, 32, 32\)"):
        ONNXFile(bare).forward(np.zeros((1, 3, 32, 32), np.float32))
    assert ONNXFile(bare).forward(np.zeros((0, 3, 64, 64), np.float32))["age_output"].shape == (0, 1)


def test_pairs(untrained_model: Path, tmp_path: Path, crops: list[np.ndarray]) -> None:
    for name in ("model-symbol.json", "model-0001.params"):
        shutil.copy(untrained_model.with_name(name), tmp_path / name)
    info = read_info(untrained_model)
    assert info is not None
    # It knows no template; the other one does.
    write_info(tmp_path / "model", dataclasses.replace(info, template={}))
    pair = open_reader(age=untrained_model, gender=tmp_path / "model", template="utkface", gpu_ids="cpu")
    assert isinstance(pair, Pair)
    alone = open_net(untrained_model, gpu_ids="cpu").read(crops)
    both = pair.read(crops)
    assert both.age == pytest.approx(alone.age)
    assert both.gender == pytest.approx(alone.gender)
    assert both.interval == pytest.approx(alone.interval)


def test_a_reader_is_taken_as_it_is(untrained_model: Path) -> None:
    net = open_net(untrained_model)
    assert isinstance(net, Net)
    assert open_reader(net) is net


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"age": "a"}, "--age_model needs --gender_model beside it"),
        ({"gender": "a"}, "--gender_model needs --age_model beside it"),
        ({"age": "a", "gender": "b", "model": "c"}, r"--model c and a pair \(--age_model, --gender_model\)"),
    ],
)
def test_half_pairs(names: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_reader(names.pop("model", None), **names)  # type: ignore[arg-type]
