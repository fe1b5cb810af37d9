"""Each operator against MXNet's, over its attributes: outputs (also on ONNX Runtime), gradients and states."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch

from agegender.errors import GraphError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.executor.shape_codes import new_shape
from agegender.executor.torch_graph import GraphModule
from agegender.graph import Graph
from tests.executor.oracle import MXNetTraining, TorchTraining, cotangents, graph_of, onnx_outputs, random_params, worst

TOLERANCE = 1e-4
IMAGE, ROW = (4, 3, 7, 9), (4, 6)
Case = tuple[tuple[int, ...], str, str, dict[str, Any]]


def cases(shape: tuple[int, ...], op: str, *attributes: dict[str, Any]) -> list[Any]:
    """One case for each set of attributes of an operator that takes ``data`` (and parameters)."""
    return [
        pytest.param(shape, op, attrs, id=f"{op}-{'-'.join(f'{k}={v}' for k, v in attrs.items())}".replace(" ", ""))
        for attrs in attributes
    ]


KERNEL = {"kernel": (3, 3)}
POOLS = [
    {"kernel": kernel, "stride": stride, "pad": pad, "pool_type": kind, "pooling_convention": convention}
    for kind in ("max", "avg", "sum")
    for kernel, stride, pad, convention in (
        ((2, 2), (2, 2), (0, 0), "valid"),
        ((2, 2), (2, 2), (0, 0), "full"),
        ((3, 3), (2, 2), (1, 1), "valid"),
        ((3, 3), (2, 2), (1, 1), "full"),
        ((3, 2), (1, 2), (0, 1), "full"),
        ((2, 2), (3, 3), (1, 1), "full"),
    )
]
SINGLE = [
    *cases(
        IMAGE,
        "Convolution",
        {**KERNEL, "num_filter": 4},
        {**KERNEL, "num_filter": 4, "no_bias": True, "stride": (2, 1), "pad": (1, 2)},
        {**KERNEL, "num_filter": 6, "num_group": 3, "dilate": (2, 3), "pad": (2, 2)},
        {"kernel": (1, 5), "num_filter": 2, "layout": "NCHW"},
    ),
    *cases(
        IMAGE,
        "Deconvolution",
        {**KERNEL, "num_filter": 4},
        {"kernel": (4, 4), "num_filter": 3, "num_group": 3, "stride": (2, 2), "pad": (1, 1), "no_bias": False},
        {**KERNEL, "num_filter": 4, "stride": (2, 3), "pad": (1, 0), "adj": (1, 2), "dilate": (1, 2)},
    ),
    *cases(
        IMAGE, "FullyConnected", {"num_hidden": 5}, {"num_hidden": 5, "no_bias": True, "flatten": False}
    ),
    *cases(ROW, "FullyConnected", {"num_hidden": 5}),
    *cases(
        IMAGE,
        "BatchNorm",
        {},
        {"fix_gamma": False, "eps": 2e-5, "momentum": 0.8},
        {"fix_gamma": False, "use_global_stats": True},
        {"fix_gamma": False, "axis": 3},
        {"fix_gamma": False, "axis": -1},
    ),
    *cases(ROW, "BatchNorm", {"fix_gamma": False}),
    *cases((1, 3, 1, 1), "BatchNorm", {"fix_gamma": False}),
    *cases(IMAGE, "BatchNorm_v1", {"fix_gamma": False}, {}),
    *cases(
        ROW, "Activation", *({"act_type": kind} for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign"))
    ),
    *cases(
        IMAGE,
        "LeakyReLU",
        *({"act_type": kind} for kind in ("prelu", "elu", "gelu")),
        {},
        {"act_type": "leaky", "slope": 0.1},
    ),
    *cases(ROW, "LeakyReLU", {"act_type": "prelu"}),
    *cases(IMAGE, "Pooling", *POOLS),
    *cases(
        IMAGE,
        "Pooling",
        {**KERNEL, "pad": (1, 1), "pool_type": "avg", "count_include_pad": False},
        {**KERNEL, "pad": (1, 1), "pool_type": "avg", "count_include_pad": False, "pooling_convention": "full",
         "stride": (2, 2)},
        *({"global_pool": True, "kernel": (7, 7), "pool_type": kind} for kind in ("max", "avg", "sum")),
        {"global_pool": True},
    ),
    *cases(
        IMAGE,
        "Pooling_v1",
        {**KERNEL, "stride": (2, 2), "pad": (1, 1), "pool_type": "avg"},
        {"kernel": (2, 2), "stride": (2, 2), "pool_type": "max", "pooling_convention": "full"},
    ),
    *cases(IMAGE, "Dropout", {"p": 0.0}),
    *cases(IMAGE, "Flatten", {}),
    *cases(
        IMAGE,
        "Reshape",
        *({"shape": shape} for shape in ((-1,), (0, -1), (0, 0, -1), (-2,), (0, -3, 0), (-4, 2, -1, -2), (0, -3, -1))),
        *({"shape": shape, "reverse": True} for shape in ((-1, 0), (-3, 0, 0), (0, -3, 9))),
        {"target_shape": (4, 0)},
        {"target_shape": (0, 0), "keep_highest": True},
    ),
    *cases(IMAGE, "transpose", {}, {"axes": (0, 2, 3, 1)}),
    *cases(IMAGE, "SwapAxis", {"dim1": 1, "dim2": 3}),
    *cases(IMAGE, "expand_dims", {"axis": 1}, {"axis": -1}),
    *cases((4, 1, 7, 1), "squeeze", {}, {"axis": 1}, {"axis": (1, 3)}),
    *cases(
        IMAGE,
        "slice",
        {"begin": (0, 1), "end": (4, 3)},
        {"begin": (None, None, 5), "end": (None, None, 0), "step": (None, None, -2)},
        {"begin": (1, -2), "end": (None, None)},
    ),
    *cases(IMAGE, "slice_axis", {"axis": 1, "begin": 1, "end": None}, {"axis": -1, "begin": -5, "end": -1}),
    *cases(IMAGE, "SliceChannel", {"num_outputs": 3}, {"num_outputs": 3, "axis": -1},
           {"num_outputs": 3, "squeeze_axis": True}),
    *cases(IMAGE, "softmax", {"axis": 1}, {"temperature": 2.5}),
    *cases(IMAGE, "log_softmax", {"axis": 1}),
    *cases(ROW, "SoftmaxActivation", {}),
    *cases(IMAGE, "SoftmaxActivation", {"mode": "channel"}),
    *cases(IMAGE, "L2Normalization", *({"mode": mode} for mode in ("instance", "channel", "spatial"))),
    *cases(ROW, "L2Normalization", {"eps": 1e-3}),
    *cases(IMAGE, "InstanceNorm", {}, {"eps": 1e-2}),
    *cases(IMAGE, "LayerNorm", {}, {"axis": 1, "eps": 1e-2}),
    *cases((4, 6, 5, 5), "LRN", {"nsize": 3}, {"nsize": 5, "alpha": 0.1, "beta": 0.5, "knorm": 1}),
    *cases(IMAGE, "UpSampling", {"scale": 2, "sample_type": "nearest", "num_args": 1}),
    *cases(
        IMAGE,
        "Pad",
        {"mode": "constant", "pad_width": (0, 0, 0, 0, 1, 2, 3, 0), "constant_value": 1.5},
        {"mode": "edge", "pad_width": (0, 0, 0, 0, 1, 2, 3, 0)},
        {"mode": "reflect", "pad_width": (0, 0, 0, 0, 1, 2, 3, 0)},
    ),
    *cases(IMAGE, "Crop", {"h_w": (4, 5), "offset": (1, 2), "num_args": 1},
           {"h_w": (4, 6), "center_crop": True, "num_args": 1}),
    *cases(IMAGE, "tile", {"reps": (1, 2, 1, 1)}, {"reps": (2, 1, 1, 1, 1)}),
    *cases(IMAGE, "repeat", {"repeats": 2, "axis": 1}, {"repeats": 3}),
    *cases((4, 1, 7, 1), "broadcast_to", {"shape": (0, 3, 0, 9)}),
    *cases((4, 1, 7, 1), "broadcast_axis", {"axis": (1, 3), "size": (2, 5)}),
    *(
        case
        for op in ("sum", "mean", "max", "min")
        for case in cases(IMAGE, op, {}, {"axis": 1}, {"axis": (2, 3), "keepdims": True}, {"axis": 1, "exclude": True})
    ),
    *cases(IMAGE, "norm", {}, {"axis": 1}, {"ord": 1, "axis": (2, 3), "keepdims": True}),
    *cases(ROW, "argmax", {"axis": 1}, {"axis": 1, "keepdims": True}, {}),
    *cases(IMAGE, "clip", {"a_min": -0.5, "a_max": 0.7}),
    *cases(IMAGE, "hard_sigmoid", {}, {"alpha": 0.5, "beta": 0.1}),
    *cases(ROW, "one_hot", {"depth": 3}, {"depth": 2, "on_value": 5, "off_value": -1}),
    *cases(ROW, "BlockGrad", {}),
    *cases(ROW, "identity", {}),
    *cases(ROW, "Cast", {"dtype": "float32"}),
    *(case for op in ("zeros_like", "ones_like") for case in cases(ROW, op, {})),
    *(
        case
        for op in ("abs", "exp", "square", "sigmoid", "tanh", "relu", "negative", "erf", "sign", "floor", "ceil")
        for case in cases(ROW, op, {})
    ),
]  # fmt: skip
POSITIVE = [case for op in ("log", "sqrt", "rsqrt", "reciprocal") for case in cases(ROW, op, {})]
SCALARS = [
    "plus", "minus", "rminus", "mul", "div", "rdiv", "power", "rpower", "maximum", "minimum",
    "equal", "not_equal", "greater", "greater_equal", "lesser", "lesser_equal",
]  # fmt: skip


def agree(symbol: Any, data: np.ndarray, *, seed: int = 0, batch: int | None = None) -> None:
    """Check outputs in use and in training, gradients and states of a symbol on ``data``.

    ``batch`` is its size in the ONNX file where that can't be left free.
    """
    graph = graph_of(symbol)
    params = random_params(graph, data.shape[1:], seed=seed, rows=len(data))
    theirs, ours = MXNetTraining(graph, params, data), TorchTraining(graph, params, data)
    assert list(ours.module.eval()(ours._data)) == symbol.list_outputs()
    assert worst(ours.outputs(), theirs.outputs()) < TOLERANCE
    assert worst(onnx_outputs(graph, params, data, batch=batch), theirs.outputs()) < TOLERANCE
    (their_outputs, their_gradients), (outputs, gradients) = (each.gradients(cotangents()) for each in (theirs, ours))
    assert worst(outputs, their_outputs) < TOLERANCE
    assert worst(gradients, their_gradients) < TOLERANCE
    states = {name for name in params if name.startswith("aux:")}
    trained = ours.params()
    if states:
        expected = theirs.params()
        assert worst({n: trained[n] for n in states}, {n: expected[n] for n in states}) < 1e-5


def made(shape: tuple[int, ...], *, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return np.random.default_rng(3).uniform(low, high, shape).astype(np.float32)


def operator(name: str) -> Callable[..., Any]:
    sym = load_mxnet().sym
    return getattr(sym, name, None) or getattr(sym._internal, name)


@pytest.mark.parametrize(("shape", "op", "attrs"), SINGLE)
def test_operators_of_one_array(shape: tuple[int, ...], op: str, attrs: dict[str, Any]) -> None:
    data = load_mxnet().sym.Variable("data")
    agree(operator(op)(data, name="op", **attrs), made(shape))


@pytest.mark.parametrize(("shape", "op", "attrs"), POSITIVE)
def test_operators_of_positive_numbers(shape: tuple[int, ...], op: str, attrs: dict[str, Any]) -> None:
    agree(operator(op)(load_mxnet().sym.Variable("data"), name="op", **attrs), made(shape, low=0.2))


@pytest.mark.parametrize("name", SCALARS)
def test_operators_with_a_number(name: str) -> None:
    data = load_mxnet().sym.Variable("data")
    agree(operator(f"_{name}_scalar")(data, scalar=1.5, name="op"), made(ROW, low=0.2).round(1))


@pytest.mark.parametrize(
    "op",
    ["elemwise_add", "elemwise_sub", "elemwise_mul", "elemwise_div", "_power", "_maximum", "_minimum"]
    + [f"broadcast_{name}" for name in ("add", "sub", "mul", "div", "power", "maximum", "minimum", "greater",
                                        "greater_equal", "lesser", "lesser_equal", "equal", "not_equal")],
)  # fmt: skip
def test_operators_of_two_arrays(op: str) -> None:
    sym = load_mxnet().sym
    left, right = sym.split(sym.Variable("data"), num_outputs=2, axis=2, name="halves")
    if op.startswith("broadcast"):
        right = sym.slice_axis(right, axis=1, begin=0, end=1, name="one")
    agree(operator(op)(left, right, name="op"), made((4, 3, 6), low=0.2))


def test_selu_has_the_outputs_of_mxnet_and_the_right_gradient() -> None:
    """MXNet 1.9.1's own gradient of it is wrong below zero."""
    data = made(ROW)
    graph = graph_of(load_mxnet().sym.LeakyReLU(load_mxnet().sym.Variable("data"), act_type="selu", name="op"))
    outputs, gradients = TorchTraining(graph, {}, data).gradients(lambda outputs: [np.ones_like(outputs[0])])
    assert worst(outputs, MXNetTraining(graph, {}, data).outputs()) < 1e-5
    expected = 1.0507009873554805 * np.where(data > 0, 1, 1.6732632423543772 * np.exp(data))
    assert gradients["arg:data"] == pytest.approx(expected, rel=1e-5)


