"""MXNetExecutor against Module: any batch, any size, several devices, and what it says when a checkpoint is wrong."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from agegender.errors import CheckpointError, GraphError, UsageError
from agegender.executor import open_executor
from agegender.executor.devices import contexts
from agegender.executor.mxnet_executor import MXNetExecutor
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph import Graph, builtin_json, load_checkpoint, save_checkpoint


def params_for(graph: Graph, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    symbol = load_mxnet().sym.load_json(graph.to_json())
    args, _, aux = symbol.infer_shape(data=(1, *shape))
    rng = np.random.default_rng(0)
    params = {}
    for name, size in zip(symbol.list_arguments(), args, strict=True):
        if name != "data":
            spread = 1.0 / np.sqrt(np.prod(size[1:])) if len(size) > 1 else 0.1
            params[f"arg:{name}"] = rng.normal(name.endswith("gamma"), spread, size).astype(np.float32)
    for name, size in zip(symbol.list_auxiliary_states(), aux, strict=True):
        params[f"aux:{name}"] = rng.uniform(0.5, 1.5, size).astype(np.float32)
    return params


def module_outputs(graph: Graph, params: dict[str, np.ndarray], data: np.ndarray) -> list[np.ndarray]:
    mx = load_mxnet()
    module = mx.mod.Module(mx.sym.load_json(graph.to_json()), label_names=None)
    module.bind([("data", data.shape)], for_training=False)
    kinds: dict[str, dict[str, Any]] = {"arg": {}, "aux": {}}
    for key, array in params.items():
        kind, _, name = key.partition(":")
        kinds[kind][name] = mx.nd.array(array)
    module.set_params(kinds["arg"], kinds["aux"])
    module.forward(mx.io.DataBatch([mx.nd.array(data)]), is_train=False)
    return [output.asnumpy() for output in module.get_outputs()]


def small() -> tuple[Graph, dict[str, np.ndarray]]:
    """A net of one convolution for 8 x 8 images, and its parameters."""
    mx = load_mxnet()
    body = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=4, kernel=(3, 3), name="conv")
    body = mx.sym.BatchNorm(body, name="bn", fix_gamma=False)
    body = mx.sym.FullyConnected(body, num_hidden=3, name="fc1")
    graph = Graph.from_json(mx.sym.softmax(body, name="gender_softmax").tojson())
    return graph, params_for(graph, (3, 8, 8))


def images(count: int, side: int = 8, *, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (count, 3, side, side)).astype(np.float32)


@pytest.mark.parametrize(("name", "side"), [("ssrnet", 64), ("ssrnet-ssr", 64), ("m50", 112)])
def test_results_are_those_of_module(name: str, side: int) -> None:
    graph = Graph.from_json(builtin_json(name))
    params = params_for(graph, (3, side, side))
    data = images(3, side)
    outputs = MXNetExecutor(graph, params).forward(data)
    assert list(outputs) == graph.outputs()
    for ours, theirs in zip(outputs.values(), module_outputs(graph, params, data), strict=True):
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() < 1e-4
    assert np.allclose(outputs["gender_softmax_output"].sum(axis=1), 1, atol=1e-5)


def test_every_batch_size_gives_the_same_rows() -> None:
    executor = MXNetExecutor(*small())
    data = images(40)
    expected = executor.forward(data)["gender_softmax_output"]
    for count in (39, 32, 7, 1, 33, 40):
        assert np.allclose(executor.forward(data[:count])["gender_softmax_output"], expected[:count], atol=1e-6)
    # 39, 33 and 32 ran in the executor for 40, which is at most a quarter more.
    assert [shape[0] for shape in executor._devices[0]._bound] == [7, 1, 40]


def test_an_empty_batch_has_empty_outputs() -> None:
    assert MXNetExecutor(*small()).forward(images(0))["gender_softmax_output"].shape == (0, 3)


def test_fully_convolutional_nets_take_any_size_and_few_executors_are_kept() -> None:
    graph = Graph.from_json(builtin_json("mtcnn_pnet"))
    params = params_for(graph, (3, 40, 40))
    executor = MXNetExecutor(graph, params)
    data = np.random.default_rng(0).uniform(0, 255, (1, 3, 90, 120)).astype(np.float32)
    first = executor.forward(data)
    for side in range(20, 38):
        executor.forward(images(1, side))
    assert len(executor._devices[0]._bound) == 16
    for name, array in executor.forward(data).items():
        assert array.shape[0] == 1 and array.ndim == 4
        assert np.array_equal(array, first[name])
    # Large ones are let go of earlier: together they may have 4 million pixels.
    for side in (700, 1500, 1200):
        executor.forward(images(1, side))
    assert [shape[2] for shape in executor._devices[0]._bound] == [1500, 1200]


def test_a_batch_is_divided_among_devices() -> None:
    graph, params = small()
    data = images(5)
    alone = MXNetExecutor(graph, params).forward(data)
    several = MXNetExecutor(graph, params, contexts=contexts("cpu,cpu,cpu"))
    assert np.allclose(several.forward(data)["gender_softmax_output"], alone["gender_softmax_output"], atol=1e-6)
    assert several.forward(data[:2])["gender_softmax_output"].shape == (2, 3)


def test_half_precision_parameters_are_widened() -> None:
    graph, params = small()
    halves = {name: array.astype(np.float16) for name, array in params.items()}
    widened = {name: array.astype(np.float32) for name, array in halves.items()}
    data = images(2)
    ours = MXNetExecutor(graph, halves).forward(data)["gender_softmax_output"]
    assert np.array_equal(ours, MXNetExecutor(graph, widened).forward(data)["gender_softmax_output"])


def test_json_and_parameters_that_nobody_needs_are_accepted() -> None:
    graph, params = small()
    executor = MXNetExecutor(graph.to_json(), {**params, "arg:fc7_weight": np.zeros(3)})
    assert executor.outputs == ["gender_softmax_output"]


def test_what_does_not_fit_is_named() -> None:
    graph, params = small()
    with pytest.raises(CheckpointError, match=r"^the checkpoint lacks the parameter arg:bn_gamma$"):
        MXNetExecutor(graph, {name: array for name, array in params.items() if name != "arg:bn_gamma"})
    wrong = MXNetExecutor(graph, {**params, "arg:conv_weight": np.zeros((4, 3, 5, 5), np.float32)})
    with pytest.raises(CheckpointError, match=r"conv_weight has shape \(4, 3, 5, 5\), the graph wants \(4, 3, 3, 3\)"):
        wrong.forward(images(1))
    with pytest.raises(CheckpointError, match=r"fc1_weight has shape \(3, 144\), .*\(3, 196\) for .*\(3, 9, 9\)"):
        MXNetExecutor(graph, params).forward(images(1, 9))
    aux = MXNetExecutor(graph, {**params, "aux:bn_moving_var": np.zeros(5, np.float32)})
    with pytest.raises(CheckpointError, match=r"bn_moving_var has shape \(5,\), the graph wants \(4,\)"):
        aux.forward(images(1))
    with pytest.raises(CheckpointError, match=r"the graph can't take images of shape \(3, 2, 2\): "):
        MXNetExecutor(graph, params).forward(images(1, 2))
    with pytest.raises(ValueError, match=r"data has shape \(3, 8, 8\), not \(n, channels, height, width\)"):
        MXNetExecutor(graph, params).forward(images(1)[0])


def test_an_unknown_operator_is_named_with_its_node() -> None:
    graph, params = small()
    text = graph.to_json().replace('"op": "softmax"', '"op": "SoftestMax"')
    with pytest.raises(GraphError, match="node 'gender_softmax': MXNet has no operator 'SoftestMax'"):
        MXNetExecutor(text, params)
    document = json.loads(graph.to_json())
    next(node for node in document["nodes"] if node["name"] == "fc1")["attrs"]["num_hidden"] = "many"
    with pytest.raises(GraphError, match="MXNet can't read the graph: "):
        MXNetExecutor(json.dumps(document), params)


def test_a_checkpoint_is_opened(tmp_path: Any) -> None:
    graph, params = small()
    save_checkpoint(tmp_path / "model", 3, graph=graph, params=params)
    checkpoint = load_checkpoint(tmp_path / "model")
    data = images(4)
    opened = open_executor(checkpoint, gpu_ids="cpu").forward(data)["gender_softmax_output"]
    assert np.abs(opened - module_outputs(graph, params, data)[0]).max() < 1e-6
    with pytest.raises(CheckpointError, match=r"model-0003\.params: fc1_weight has shape"):
        open_executor(checkpoint, gpu_ids="cpu").forward(images(1, 9))
    with pytest.raises(UsageError, match=r"unknown executor 'tensorrt' \(onnxruntime, mxnet, torch\)"):
        open_executor(checkpoint, engine="tensorrt")
