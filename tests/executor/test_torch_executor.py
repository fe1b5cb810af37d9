"""TorchExecutor: any batch, any size, several devices, what it says when something is wrong; and loading PyTorch."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

from agegender.cores import usable_cores
from agegender.errors import CheckpointError, DeviceError, GraphError
from agegender.executor import open_executor, torch_runtime
from agegender.executor.mxnet_executor import MXNetExecutor
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.executor.torch_executor import TorchExecutor
from agegender.executor.torch_runtime import load_torch, torch_devices
from agegender.graph import Graph, builtin_json, load_checkpoint, save_checkpoint
from tests.executor.oracle import graph_of, images, random_params, small_net


def test_every_batch_size_gives_the_same_rows() -> None:
    executor = TorchExecutor(*small_net())
    data = images(9)
    expected = executor.forward(data)["gender_softmax_output"]
    assert (executor.input, executor.outputs) == ("data", ["gender_softmax_output"])
    for count in (1, 4, 8):
        assert np.allclose(executor.forward(data[:count])["gender_softmax_output"], expected[:count], atol=1e-6)
    assert executor.forward(images(0))["gender_softmax_output"].shape == (0, 3)
    # A view with gaps, in another type.
    mirrored = data.astype(np.float64)[:, :, :, ::-1]
    assert np.allclose(
        executor.forward(mirrored)["gender_softmax_output"],
        executor.forward(np.ascontiguousarray(mirrored))["gender_softmax_output"],
    )


def test_fully_convolutional_nets_take_any_size() -> None:
    graph = Graph.from_json(builtin_json("mtcnn_pnet"))
    params = random_params(graph, (3, 40, 40))
    ours, theirs = TorchExecutor(graph, params), MXNetExecutor(graph, params)
    for height, width in ((12, 12), (13, 40), (71, 38), (30, 31)):
        data = np.random.default_rng(0).uniform(0, 255, (2, 3, height, width)).astype(np.float32)
        expected = theirs.forward(data)
        for name, output in ours.forward(data).items():
            assert output.shape == expected[name].shape
            assert np.abs(output - expected[name]).max() < 1e-4


def test_a_batch_is_divided_among_devices() -> None:
    graph, params = small_net()
    data = images(5)
    alone = TorchExecutor(graph, params).forward(data)["gender_softmax_output"]
    several = TorchExecutor(graph, params, devices=torch_devices("cpu,cpu,cpu"))
    assert np.allclose(several.forward(data)["gender_softmax_output"], alone, atol=1e-6)
    assert several.forward(data[:2])["gender_softmax_output"].shape == (2, 3)


def test_what_does_not_fit_is_named() -> None:
    graph, params = small_net()
    with pytest.raises(CheckpointError, match=r"^the checkpoint: the parameter arg:bn_gamma is missing$"):
        TorchExecutor(graph, {name: array for name, array in params.items() if name != "arg:bn_gamma"})
    with pytest.raises(CheckpointError, match=r"^a\.params: conv_weight has shape \(4, 3, 5, 5\), .* \(4, 3, 3, 3\)$"):
        TorchExecutor(graph, {**params, "arg:conv_weight": np.zeros((4, 3, 5, 5), np.float32)}, source="a.params")
    executor = TorchExecutor(graph, params)
    with pytest.raises(CheckpointError, match=r"fc1_weight has shape \(3, 144\), .*\(3, 196\) for .*\(3, 9, 9\)"):
        executor.forward(images(1, 9))
    with pytest.raises(
        CheckpointError, match=r"conv_weight has shape \(4, 3, 3, 3\), .*\(4, 1, 3, 3\) for .*\(1, 8, 8\)"
    ):
        executor.forward(images(1)[:, :1])
    with pytest.raises(CheckpointError, match=r"the graph can't take images of shape \(3, 2, 2\): node 'conv'"):
        executor.forward(images(1, 2))
    with pytest.raises(ValueError, match=r"data has shape \(3, 8, 8\), not \(n, channels, height, width\)"):
        executor.forward(images(1)[0])


def test_sums_of_different_shapes_are_refused_as_in_mxnet() -> None:
    sym = load_mxnet().sym
    data = sym.Variable("data")
    pooled = sym.Pooling(data, global_pool=True, kernel=(1, 1), name="pool")
    graph = graph_of(sym.elemwise_add(data, pooled, name="sum"))
    with pytest.raises(
        CheckpointError, match=r"node 'sum' \(elemwise_add\): shapes \(1, 3, 8, 8\) and \(1, 3, 1, 1\) differ"
    ):
        TorchExecutor(graph, {}).forward(images(1))


def test_a_device_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = TorchExecutor(*small_net())

    def fail(data: Any) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore of it")

    monkeypatch.setattr(executor._modules[0], "forward", fail)
    with pytest.raises(DeviceError, match=r"^PyTorch can't run a batch of shape \(1, 3, 8, 8\): CUDA out of .* 2 GiB$"):
        executor.forward(images(1))


def test_an_unknown_operator_is_named_with_its_node() -> None:
    graph, params = small_net()
    text = graph.to_json().replace('"op": "softmax"', '"op": "SoftestMax"')
    with pytest.raises(GraphError, match=r"^net: node 'gender_softmax': PyTorch has no operator 'SoftestMax'$"):
        TorchExecutor(text, params, source="net")
    document = json.loads(graph.to_json())
    next(node for node in document["nodes"] if node["name"] == "fc1")["attrs"]["num_hidden"] = "many"
    with pytest.raises(GraphError, match=r"node 'fc1' \(FullyConnected\): num_hidden is 'many': not a whole number"):
        TorchExecutor(json.dumps(document), params)


def test_a_checkpoint_is_opened(tmp_path: Path) -> None:
    graph, params = small_net()
    save_checkpoint(tmp_path / "model", 3, graph=graph, params=params)
    checkpoint = load_checkpoint(tmp_path / "model")
    ours, theirs = (open_executor(checkpoint, engine=engine, gpu_ids="cpu") for engine in ("torch", "mxnet"))
    assert isinstance(ours, TorchExecutor)
    expected = theirs.forward(images(4))["gender_softmax_output"]
    assert np.abs(ours.forward(images(4))["gender_softmax_output"] - expected).max() < 1e-6
    with pytest.raises(CheckpointError, match=r"model-0003\.params: fc1_weight has shape"):
        ours.forward(images(1, 9))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """A machine with that many GPUs, as far as PyTorch can tell."""
    monkeypatch.setattr(load_torch().cuda, "device_count", lambda: request.param)
    monkeypatch.setattr(load_torch().cuda, "is_available", lambda: request.param > 0)
    return int(request.param)


@pytest.mark.parametrize(
    ("gpus", "asked", "expected"),
    [
        (0, None, ["cpu"]),
        (0, "cpu,cpu", ["cpu", "cpu"]),
        (2, None, ["cuda:0"]),
        (2, "1, 0", ["cuda:1", "cuda:0"]),
        (2, (0, 1), ["cuda:0", "cuda:1"]),
        (2, "CPU", ["cpu"]),
    ],
    indirect=["gpus"],
)
def test_devices(gpus: int, asked: str | tuple[int, ...] | None, expected: list[str]) -> None:
    assert [str(device) for device in torch_devices(asked)] == expected


@pytest.mark.parametrize(
    ("gpus", "asked", "expected"),
    [
        (0, "0", "GPU 0 is not there; this machine has no GPU that this build of PyTorch can use"),
        (1, "0,1", "GPU 1 is not there; this machine has GPU 0$"),
        (4, "0,first", "'first' is no GPU: --gpu_ids takes numbers"),
        (4, "0,0", "--gpu_ids 0,0 names a GPU twice"),
    ],
    indirect=["gpus"],
)
def test_devices_that_are_not_there(gpus: int, asked: str, expected: str) -> None:
    with pytest.raises(DeviceError, match=expected):
        torch_devices(asked)


@pytest.mark.parametrize("gpus", [0], indirect=True)
def test_falling_back_to_the_processor_is_noted(gpus: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        torch_devices()
    assert "no GPU is there: computing on the processor (CPU)" in caplog.text


@pytest.mark.parametrize(
    ("call", "environment", "expected"),
    [
        ("load_torch()", {}, str(usable_cores())),
        ("load_torch(threads=3)", {"OMP_NUM_THREADS": "1"}, "3"),
        ("load_torch()", {"OMP_NUM_THREADS": "1"}, "1"),
    ],
)
def test_threads(root: Path, call: str, environment: dict[str, str], expected: str) -> None:
    code = f"from agegender.executor.torch_runtime import load_torch\nprint({call}.get_num_threads())"
    inherited = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**inherited, "PYTHONPATH": str(root / "src"), **environment},
        capture_output=True,
        text=True,
    )
    assert (done.stderr, done.stdout.strip()) == ("", expected)


def test_a_machine_without_torch_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_runtime, "_loaded", None)
    monkeypatch.setattr(torch_runtime.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"PyTorch, which is not installed here; pip install 'agegender\[torch\]'"):
        load_torch()


def test_a_torch_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_runtime, "_loaded", None)
    broken: ModuleType | None = None
    monkeypatch.setitem(sys.modules, "torch", broken)
    monkeypatch.setattr(torch_runtime.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(DeviceError, match=r"^PyTorch is installed but does not start: "):
        load_torch()
