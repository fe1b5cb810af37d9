"""Monte Carlo dropout on each executor: against formulas, NumPy, and the dropout that MXNet and PyTorch train with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.errors import CheckpointError, GraphError, UsageError
from agegender.executor import open_executor
from agegender.executor.monte_carlo import MonteCarlo, with_passes
from agegender.executor.mxnet_executor import MXNetExecutor
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph import Checkpoint, Graph, ModelInfo, builtin_json

ENGINES = ("mxnet", "torch", "onnxruntime")
SHARE = 0.3
WEIGHT = np.array([[0.5, -1.0, 2.0, 0.25, 1.5, -0.75]], np.float32)
FACES = np.array([[1, 2, 3, 4, 5, 6], [6, -1, 0.5, 2, -3, 1]], np.float32).reshape(2, 6, 1, 1)

Params = dict[str, np.ndarray]


def checkpoint(symbol: Any, params: Params, *, shape: tuple[int, ...] = (6, 1, 1)) -> Checkpoint:
    graph = Graph.from_json(symbol.tojson())
    return Checkpoint(Path("net/model"), 1, graph, params, ModelInfo(input={"shape": list(shape)}))


def opened(net: Checkpoint, engine: str, *, passes: int = 8, seed: int = 0) -> MonteCarlo:
    return MonteCarlo(net, partial(open_executor, engine=engine, gpu_ids="cpu"), passes=passes, seed=seed)


def plain(net: Checkpoint, engine: str, data: np.ndarray) -> dict[str, np.ndarray]:
    return open_executor(net, engine=engine, gpu_ids="cpu").forward(data)


@pytest.fixture(scope="module")
def linear() -> Checkpoint:
    """An age that is a sum of what dropout leaves of six numbers, with other weights."""
    mx = load_mxnet()
    left = mx.sym.Dropout(mx.sym.Variable("data"), p=SHARE, name="drop")
    return checkpoint(mx.sym.FullyConnected(left, num_hidden=1, no_bias=True, name="age"), {"arg:age_weight": WEIGHT})


@pytest.mark.parametrize("engine", ENGINES)
def test_mean_and_variance_are_those_of_the_formula(linear: Checkpoint, engine: str) -> None:
    count = 6000
    ages = opened(linear, engine, passes=count).forward(FACES)["age_output"]
    assert ages.shape == (2, 1 + count, 1)
    exact = FACES.reshape(2, 6) @ WEIGHT[0]
    np.testing.assert_allclose(ages[:, 0, 0], exact, rtol=1e-6)
    # A term w x is lost with the probability p, and else w x / (1 - p): its variance is (w x)^2 p / (1 - p).
    variance = SHARE / (1 - SHARE) * np.square(FACES.reshape(2, 6) * WEIGHT).sum(axis=1)
    np.testing.assert_allclose(ages[:, 1:, 0].mean(axis=1), exact, atol=float(4 * np.sqrt(variance.max() / count)))
    np.testing.assert_allclose(ages[:, 1:, 0].var(axis=1), variance, rtol=0.08)


@pytest.mark.parametrize("library", ["mxnet", "torch"])
def test_it_is_the_dropout_of_the_library_that_trains(linear: Checkpoint, library: str) -> None:
    count = 6000
    ours = opened(linear, library, passes=count).forward(FACES[:1])["age_output"][0, 1:, 0]
    rows = np.repeat(FACES[:1], count, axis=0)
    if library == "mxnet":
        always = linear.graph.to_json().replace('"p": "0.3"', '"p": "0.3", "mode": "always"')
        load_mxnet().random.seed(3)
        theirs = MXNetExecutor(always, linear.params).forward(rows)["age_output"][:, 0]
    else:
        torch = pytest.importorskip("torch")
        torch.manual_seed(3)
        dropped = torch.nn.functional.dropout(torch.from_numpy(rows.reshape(count, 6)), SHARE, training=True)
        theirs = dropped.numpy() @ WEIGHT[0]
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.35)
    assert ours.var() == pytest.approx(theirs.var(), rel=0.1)
    # Both take on the 2^6 values that there are, and no others.
    assert set(np.round(ours, 3)) == set(np.round(theirs, 3))


@pytest.fixture(scope="module")
def normed() -> Checkpoint:
    """Dropout before a dense layer and a BatchNorm, with what is left of the data as an output beside."""
    mx = load_mxnet()
    data = mx.sym.BatchNorm(mx.sym.Variable("data"), fix_gamma=False, name="bn0")
    left = mx.sym.Dropout(mx.sym.flatten(data, name="flat"), p=SHARE, name="left")
    dense = mx.sym.FullyConnected(left, num_hidden=3, name="pre_fc1")
    fc1 = mx.sym.BatchNorm(dense, fix_gamma=True, eps=1e-3, name="fc1")
    gender = mx.sym.softmax(mx.sym.FullyConnected(fc1, num_hidden=2, name="gender_logits"), name="gender_softmax")
    symbol = mx.sym.Group([left, fc1, gender])
    rng = np.random.default_rng(5)
    arguments, _, states = symbol.infer_shape(data=(1, 6, 1, 1))
    params = {f"arg:{n}": rng.normal(0, 1, s).astype(np.float32) for n, s in zip(symbol.list_arguments(), arguments)}
    params |= {
        f"aux:{n}": rng.uniform(0.5, 2, s).astype(np.float32) for n, s in zip(symbol.list_auxiliary_states(), states)
    }
    return checkpoint(symbol, params)


@pytest.mark.parametrize("engine", ENGINES)
def test_only_dropout_is_as_in_training(normed: Checkpoint, engine: str) -> None:
    before = {name: array.copy() for name, array in normed.params.items()}
    told = opened(normed, engine, passes=50).forward(FACES)
    for name, array in plain(normed, engine, FACES).items():
        np.testing.assert_allclose(told[name][:, 0], array, atol=1e-6)
    # What is dropped is dropped whole, the rest scaled; then everything by the statistics that were learned.
    left, p = told["left_output"].astype(np.float64), normed.params
    ratio = left[:, 1:] / left[:, :1]
    assert np.logical_or(ratio == 0, np.isclose(ratio, 1 / (1 - SHARE))).all()
    assert (ratio == 0).mean() == pytest.approx(SHARE, abs=0.06)
    dense = left @ p["arg:pre_fc1_weight"].T + p["arg:pre_fc1_bias"]
    fc1 = (dense - p["aux:fc1_moving_mean"]) / np.sqrt(p["aux:fc1_moving_var"] + 1e-3) + p["arg:fc1_beta"]
    np.testing.assert_allclose(told["fc1_output"], fc1, atol=1e-4)
    logits = np.exp(fc1 @ p["arg:gender_logits_weight"].T + p["arg:gender_logits_bias"])
    np.testing.assert_allclose(told["gender_softmax_output"], logits / logits.sum(axis=2, keepdims=True), atol=1e-5)
    assert all((normed.params[name] == array).all() for name, array in before.items())


def test_what_is_drawn_depends_on_the_seed_alone(normed: Checkpoint) -> None:
    first = opened(normed, "onnxruntime", seed=1).forward(FACES)
    for engine in ENGINES:
        again = opened(normed, engine, seed=1)
        for name, array in again.forward(FACES).items():
            np.testing.assert_allclose(array, first[name], atol=1e-5, err_msg=f"{engine} {name}")
        # Nor on what else is in the batch, or what was asked before.
        np.testing.assert_allclose(again.forward(FACES[1:])["fc1_output"][0], first["fc1_output"][1], atol=1e-5)
    other = opened(normed, "onnxruntime", seed=2).forward(FACES)
    assert np.abs(other["fc1_output"] - first["fc1_output"])[:, 1:].max() > 0.1
    # More passes begin with the same ones.
    more = opened(normed, "onnxruntime", passes=20, seed=1).forward(FACES)
    np.testing.assert_allclose(more["left_output"][:, :9], first["left_output"], atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_several_dropouts_and_several_rows_for_a_face(engine: str) -> None:
    """Windows of a picture are rows of their own, as in Swin; values that were dropped from meet others."""
    mx = load_mxnet()
    rows = mx.sym.reshape(mx.sym.Variable("data"), shape=(-1, 3), name="rows")
    joined = rows + mx.sym.Dropout(rows, p=SHARE, name="drop")
    again = mx.sym.Dropout(joined, p=SHARE, name="drop_mask")
    whole = mx.sym.reshape(mx.sym.broadcast_mul(again, mx.sym.ones((1, 3))), shape=(-1, 6), name="age")
    told = opened(checkpoint(whole, {}), engine, passes=5000).forward(FACES)["age_output"]
    data, kept = FACES.reshape(2, 6), 1 - SHARE
    np.testing.assert_allclose(told[:, 0], 2 * data, rtol=1e-6)
    # y = (x + x a) b, where a and b are 0 or 1 / kept: E a = 1 and E a^2 = 1 / kept.
    variance = np.square(data) * ((3 + 1 / kept) / kept - 4)
    np.testing.assert_allclose(told[:, 1:].mean(axis=1), 2 * data, atol=0.5)
    np.testing.assert_allclose(told[:, 1:].var(axis=1), variance, rtol=0.12)
    # No two of a face's numbers share their fate.
    fate = (told[0, 1:] == 0).astype(np.float64)
    assert np.abs(np.corrcoef(fate.T) - np.eye(6)).max() < 0.06


def test_maps_are_dropped_whole_where_dropout_says_so() -> None:
    mx = load_mxnet()
    maps = mx.sym.Dropout(mx.sym.Variable("data"), p=0.5, axes=(2, 3), name="age")
    told = opened(checkpoint(maps, {}, shape=(3, 4, 4)), "torch").forward(np.ones((2, 3, 4, 4), np.float32))
    assert told["age_output"].shape == (2, 9, 3, 4, 4)
    first = told["age_output"][..., :1, :1]
    assert (told["age_output"] == first).all()
    assert set(np.unique(first[:, 1:])) == {0.0, 2.0}


@pytest.mark.parametrize("engine", ENGINES)
def test_outputs_that_no_dropout_reaches(engine: str) -> None:
    mx = load_mxnet()
    flat = mx.sym.flatten(mx.sym.Variable("data"), name="age")
    left = mx.sym.Dropout(flat, p=0.5, name="gender_softmax")
    net = opened(checkpoint(mx.sym.Group([left, flat]), {}), engine)
    told = net.forward(FACES)
    assert net.steady == {"age_output"}
    assert list(told) == ["gender_softmax_output", "age_output"]
    assert (told["age_output"] == FACES.reshape(2, 1, 6)).all() and told["age_output"].shape == (2, 9, 6)


@pytest.mark.parametrize("engine", ENGINES)
def test_batches_of_any_size(linear: Checkpoint, engine: str) -> None:
    net = opened(linear, engine, passes=400)
    assert net.forward(FACES[:0])["age_output"].shape == (0, 401, 1)
    # Five faces of 401 rows go through in three parts.
    many = net.forward(np.concatenate([FACES, FACES, FACES[:1]]))["age_output"]
    np.testing.assert_allclose(many, net.forward(FACES)["age_output"][[0, 1, 0, 1, 0]], rtol=1e-5)


def axis_lost() -> Any:
    mx = load_mxnet()
    turned = mx.sym.transpose(mx.sym.flatten(mx.sym.Variable("data")), name="turned")
    return mx.sym.transpose(mx.sym.Dropout(turned, p=0.5, name="drop"), name="age")


def several_rows() -> Any:
    mx = load_mxnet()
    return mx.sym.reshape(mx.sym.Dropout(mx.sym.Variable("data"), p=0.5, name="drop"), shape=(-1, 2), name="age")


def nothing_dropped() -> Any:
    mx = load_mxnet()
    return mx.sym.Dropout(mx.sym.Variable("data"), p=0.0, name="age")


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            axis_lost,
            GraphError,
            r"node 'turned' has no axis of faces in front \(shapes \(6, 1\) for one face, \(6, 2\)",
        ),
        (several_rows, GraphError, r"output 'age' has 3 rows for each face"),
        (nothing_dropped, UsageError, r"mc_dropout 8: net/model-0001.params is of a network without dropout"),
    ],
)
def test_graphs_whose_passes_are_none(build: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        opened(checkpoint(build(), {}), "torch")


def test_what_can_not_be_asked(linear: Checkpoint) -> None:
    with pytest.raises(UsageError, match="mc_dropout 1: at least 2 passes"):
        opened(linear, "torch", passes=1)
    with pytest.raises(CheckpointError, match=r"model-0001\.params: no prefix\.json beside it tells the input's shape"):
        opened(dataclasses.replace(linear, info=None), "torch")
    with pytest.raises(UsageError, match=r"every pass says the same; take one .* such as ssrnet"):
        opened(dataclasses.replace(linear, graph=Graph.from_json(builtin_json("m50"))), "torch")
    half = Graph.from_json(linear.graph.to_json().replace('"p": "0.3"', '"p": "half"'))
    with pytest.raises(GraphError, match=r"node 'drop' \(Dropout\): p is 'half', not within 0..1"):
        opened(dataclasses.replace(linear, graph=half), "torch")


def test_without_passes_it_is_the_plain_net(linear: Checkpoint) -> None:
    open_plain = partial(open_executor, engine="torch", gpu_ids="cpu")
    assert with_passes(linear, open_plain, passes=None, seed=0).forward(FACES)["age_output"].shape == (2, 1)
