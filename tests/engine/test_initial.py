from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from agegender.engine.initial import initial_parameters
from agegender.errors import GraphError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph import Graph

SHAPES = {
    "arg:conv_weight": (64, 32, 3, 3),
    "arg:conv_bias": (64,),
    "arg:bn_gamma": (64,),
    "arg:bn_beta": (64,),
    "arg:slope_gamma": (64,),
    "aux:bn_moving_mean": (64,),
    "aux:bn_moving_var": (64,),
}


@pytest.fixture
def graph() -> Graph:
    mx = load_mxnet()
    body = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=64, kernel=(3, 3), name="conv")
    body = mx.sym.LeakyReLU(mx.sym.BatchNorm(body, name="bn"), act_type="prelu", name="slope")
    return Graph.from_json(body.tojson())


def test_weights_have_the_spread_of_he_and_the_rest_is_constant(graph: Graph) -> None:
    drawn = initial_parameters(graph, SHAPES, seed=1)
    assert {name: array.shape for name, array in drawn.items()} == SHAPES
    assert all(array.dtype == np.float32 for array in drawn.values())
    weight = drawn.pop("arg:conv_weight")
    assert weight.std() == pytest.approx(np.sqrt(2 / (32 * 9)), rel=0.02)
    assert abs(weight.mean()) < 1e-3
    assert {name: set(array.tolist()) for name, array in drawn.items()} == {
        "arg:conv_bias": {0},
        "arg:bn_gamma": {1},
        "arg:bn_beta": {0},
        "arg:slope_gamma": {0.25},
        "aux:bn_moving_mean": {0},
        "aux:bn_moving_var": {1},
    }


def test_the_seed_decides(graph: Graph) -> None:
    one, same, other = (initial_parameters(graph, SHAPES, seed=seed)["arg:conv_weight"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_an_unknown_initialiser_is_named(make_network: Callable[..., str]) -> None:
    mx = load_mxnet()
    weight = mx.sym.Variable("w", init=mx.init.Orthogonal())
    graph = Graph.from_json(mx.sym.FullyConnected(mx.sym.Variable("data"), weight=weight, num_hidden=2).tojson())
    with pytest.raises(GraphError, match=r"variable 'w': the initialiser \[\"orthogonal\""):
        initial_parameters(graph, {"arg:w": (2, 2)}, seed=0)


def test_a_variable_may_ask_for_its_own_spread() -> None:
    mx = load_mxnet()
    weight = mx.sym.Variable("w_weight", init=mx.init.Normal(0.02))
    graph = Graph.from_json(mx.sym.FullyConnected(mx.sym.Variable("data"), weight=weight, num_hidden=90).tojson())
    drawn = initial_parameters(graph, {"arg:w_weight": (90, 90)}, seed=0)["arg:w_weight"]
    assert drawn.std() == pytest.approx(0.02, rel=0.03)
    assert abs(drawn.mean()) < 1e-3
