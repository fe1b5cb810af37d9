"""Training graphs of others, with their losses taken off."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from agegender.errors import GraphError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph import Graph


def features(mx: Any) -> Any:
    body = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=3, kernel=(3, 3), pad=(1, 1), name="conv")
    return mx.sym.FullyConnected(body, num_hidden=5, name="fc1")


def loss(mx: Any, kind: str) -> Any:
    body = features(mx)
    dense = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=3, kernel=(3, 3), pad=(1, 1), name="conv")
    return {
        "softmax": lambda: mx.sym.SoftmaxOutput(body, mx.sym.Variable("softmax_label"), name="softmax"),
        "scaled": lambda: mx.sym.SoftmaxOutput(body, grad_scale=0.1, use_ignore=True, name="age"),
        "each_pixel": lambda: mx.sym.SoftmaxOutput(dense, multi_output=True, name="softmax"),
        "last_axis": lambda: mx.sym.SoftmaxOutput(dense, preserve_shape=True, name="softmax"),
        "linear": lambda: mx.sym.LinearRegressionOutput(body, mx.sym.Variable("years"), name="age"),
        "mae": lambda: mx.sym.MAERegressionOutput(body, name="age"),
        "logistic": lambda: mx.sym.LogisticRegressionOutput(body, name="male"),
    }[kind]()


def run(mx: Any, symbol: Any, shapes: dict[str, tuple[int, ...]]) -> list[np.ndarray]:
    bound = symbol.simple_bind(mx.cpu(), grad_req="null", **shapes)
    for name, array in bound.arg_dict.items():
        rng = np.random.default_rng(len(name))
        array[:] = rng.normal(size=array.shape).astype(np.float32)
    return [output.asnumpy() for output in bound.forward(is_train=False)]


@pytest.mark.parametrize("kind", ["softmax", "scaled", "each_pixel", "last_axis", "linear", "mae", "logistic"])
def test_losses_become_what_they_compute(kind: str) -> None:
    mx = load_mxnet()
    symbol = loss(mx, kind)
    graph = Graph.from_json(symbol.tojson()).inference()
    assert graph.outputs() == symbol.list_outputs()
    assert not any(name.endswith("label") or name == "years" for name in graph.arguments())
    shapes = {"data": (2, 3, 4, 4)}
    (ours,) = run(mx, mx.sym.load_json(graph.to_json()), shapes)
    (theirs,) = run(mx, symbol, shapes)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-6


def test_outputs_that_need_a_label_are_dropped() -> None:
    mx = load_mxnet()
    body = features(mx)
    label = mx.sym.Variable("gender_label")
    cross_entropy = mx.sym.MakeLoss(mx.sym.softmax_cross_entropy(body, label), name="loss")
    probability = mx.sym.SoftmaxOutput(body, label, name="softmax")
    watched = mx.sym.BlockGrad(label, name="watched")
    symbol = mx.sym.Group([cross_entropy, probability, watched])
    graph = Graph.from_json(symbol.tojson()).inference()
    assert graph.outputs() == ["softmax_output"]
    assert graph.arguments() == ["data", "conv_weight", "conv_bias", "fc1_weight", "fc1_bias"]


def test_several_heads_keep_their_order_and_share_their_body() -> None:
    mx = load_mxnet()
    body = features(mx)
    label = mx.sym.Variable("softmax_label")
    parts = [mx.sym.slice_axis(label, axis=1, begin=i, end=i + 1) for i in range(2)]
    gender = mx.sym.SoftmaxOutput(body, parts[0], name="gender")
    age = mx.sym.LinearRegressionOutput(body, parts[1], name="age")
    graph = Graph.from_json(mx.sym.Group([age, gender, body]).tojson()).inference()
    assert graph.outputs() == ["age_output", "gender_output", "fc1_output"]
    assert sum(node.name == "conv" for node in graph.nodes) == 1
    assert "softmax_label" not in graph.to_json()


def test_a_graph_of_losses_alone_is_told() -> None:
    mx = load_mxnet()
    label = mx.sym.Variable("softmax_label")
    symbol = mx.sym.MakeLoss(mx.sym.softmax_cross_entropy(features(mx), label), name="loss")
    with pytest.raises(GraphError, match="every output needs a label: loss_output"):
        Graph.from_json(symbol.tojson()).inference()


@pytest.mark.quick
def test_the_oldest_name_of_softmax_is_known() -> None:
    nodes = [
        {"op": "null", "param": {}, "name": "data", "inputs": []},
        {"op": "Softmax", "param": {"grad_scale": "1"}, "name": "softmax", "inputs": [[0, 0]]},
    ]
    graph = Graph.from_json(json.dumps({"nodes": nodes, "arg_nodes": [0], "heads": [[1, 0]]}))
    assert graph.arguments() == ["data", "softmax_label"]
    assert [(node.op, node.name) for node in graph.inference().nodes] == [("null", "data"), ("softmax", "softmax")]