def test_softmax_of_each_row_is_along_the_last_axis_as_in_mxnet() -> None:
    """Its gradient for more than two axes is wrong in MXNet 1.9.1."""
    graph = graph_of(load_mxnet().sym.SoftmaxActivation(load_mxnet().sym.Variable("data"), name="op"))
    ours, theirs = (each(graph, {}, made(IMAGE)).outputs() for each in (TorchTraining, MXNetTraining))
    assert worst(ours, theirs) < 1e-5


@pytest.mark.parametrize(
    ("target", "same"),
    [((16, 20), {}), ((14, 18), {"pad": (1, 1)}), ((13, 17), {"pad": (2, 2), "adj": (1, 1)})],
)
def test_deconvolution_to_a_target_shape(target: tuple[int, int], same: dict[str, tuple[int, int]]) -> None:
    """MXNet says which padding that means (deconvolution-inl.h); with oneDNN it can't compute it that way itself."""
    sym = load_mxnet().sym
    attrs = {"kernel": (4, 4), "stride": (2, 2), "num_filter": 2, "no_bias": False, "name": "op"}
    graph = graph_of(sym.Deconvolution(sym.Variable("data"), target_shape=target, **attrs))
    reference = graph_of(sym.Deconvolution(sym.Variable("data"), **same, **attrs))
    data = made(IMAGE)
    params = random_params(reference, data.shape[1:])
    outputs = TorchTraining(graph, params, data).outputs()
    assert outputs[0].shape[2:] == target
    assert worst(outputs, MXNetTraining(reference, params, data).outputs()) < 1e-5


