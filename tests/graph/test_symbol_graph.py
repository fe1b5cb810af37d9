"""Symbol JSON: what MXNet says of a graph is what we say of it, in every version of the format."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.errors import GraphError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph import Graph, builtin_json, builtin_names


def small_net() -> Any:
    mx = load_mxnet()
    data = mx.sym.Variable("data")
    body = mx.sym.Convolution(data, num_filter=4, kernel=(3, 3), no_bias=True, name="conv")
    body = mx.sym.BatchNorm(body, eps=2e-5, fix_gamma=False, name="bn")
    body = mx.sym.LeakyReLU(body, act_type="prelu", name="prelu")
    left, right = mx.sym.split(body, num_outputs=2, name="halves")
    body = mx.sym.FullyConnected(mx.sym.elemwise_mul(left, right, name="product"), num_hidden=3, name="fc1")
    return mx.sym.Group([mx.sym.softmax(body, name="gender_softmax"), right, mx.sym.BlockGrad(body, name="watched")])


# A net as MXNet 0.8 saved it: `param` and `attr`, inputs of two numbers, no states, no version.
OLD = {
    "nodes": [
        {"op": "null", "param": {}, "name": "data", "inputs": [], "backward_source_id": -1},
        {"op": "null", "param": {}, "name": "conv_weight", "inputs": [], "backward_source_id": -1},
        {
            "op": "Convolution",
            "param": {"kernel": "(3,3)", "no_bias": "True", "num_filter": "4", "workspace": "512"},
            "name": "conv",
            "attr": {"lr_mult": "0.5", "weight_lr_mult": "2.0", "weight_wd_mult": "3"},
            "inputs": [[0, 0], [1, 0]],
            "backward_source_id": -1,
        },
        {"op": "null", "param": {}, "name": "bn_gamma", "inputs": [], "backward_source_id": -1},
        {"op": "null", "param": {}, "name": "bn_beta", "attr": {"wd_mult": "0"}, "inputs": []},
        {
            "op": "BatchNorm",
            "param": {"eps": "0.001", "fix_gamma": "True", "momentum": "0.9"},
            "name": "bn",
            "inputs": [[2, 0], [3, 0], [4, 0]],
            "backward_source_id": -1,
        },
        {"op": "Flatten", "param": {}, "name": "flat", "inputs": [[5, 0]], "backward_source_id": -1},
        {"op": "null", "param": {}, "name": "fc_weight", "inputs": [], "backward_source_id": -1},
        {"op": "null", "param": {}, "name": "fc_bias", "inputs": [], "backward_source_id": -1},
        {"op": "FullyConnected", "param": {"num_hidden": "3"}, "name": "fc", "inputs": [[6, 0], [7, 0], [8, 0]]},
        {"op": "null", "param": {}, "name": "softmax_label", "inputs": []},
        {"op": "SoftmaxOutput", "param": {"multi_output": "False"}, "name": "softmax", "inputs": [[9, 0], [10, 0]]},
    ],
    "arg_nodes": [0, 1, 3, 4, 7, 8, 10],
    "heads": [[11, 0]],
}


def in_ninth(document: dict[str, Any]) -> dict[str, Any]:
    """The same as MXNet 0.9.5 to 0.12 saved it: ``attr`` alone, inputs of three numbers, states, a version."""
    nodes = [{key: value for key, value in node.items() if key != "backward_source_id"} for node in document["nodes"]]
    for node in nodes:
        node["attr"] = {**node.get("attr", {}), **node.pop("param", {})}
        node["inputs"] = [[*entry, 0] for entry in node["inputs"]]
    nodes += [{"op": "null", "name": f"bn_moving_{kind}", "inputs": []} for kind in ("mean", "var")]
    # MXNet writes states before their user; here they come last, so their user has to as well.
    order = [0, 1, 2, 3, 4, 12, 13, 5, 6, 7, 8, 9, 10, 11]
    nodes = [nodes[old] for old in order]
    for node in nodes:
        node["inputs"] = [[order.index(source), index, 0] for source, index, _ in node["inputs"]]
    nodes[7]["inputs"] += [[5, 0, 0], [6, 0, 0]]
    return {
        "nodes": nodes,
        "arg_nodes": [0, 1, 3, 4, 5, 6, 9, 10, 12],
        "heads": [[13, 0, 0]],
        "attrs": {"mxnet_version": ["int", 905]},
    }


def described(symbol: Any) -> dict[str, Any]:
    return {
        "arguments": symbol.list_arguments(),
        "aux": symbol.list_auxiliary_states(),
        "outputs": symbol.list_outputs(),
        "attrs": symbol.attr_dict(),
        "inner": symbol.get_internals().list_outputs(),
    }


def same_as_mxnet(text: str) -> Graph:
    """Check that we and MXNet understand ``text`` alike, and that MXNet understands what we make of it alike."""
    mx = load_mxnet()
    theirs = mx.sym.load_json(text)
    ours = Graph.from_json(text)
    assert ours.arguments() == theirs.list_arguments()
    assert ours.aux() == theirs.list_auxiliary_states()
    assert ours.outputs() == theirs.list_outputs()
    assert described(mx.sym.load_json(ours.to_json())) == described(theirs)
    return ours


def test_written_json_is_that_of_mxnet() -> None:
    theirs = json.loads(small_net().tojson())
    del theirs["node_row_ptr"]
    ours = same_as_mxnet(small_net().tojson())
    assert json.loads(ours.to_json()) == theirs
    assert ours.aux() == ["bn_moving_mean", "bn_moving_var"]
    assert ours.outputs() == ["gender_softmax_output", "halves_output1", "watched_output"]
    assert ours.operators() >= {"Convolution", "BatchNorm", "LeakyReLU", "SliceChannel", "softmax"}


@pytest.mark.parametrize("name", builtin_names())
def test_builtin_networks_are_read_as_mxnet_reads_them(name: str) -> None:
    text = builtin_json(name)
    ours = same_as_mxnet(text)
    document = json.loads(text)
    document.pop("node_row_ptr", None)
    written = json.loads(ours.to_json())
    assert written["nodes"] == document["nodes"] and written["heads"] == document["heads"]
    assert ours.inference() == ours


@pytest.mark.parametrize("document", [OLD, in_ninth(OLD)], ids=["0.8", "0.9.5"])
def test_old_versions_are_upgraded_as_mxnet_does(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "old-symbol.json"
    path.write_text(json.dumps(document))
    same_as_mxnet(path.read_text())
    graph = Graph.from_json(path)
    nodes = {node.name: node for node in graph.nodes}
    assert graph.aux() == ["bn_moving_mean", "bn_moving_var"]
    assert nodes["conv_weight"].attrs["__lr_mult__"] == "2.0"
    assert nodes["conv_weight"].attrs["__wd_mult__"] == "3"
    assert nodes["conv"].attrs["__lr_mult__"] == "0.5"
    assert nodes["bn_beta"].attrs == {"__wd_mult__": "0"}
    assert graph.version == 10901


def test_multipliers_that_name_no_input_do_not_stop_an_operator() -> None:
    """MXNet leaves them where they are, and then its convolution refuses them."""
    mx = load_mxnet()
    document = json.loads(json.dumps(OLD))
    document["nodes"][2]["attr"] = {"other_lr_mult": "7"}
    graph = Graph.from_json(json.dumps(document))
    assert graph.nodes[2].attrs["__other_lr_mult__"] == "7"
    assert mx.sym.load_json(graph.to_json()).list_arguments() == graph.arguments()


def test_old_initializers_and_axes_are_upgraded_as_mxnet_does() -> None:
    document = in_ninth(OLD)
    document["nodes"].append({"op": "argmax", "attr": {"axis": "-1"}, "name": "best", "inputs": [[11, 0, 0]]})
    document["heads"].append([14, 0, 0])
    document["attrs"] = {"mxnet_version": ["int", 903]}
    graph = same_as_mxnet(json.dumps(document))
    nodes = {node.name: node for node in graph.nodes}
    assert nodes["bn_moving_var"].attrs["__init__"] == '["one", {}]'
    assert "axis" not in nodes["best"].attrs


def test_missing_parameters_of_prelu_and_bias_are_added_as_mxnet_does() -> None:
    nodes = [
        {"op": "null", "param": {}, "name": "data", "inputs": []},
        {"op": "Convolution", "param": {"kernel": "(1,1)", "num_filter": "2"}, "name": "conv", "inputs": [[0, 0]]},
        {"op": "LeakyReLU", "param": {"act_type": "prelu"}, "name": "act", "inputs": [[1, 0]]},
        {"op": "Deconvolution", "param": {"kernel": "(1,1)", "num_filter": "2"}, "name": "up", "inputs": [[2, 0]]},
        {"op": "SoftmaxOutput", "param": {}, "name": "softmax", "inputs": [[3, 0]]},
    ]
    graph = same_as_mxnet(json.dumps({"nodes": nodes, "arg_nodes": [0], "heads": [[4, 0]]}))
    assert graph.arguments() == ["data", "conv_weight", "conv_bias", "act_gamma", "up_weight", "softmax_label"]


def test_newer_versions_are_read_and_keep_their_number() -> None:
    document = json.loads(small_net().tojson())
    document["attrs"]["mxnet_version"] = ["int", 20000]
    assert Graph.from_json(json.dumps(document)).version == 20000


def test_nodes_that_no_output_needs_are_left_out() -> None:
    document = json.loads(small_net().tojson())
    document["heads"] = document["heads"][1:2]
    graph = same_as_mxnet(json.dumps(document))
    assert graph.arguments() == ["data", "conv_weight", "bn_gamma", "bn_beta", "prelu_gamma"]


def test_a_part_can_be_selected() -> None:
    mx = load_mxnet()
    graph = Graph.from_json(small_net().tojson()).select(["fc1_output", "halves_output1"])
    assert graph.outputs() == ["fc1_output", "halves_output1"]
    expected = small_net().get_internals()["fc1_output"]
    assert mx.sym.load_json(graph.select(["fc1_output"]).to_json()).tojson() == expected.tojson()
    with pytest.raises(GraphError, match=r"no output 'fc2_output' \(its outputs: fc1_output, halves_output1\)"):
        graph.select(["fc2_output"])


@pytest.mark.quick
def test_deep_graphs_do_not_reach_a_recursion_limit() -> None:
    nodes: list[dict[str, Any]] = [{"op": "null", "name": "data", "inputs": []}]
    nodes += [{"op": "relu", "name": f"r{i}", "inputs": [[i, 0, 0]]} for i in range(5000)]
    graph = Graph.from_json(json.dumps({"nodes": nodes, "arg_nodes": [0], "heads": [[5000, 0, 0]]}))
    assert len(graph.nodes) == 5001
    assert len(graph.inference().nodes) == 5001


def net(**change: Any) -> str:
    node = {"op": "relu", "name": "r", "inputs": [[0, 0, 0]], **change}
    return json.dumps({"nodes": [{"op": "null", "name": "data", "inputs": []}, node], "heads": [[1, 0, 0]]})


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "symbol JSON is not JSON: Expecting value"),
        ("[1, 2]", "no list of nodes"),
        ('{"nodes": [], "heads": []}', "no outputs"),
        ('{"nodes": [], "heads": [[0, 0, 0]]}', "heads: input .* does not point to an earlier node"),
        ('{"nodes": [{"op": "null"}], "heads": []}', "node 0 has no op and name"),
        (net(inputs=[[1, 0, 0]]), "node 'r': input .* does not point to an earlier node"),
        (net(inputs=[[-1, 0, 0]]), "does not point to an earlier node"),
        (net(inputs=[[0]]), r"node 'r': \[0\] is not \[node, output, version\]"),
        (net(inputs=[["0", 0, 0]]), r"node 'r': .* is not \[node, output, version\]"),
        (net(inputs=None), "node 'r': a list is missing"),
        (net(op="null"), "node 'r' is a variable with inputs"),
        (net(attrs=["axis"]), "node 'r': attrs is list"),
        (net(op="_foreach", subgraphs=[{}]), r"node 'r' \(_foreach\) holds a graph of its own"),
        ('{"nodes": [], "heads": [], "attrs": {"mxnet_version": "1.9"}}', "mxnet_version is '1.9'"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_no_graph_is_told(text: str, expected: str) -> None:
    with pytest.raises(GraphError, match=expected):
        Graph.from_json(text)


@pytest.mark.quick
def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"a-symbol\.json does not exist$"):
        Graph.from_json(tmp_path / "a-symbol.json")
    (tmp_path / "b-symbol.json").write_text(net(inputs=None))
    with pytest.raises(GraphError, match=r"b-symbol\.json: node 'r': a list is missing$"):
        Graph.from_json(tmp_path / "b-symbol.json")
    (tmp_path / "c-symbol.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GraphError, match=r"c-symbol\.json is not JSON"):
        Graph.from_json(tmp_path / "c-symbol.json")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["op", "name", "attrs"]), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_documents_never_crash(data: st.DataObject) -> None:
    """One value anywhere in the document becomes another."""
    document = json.loads(json.dumps(data.draw(st.sampled_from([OLD, in_ninth(OLD)]))))
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(JSON_VALUES)
        break
    try:
        graph = Graph.from_json(json.dumps(document))
    except GraphError as error:
        logging.debug("%s", error)
        return
    assert json.loads(graph.to_json())["nodes"]


def test_results_of_an_upgraded_graph_are_those_of_mxnet(tmp_path: Path) -> None:
    mx = load_mxnet()
    text = json.dumps(OLD)
    data = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)
    results = []
    for symbol in (mx.sym.load_json(text), mx.sym.load_json(Graph.from_json(text).to_json())):
        bound = symbol.simple_bind(mx.cpu(), data=data.shape, grad_req="null")
        rng = np.random.default_rng(1)
        for name, array in sorted((bound.arg_dict | bound.aux_dict).items()):
            array[:] = data if name == "data" else rng.uniform(0.5, 1, array.shape).astype(np.float32)
        results.append(bound.forward(is_train=False)[0].asnumpy())
    assert np.array_equal(*results)
    assert np.allclose(results[0].sum(axis=1), 1)
