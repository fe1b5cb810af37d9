"""Graphs rewritten for the processor compute what MXNet computes from the graphs as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agegender.executor.mxnet_executor import MXNetExecutor
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.executor.onnx_executor import ONNXExecutor
from agegender.executor.onnx_graph import to_onnx
from agegender.executor.processor_graph import for_processor
from agegender.graph import Graph, builtin_json
from tests.executor.oracle import graph_of, images, random_params


def net(
    *, filters: int = 28, pad: int = 0, pooled: bool = True, slopes: bool = True, scaled_twice: bool = False
) -> Any:
    """Scaling, convolution, activation and perhaps pooling, convolution."""
    sym = load_mxnet().sym
    scaled = (sym.Variable("data") - 127.5) * 0.0078125
    body = sym.Convolution(scaled, num_filter=filters, kernel=(3, 3), pad=(pad, pad), name="first")
    if slopes:
        body = sym.LeakyReLU(body, act_type="prelu", name="slopes")
    if pooled:
        body = sym.Pooling(body, kernel=(3, 3), stride=(2, 2), pooling_convention="full", name="pool")
    body = sym.Convolution(sym.Activation(body, act_type="relu"), num_filter=6, kernel=(3, 3), name="second")
    return sym.Group([body, scaled]) if scaled_twice else body


def rewritten(graph: Graph, params: dict[str, np.ndarray]) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    """What is computed, and the shapes of the parameters."""
    new, arrays = for_processor(graph.inference(), params)
    return [node.op for node in new.nodes if not node.is_variable], {name: a.shape for name, a in arrays.items()}


def assert_as_mxnet(graph: Graph, params: dict[str, np.ndarray], data: np.ndarray) -> None:
    before = {name: array.copy() for name, array in params.items()}
    ours, theirs = ONNXExecutor(graph, params).forward(data), MXNetExecutor(graph, params).forward(data)
    assert list(ours) == list(theirs)
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, atol=2e-5 * max(1.0, float(np.abs(array).max())))
    # The caller's own are not touched.
    assert all((before[name] == params[name]).all() for name in params)


@pytest.mark.parametrize(
    ("how", "operators", "shapes"),
    [
        # The mean goes into the bias, the channels are filled up.
        ({}, [], {"arg:first_weight": 32, "arg:first_bias": 32, "arg:slopes_gamma": 32, "arg:second_weight": 6}),
        ({"slopes": False}, [], {"arg:first_weight": 32}),
        # Borders hold 0 after the scaling: only the factor can go into the weights.
        ({"pad": 1}, ["_minus_scalar"], {"arg:first_weight": 32}),
        # Too many channels would have to be added.
        ({"filters": 10}, [], {"arg:first_weight": 10, "arg:slopes_gamma": 10}),
        ({"filters": 32}, [], {"arg:first_weight": 32}),
        # Without a pooling between the convolutions nothing is gained.
        ({"pooled": False}, [], {"arg:first_weight": 28}),
        # Somebody else takes the scaled data.
        ({"scaled_twice": True}, ["_minus_scalar", "_mul_scalar"], {"arg:first_weight": 32}),
    ],
)
def test_rewriting_changes_no_output(how: dict[str, Any], operators: list[str], shapes: dict[str, int]) -> None:
    graph = graph_of(net(**how))
    params = random_params(graph, (3, 16, 16))
    written, arrays = rewritten(graph, params)
    assert [op for op in written if op.endswith("_scalar")] == operators
    assert {name: arrays[name][0] for name in shapes} == shapes
    assert_as_mxnet(graph, params, images(3, 16))


def test_weights_that_two_share_stay() -> None:
    sym = load_mxnet().sym
    scaled, weight = (sym.Variable("data") - 127.5) * 0.0078125, sym.Variable("weight")
    parts = [
        sym.Convolution(each, weight, num_filter=28, kernel=(3, 3), no_bias=True, name=name)
        for name, each in (("one", scaled), ("other", scaled * 2))
    ]
    graph = graph_of(sym.Group(parts))
    params = random_params(graph, (3, 12, 12))
    written, arrays = rewritten(graph, params)
    assert written.count("_mul_scalar") == 2
    assert arrays == {"arg:weight": (28, 3, 3, 3)}
    assert_as_mxnet(graph, params, images(2, 12))


@pytest.mark.parametrize("convolution", [True, False])
@pytest.mark.parametrize("taken", [True, False])
def test_softmax_of_two_maps_is_a_sigmoid(convolution: bool, taken: bool) -> None:
    sym = load_mxnet().sym
    logits = sym.Variable("data") / 50
    logits = sym.slice_axis(logits, axis=1, begin=0, end=2)
    if convolution:
        logits = sym.Convolution(logits, num_filter=2, kernel=(3, 3), stride=(2, 2), name="logits")
    share = sym.softmax(logits, axis=1, name="share")
    graph = graph_of(sym.Group([share, logits]) if taken else share)
    params = random_params(graph, (3, 9, 11))
    data = np.random.default_rng(6).uniform(-255, 255, (2, 3, 9, 11)).astype(np.float32)
    assert_as_mxnet(graph, params, data)
    total = ONNXExecutor(graph, params).forward(data)["share_output"].sum(axis=1)
    np.testing.assert_allclose(total, 1, atol=1e-6)
    operators = [
        [node.op_type for node in to_onnx(graph, params, image=(3, 9, 11), for_cpu=for_cpu).graph.node]
        for for_cpu in (True, False)
    ]
    assert ("Sigmoid" in operators[0], "Softmax" in operators[0]) == (True, False)
    assert "Softmax" in operators[1]
    # The differences come from the convolution itself, whose own output is left out where nobody takes it.
    assert operators[0].count("Conv") == convolution + (taken or not convolution)


@pytest.mark.parametrize("name", ["mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet", "ssrnet", "m50"])
def test_built_in_nets(name: str) -> None:
    graph = Graph.from_json(builtin_json(name)).inference()
    side = {"mtcnn_pnet": 30, "mtcnn_rnet": 24, "mtcnn_onet": 48, "ssrnet": 64, "m50": 112}[name]
    params = random_params(graph, (3, side, side))
    assert_as_mxnet(graph, params, images(2, side))


@pytest.mark.parametrize(
    ("activation", "pooling", "taken", "exchanged"),
    [
        ("tanh", "max", False, True),
        ("sigmoid", "max", False, True),
        ("relu", "max", False, False),
        ("tanh", "avg", False, False),
        ("tanh", "max", True, False),
    ],
)
def test_costly_activations_come_after_max_pooling(activation: str, pooling: str, taken: bool, exchanged: bool) -> None:
    sym = load_mxnet().sym
    active = sym.Activation(sym.Variable("data") / 100, act_type=activation, name="active")
    how = {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "pooling_convention": "full"}
    pooled = sym.Pooling(active, pool_type=pooling, name="pool", **how)
    last = sym.Convolution(pooled, num_filter=2, kernel=(2, 2), name="last")
    graph = graph_of(sym.Group([last, active]) if taken else last)
    params = random_params(graph, (3, 10, 11))
    written, _ = rewritten(graph, params)
    assert (written.index("Pooling") < written.index("Activation")) == exchanged
    data = np.random.default_rng(8).uniform(-255, 255, (2, 3, 10, 11)).astype(np.float32)
    assert_as_mxnet(graph, params, data)


def test_pooling_that_is_an_output_stays_behind_its_activation() -> None:
    sym = load_mxnet().sym
    active = sym.Activation(sym.Variable("data") / 100, act_type="tanh", name="active")
    graph = graph_of(sym.Pooling(active, kernel=(2, 2), stride=(2, 2), name="pool"))
    assert rewritten(graph, {})[0][-2:] == ["Activation", "Pooling"]
    assert_as_mxnet(graph, {}, images(2, 8))