def pieces(count: int, axis: int = 1) -> Any:
    sym = load_mxnet().sym
    return list(sym.split(sym.Variable("data"), num_outputs=count, axis=axis, name="pieces"))


@pytest.mark.parametrize("several", ["concat", "add_n", "stack_of_sizes"])
def test_operators_of_several_arrays(several: str) -> None:
    sym = load_mxnet().sym
    parts = pieces(3)
    if several == "concat":
        symbol = sym.concat(parts[0], sym.Concat(*parts, dim=3, name="inner"), parts[0], dim=-1, name="op")
    elif several == "add_n":
        symbol = sym.add_n(*parts, parts[0], name="op")
    else:
        small = sym.Pooling(parts[1], kernel=(2, 2), stride=(2, 2), name="small")
        symbol = sym.UpSampling(parts[0], small, scale=2, sample_type="nearest", num_args=2, name="op")
    agree(symbol, made((2, 3, 4, 6)))


def test_cropping_to_another_map() -> None:
    sym = load_mxnet().sym
    data = sym.Variable("data")
    like = sym.Pooling(data, kernel=(2, 2), stride=(2, 2), name="like")
    agree(sym.Crop(data, like, num_args=2, offset=(1, 2), name="op"), made(IMAGE))


@pytest.mark.parametrize(("first", "second"), [(False, False), (True, False), (False, True), (True, True)])
def test_products(first: bool, second: bool) -> None:
    sym = load_mxnet().sym
    weight = sym.Variable("w_weight", shape=(5, 6) if second != first else (6, 5) if not first else (5, 4))
    if first:
        weight = sym.Variable("w_weight", shape=(5, 4) if second else (4, 5))
    agree(sym.dot(sym.Variable("data"), weight, transpose_a=first, transpose_b=second, name="op"), made(ROW))
    left, right = pieces(2)
    turned = sym.transpose(right, axes=(0, 2, 1), name="turned") if first == second else right
    agree(sym.batch_dot(left, turned, transpose_a=first, transpose_b=second, name="op"), made((2, 6, 4)))


