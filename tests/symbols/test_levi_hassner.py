"""Levi and Hassner's CNN: the layers of the paper, and the same answers on all three executors."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import symbols
from agegender.executor.mxnet_executor import MXNetExecutor
from agegender.graph import Graph
from tests.executor.oracle import Arrays, TorchTraining, graph_of, onnx_outputs, random_params

SIDE = 227


def shapes(symbol: Any, side: int = SIDE) -> dict[str, tuple[int, ...]]:
    """Return the shapes of everything inside, parameters too, for one image."""
    inner = symbol.get_internals()
    return dict(zip(inner.list_outputs(), inner.infer_shape(data=(1, 3, side, side))[1], strict=True))


def small(**arguments: Any) -> tuple[Graph, Arrays]:
    """A net of the same layers with few channels, and random parameters."""
    symbol = symbols.build("levi_hassner", width=1 / 24, embedding=12, **arguments)
    side = arguments.get("data_shape", (3, SIDE, SIDE))[1]
    return graph_of(symbol), random_params(graph_of(symbol), (3, side, side))


def test_the_maps_have_the_papers_sizes() -> None:
    found = shapes(symbols.build("levi_hassner"))
    maps = {"pool1": (96, 28, 28), "norm1": (96, 28, 28), "pool2": (256, 14, 14), "norm2": (256, 14, 14)}
    maps |= {"conv1": (96, 56, 56), "conv2": (256, 28, 28), "conv3": (384, 14, 14), "pool3": (384, 7, 7)}
    assert {name: found[f"{name}_output"][1:] for name in maps} == maps
    assert found["fc1_output"] == (1, 512)


@pytest.mark.parametrize(("bins", "count"), [(symbols.heads.ADIENCE_8, 8), (((0, 9), (10, 100)), 2)])
def test_the_parameters_are_those_of_the_layer_table(bins: Any, count: int) -> None:
    """Counted by hand: filters times (channels times kernel) and a bias each."""
    symbol = symbols.build("levi_hassner", age_bins=bins)
    found = shapes(symbol)
    by_hand = {
        "conv1": 96 * (3 * 7 * 7 + 1),
        "conv2": 256 * (96 * 5 * 5 + 1),
        "conv3": 384 * (256 * 3 * 3 + 1),
        "fc0": 512 * (384 * 7 * 7 + 1),
        "pre_fc1": 512 * (512 + 1),
        "gender_logits": 2 * (512 + 1),
        "age_logits": count * (512 + 1),
    }
    counted = {
        layer: math.prod(found[f"{layer}_weight"]) + math.prod(found[f"{layer}_bias"]) for layer in by_hand
    }  # fmt: skip
    assert counted == by_hand
    parameters = [name for name in symbol.list_arguments() if name != "data"]
    assert sum(math.prod(found[name]) for name in parameters) == sum(by_hand.values())
    assert symbol.list_auxiliary_states() == []
    if count == 8:
        assert sum(by_hand.values()) == 11_416_074


@pytest.mark.parametrize("head", ["bins", "dex", "reg"])
def test_all_executors_agree_at_227_pixels(head: str) -> None:
    graph, params = small(head=head)
    data = np.random.default_rng(1).uniform(0, 255, (3, 3, SIDE, SIDE)).astype(np.float32)
    expected = MXNetExecutor(graph, params).forward(data)
    assert list(expected) == graph.outputs()
    for others in (onnx_outputs(graph, params, data), TorchTraining(graph, params, data).outputs()):
        for name, other in zip(expected, others, strict=True):
            assert np.abs(other - expected[name]).max() < 1e-4 * max(1, np.abs(expected[name]).max()), name


def test_normalisation_divides_as_caffes_does_on_pixels_of_0_to_255() -> None:
    """What comes out of the first one is 1/128 of Caffe's on the maps of pixels that were not divided by 128."""
    graph, params = small(data_shape=(3, 64, 64))
    inner = Graph.from_json(graph.to_json()).select(["pool1_output", "norm1_output"])
    data = np.random.default_rng(2).uniform(0, 255, (2, 3, 64, 64)).astype(np.float32)
    found = MXNetExecutor(inner, {name: params[name] for name in inner.parameters()}).forward(data)
    maps = 128 * found["pool1_output"].astype(np.float64)
    squares = np.pad(maps**2, ((0, 0), (2, 2), (0, 0), (0, 0)))
    sums = sum(squares[:, offset : offset + maps.shape[1]] for offset in range(5))
    wanted = maps / (1 + 1e-4 / 5 * sums) ** 0.75 / 128
    np.testing.assert_allclose(found["norm1_output"], wanted, rtol=1e-4, atol=1e-6)
    # And it does divide.
    assert (found["norm1_output"] < 0.9 * found["pool1_output"]).mean() > 0.2


def test_sides_may_be_any_from_51_on() -> None:
    found = shapes(symbols.build("levi_hassner", data_shape=(3, 51, 51)), side=51)
    assert found["pool3_output"] == (1, 384, 1, 1)
    with pytest.raises(ValueError, match="levi_hassner needs sides of at least 51"):
        symbols.build("levi_hassner", data_shape=(3, 50, 227))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dropout": 1.0}, "dropout 1.0 is not within 0..1"),
        ({"width": 0.001}, "width 0.001 leaves no channels (at least 0.0104)"),
        ({"head": "ssr"}, "unknown head 'ssr' for levi_hassner (bins, dex, reg)"),
    ],
)
def test_what_can_not_be_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        symbols.build("levi_hassner", **arguments)
