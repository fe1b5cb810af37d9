"""Where two graphs that parameters fit alike compute otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agegender.graph import Graph
from agegender.graph.layers import layer_differences

CONVOLUTION = {"kernel": "(3, 3)", "num_filter": "8", "no_bias": "True"}


def graph(**changes: dict[str, str]) -> Graph:
    """Return the graph of conv1, bn1, act1, pool1, fc1 and head, with the attributes of some of them changed."""
    layers: list[tuple[str, str, dict[str, str], tuple[str, ...]]] = [
        ("Convolution", "conv1", CONVOLUTION, ("weight",)),
        ("BatchNorm", "bn1", {"eps": "2e-05"}, ("gamma", "beta", "moving_mean", "moving_var")),
        ("Activation", "act1", {"act_type": "relu"}, ()),
        ("Dropout", "drop1", {"p": "0.2"}, ()),
        ("Pooling", "pool1", {"kernel": "(2, 2)", "stride": "(2, 2)", "pool_type": "max"}, ()),
        ("FullyConnected", "fc1", {"num_hidden": "4", "no_bias": "True"}, ("weight",)),
        ("Activation", "head_act", {"act_type": "relu"}, ()),
    ]
    nodes: list[dict[str, Any]] = [{"op": "null", "name": "data", "inputs": []}]
    last = 0
    for op, name, attrs, inputs in layers:
        places = [[last, 0, 0]]
        for kind in inputs:
            nodes.append({"op": "null", "name": f"{name}_{kind}", "inputs": []})
            places.append([len(nodes) - 1, 0, 0])
        changed = dict(changes.get(name, {}))
        nodes.append({"op": changed.pop("op", op), "name": name, "attrs": {**attrs, **changed}, "inputs": places})
        last = len(nodes) - 1
    fc1 = next(place for place, node in enumerate(nodes) if node["name"] == "fc1")
    document = {"nodes": nodes, "arg_nodes": [], "heads": [[fc1, 0, 0], [last, 0, 0]]}
    return Graph.from_json(json.dumps({**document, "attrs": {"mxnet_version": ["int", 10901]}}))


ALL = ("conv1_weight", *(f"bn1_{kind}" for kind in ("gamma", "beta", "moving_mean", "moving_var")), "fc1_weight")


@pytest.mark.quick
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conv1": {"stride": "(2, 2)"}}, ["conv1: stride (2, 2), not (1, 1)"]),
        (
            {"conv1": {"pad": "(1L, 1L)", "dilate": "(2, 2)"}},
            ["conv1: dilate (2, 2), not (1, 1)", "conv1: pad (1, 1), not (0, 0)"],
        ),
        ({"bn1": {"fix_gamma": "False"}}, ["bn1: fix_gamma False, not True"]),
        ({"bn1": {"eps": "0.001"}}, ["bn1: eps 0.001, not 2e-05"]),
        ({"act1": {"act_type": "tanh"}}, ["act1: act_type tanh, not relu"]),
        ({"act1": {"op": "LeakyReLU", "act_type": "elu"}}, ["act1: operator LeakyReLU, not Activation"]),
        ({"pool1": {"pool_type": "avg", "stride": "(1, 1)"}}, [
            "pool1: pool_type avg, not max",
            "pool1: stride (1, 1), not (2, 2)",
        ]),
        # The same, written otherwise.
        ({"conv1": {"stride": "(1, 1)", "pad": "(0L, 0L)", "workspace": "512", "dilate": "()"}}, []),
        ({"bn1": {"op": "CuDNNBatchNorm", "eps": "0.00002", "fix_gamma": "true", "momentum": "0.5"}}, []),
        # What training alone knows, and what is another head.
        ({"drop1": {"p": "0.5"}}, []),
        ({"head_act": {"act_type": "tanh"}}, []),
    ],
)  # fmt: skip
def test_differences_are_named_and_spellings_are_none(changes: dict[str, Any], said: list[str]) -> None:
    assert [str(found) for found in layer_differences(graph(), graph(**changes), taken=ALL)] == said


@pytest.mark.quick
def test_a_layer_whose_parameters_stay_is_no_difference() -> None:
    other = graph(conv1={"stride": "(2, 2)"}, act1={"act_type": "tanh"})
    taken = [name for name in ALL if name != "conv1_weight"]
    assert [found.layer for found in layer_differences(graph(), other, taken=taken)] == ["act1"]


@pytest.mark.quick
def test_the_size_of_a_map_counts_for_nothing_where_all_of_it_is_pooled() -> None:
    whole = {"global_pool": "True", "kernel": "(7, 7)", "pool_type": "avg"}
    other = {**whole, "kernel": "(1, 1)", "stride": "(1, 1)"}
    assert layer_differences(graph(pool1=whole), graph(pool1=other), taken=ALL) == []
    assert [found.what for found in layer_differences(graph(), graph(pool1=whole), taken=ALL)] == [
        "pool_type",
        "global_pool",
    ]