def test_products_of_more_axes() -> None:
    sym = load_mxnet().sym
    agree(sym.dot(sym.Variable("data"), sym.Variable("w_weight", shape=(9, 2, 3)), name="op"), made(IMAGE))
    row = sym.reshape(sym.Variable("data"), shape=(-1,), name="row")
    agree(sym.dot(row, row, name="op"), made(ROW))


def test_looking_up() -> None:
    sym = load_mxnet().sym
    data = sym.Variable("data")
    numbers = sym.BlockGrad(sym.floor(sym.abs(data)), name="numbers")
    data_of = np.random.default_rng(0).uniform(0, 9, (4, 6)).astype(np.float32)
    agree(sym.Embedding(numbers, input_dim=7, output_dim=3, name="op"), data_of)
    table = sym.Variable("t_weight", shape=(3, 5, 2))
    for mode, axis in (("clip", 0), ("wrap", 1), ("clip", -1)):
        agree(sym.take(table, numbers, mode=mode, axis=axis, name="op"), data_of)
    first = sym.slice_axis(numbers, axis=1, begin=0, end=1, name="first")
    for keep in (True, False):
        agree(sym.pick(data, sym.reshape(first, shape=(-1,), name="index"), keepdims=keep, name="op"), data_of)
    chosen = sym._internal._greater_scalar(data, scalar=4.0, name="chosen")
    agree(sym.where(chosen, data, numbers, name="op"), data_of)
    rows = sym.reshape(sym._internal._greater_scalar(first, scalar=4.0, name="far"), shape=(-1,), name="rows")
    agree(sym.where(rows, data, sym.negative(data, name="minus"), name="op"), data_of)


def test_constants() -> None:
    sym = load_mxnet().sym
    counted = sym.arange(start=1, stop=4, step=0.5, name="counted")
    parts = [counted, sym.arange(start=3, repeat=2, name="pairs"), sym.ones((6,), name="one"), sym.zeros((6,))]
    parts = [sym.reshape(part, shape=(1, 6), name=f"row{number}") for number, part in enumerate(parts)]
    agree(sym.broadcast_add(sym.Variable("data"), sym.concat(*parts, dim=0, name="all"), name="op"), made(ROW))


def test_dropout_drops_in_training_or_always_and_scales_up() -> None:
    sym = load_mxnet().sym
    data = torch.ones(50, 40, 3)
    for attrs, idle, rows_alike in (
        ({}, True, False),
        ({"mode": "always"}, False, False),
        ({"axes": (1,)}, True, True),
    ):
        module = GraphModule(graph_of(sym.Dropout(sym.Variable("data"), p=0.25, name="drop", **attrs)), {})
        assert torch.equal(module.eval()(data)["drop_output"], data) is idle
        dropped = module.train()(data)["drop_output"]
        assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
        assert 0.6 < float((dropped > 0).float().mean()) < 0.9
        assert bool((dropped == dropped[:, :1]).all()) is rows_alike


@pytest.mark.quick
@pytest.mark.parametrize(
    ("shape", "codes", "reverse", "expected"),
    [
        ((2, 3, 4), (0, -1), False, [2, -1]),
        ((2, 3, 4), (-2,), False, [2, 3, 4]),
        ((2, 3, 4), (-3, 0), False, [6, 4]),
        ((2, 12, 4), (0, -4, 3, -1, -2), False, [2, 3, 4, 4]),
        ((8, 3), (-4, -1, 4, 0), False, [2, 4, 3]),
        ((10, 5, 4), (-1, 0), True, [-1, 4]),
        ((10, 5, 4), (-1, 0), False, [-1, 5]),
    ],
)
def test_codes_of_reshape(shape: tuple[int, ...], codes: tuple[int, ...], reverse: bool, expected: list[int]) -> None:
    assert new_shape(shape, codes, reverse) == expected


def one_node(op: str, attrs: dict[str, str], inputs: int = 1) -> Graph:
    names = ["data", *(f"p{number}" for number in range(1, inputs))]
    nodes: list[dict[str, Any]] = [{"op": "null", "name": name, "inputs": []} for name in names]
    nodes.append({"op": op, "name": "it", "attrs": attrs, "inputs": [[number, 0, 0] for number in range(inputs)]})
    return Graph.from_json(
        json.dumps({"nodes": nodes, "heads": [[inputs, 0, 0]], "attrs": {"mxnet_version": ["int", 10901]}})
    )


@pytest.mark.quick
@pytest.mark.parametrize(
    ("op", "attrs", "inputs", "expected"),
    [
        (
            "Activation",
            {"act_type": "swish"},
            1,
            r"act_type is 'swish': none of relu, sigmoid, tanh, softrelu, softsign",
        ),
        ("Activation", {}, 1, "has no value for act_type"),
        ("Convolution", {"kernel": "(3, x)", "num_filter": "2"}, 3, r"kernel is '\(3, x\)': not whole numbers"),
        ("Convolution", {"kernel": "(3,)", "num_filter": "2"}, 3, r"kernel is '\(3,\)': 1 numbers, not 2"),
        ("Convolution", {"kernel": "(3, 3)", "num_filter": "2", "layout": "NHWC"}, 3, "layout is 'NHWC': none of NCHW"),
        ("Convolution", {"kernel": "(3, 3)", "num_filter": "2"}, 2, "has 2 inputs, not data, weight, bias"),
        ("Pooling", {"kernel": "(2, 2)", "pool_type": "lp"}, 1, "pool_type is 'lp': none of max, avg, sum"),
        ("Pooling", {"kernel": "(2, 2)", "global_pool": "maybe"}, 1, "global_pool is 'maybe': neither True nor False"),
        ("Dropout", {"p": "1.5"}, 1, "p is '1.5': not within 0..1"),
        ("softmax", {"axis": "last"}, 1, "axis is 'last': not a whole number"),
        ("softmax", {"temperature": "hot"}, 1, "temperature is 'hot': not a number"),
        ("clip", {"a_min": "0"}, 1, "has no value for a_max"),
        ("Reshape", {}, 1, "shape is None: nothing to reshape to"),
        ("Reshape", {"shape": "(-7,)"}, 1, "a code below -4"),
        ("slice", {"begin": "(0,)", "end": "(1, 2)"}, 1, "not as many numbers"),
        ("Pad", {"pad_width": "(1, 0, 0, 0)"}, 1, "not pairs of numbers, the first two of which are 0"),
        ("UpSampling", {"scale": "2", "sample_type": "bilinear"}, 1, "sample_type is 'bilinear': none of nearest"),
        ("norm", {"ord": "3"}, 1, "neither 1 nor 2"),
        ("SliceChannel", {}, 1, "has no value for num_outputs"),
        ("Cast", {"dtype": "complex"}, 1, "dtype is 'complex': none of float16"),
    ],
)
def test_attributes_that_make_no_sense(op: str, attrs: dict[str, str], inputs: int, expected: str) -> None:
    with pytest.raises(GraphError, match=rf"node 'it' \({op}\)(:| has).*{expected.removeprefix('has ')}"):
        GraphModule(one_node(op, attrs, inputs), {f"arg:p{number}": np.zeros(1) for number in range(1, inputs)})


@pytest.mark.quick
def test_old_ways_to_write_numbers_are_read() -> None:
    graph = one_node("Pooling", {"kernel": "[2L, 2L]", "stride": "(2,2,)", "global_pool": "0", "pad": "()"})
    assert GraphModule(graph, {})(torch.zeros(1, 1, 4, 6))["it_output"].shape == (1, 1, 2, 3)


@pytest.mark.quick
def test_operators_that_are_missing_are_named_all_at_once() -> None:
    nodes: list[dict[str, Any]] = [{"op": "null", "name": "data", "inputs": []}]
    nodes += [{"op": op, "name": name, "inputs": [[i, 0, 0]]} for i, (op, name) in enumerate([("A", "a"), ("B", "b")])]
    graph = Graph.from_json(json.dumps({"nodes": nodes, "heads": [[2, 0, 0]]}))
    with pytest.raises(
        GraphError, match=r"^node 'a': PyTorch has no operator 'A'; node 'b': PyTorch has no operator 'B'$"
    ):
        GraphModule(graph, {})
