"""The perceptron on embeddings: its size, its outputs, any length and scale of embeddings, three executors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symbols
from agegender.executor import open_executor
from agegender.graph import Graph
from agegender.graph.checkpoint import Checkpoint
from tests.symbols.test_networks import DEX, bound, sizes


def expected_size(n: int, *, units: int, depth: int, embedding: int) -> int:
    """Count by the layers: BatchNorm has two numbers a feature, dense ones a weight an input and a bias."""
    stem = 2 * n + (n + 1) * units
    block = 2 * (2 * units + (units + 1) * units)
    top = 2 * units + (units + 1) * embedding + 2 * embedding
    return stem + depth * block + top + (embedding + 1) * (2 + 101)


@pytest.mark.parametrize(
    ("n", "arguments", "units", "depth", "embedding"),
    [
        (512, {}, 512, 3, 128),
        (128, {"width": 0.25, "depth": 1, "embedding": 16}, 128, 1, 16),
        (4, {"width": 2.0, "depth": 0, "dropout": 0.0}, 1024, 0, 128),
    ],
)
def test_outputs_and_sizes(n: int, arguments: dict[str, Any], units: int, depth: int, embedding: int) -> None:
    symbol = symbols.build("mlp", data_shape=(n, 1, 1), **arguments)
    trained, kept, shapes = sizes(symbol, (5, n, 1, 1))
    assert symbol.list_outputs() == DEX
    assert [shapes[name] for name in DEX] == [(5, embedding), (5, 2), (5, 101), (5, 1)]
    assert trained == expected_size(n, units=units, depth=depth, embedding=embedding)
    assert kept == 2 * (n + (2 * depth + 1) * units + embedding)
    dropped = sum(node.op == "Dropout" for node in Graph.from_json(symbol.tojson()).nodes)
    assert dropped == (2 * depth if arguments.get("dropout", 0.3) else 0)


def test_the_graph_says_nothing_about_the_length() -> None:
    assert symbols.build("mlp", data_shape=(256, 1, 1)).tojson() == symbols.build("mlp").tojson()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0.001}, "width 0.001 leaves no units (at least 0.00195312)"),
        ({"depth": -1}, "depth -1 is not 0 or more"),
        ({"dropout": 1.0}, "dropout 1.0 is not within 0..1"),
        ({"data_shape": (3, 112, 112)}, "data shape (3, 112, 112) is not numbers,1,1, as mlp takes no image"),
        ({"head": "ssr"}, "unknown head 'ssr' for mlp (dex, "),
        ({"num_layers": 3}, "unknown argument 'num_layers' for mlp (width, depth, dropout)"),
    ],
)
def test_what_does_not_exist_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        symbols.build("mlp", **arguments)


def test_in_training_the_scale_of_embeddings_makes_no_difference() -> None:
    """What was normalised to length 1 and what was not look alike behind the first BatchNorm."""
    symbol = symbols.build("mlp", data_shape=(32, 1, 1), width=0.1, depth=2, dropout=0.0)
    executor = bound(symbol, (16, 32, 1, 1))
    data = np.random.default_rng(1).normal(2, 3, (16, 32, 1, 1))
    ages = []
    for scale in (1.0, 40.0):
        executor.arg_dict["data"][:] = scale * data
        executor.forward(is_train=True)
        ages.append(executor.outputs[3].asnumpy())
    np.testing.assert_allclose(ages[0], ages[1], rtol=1e-3)


@pytest.mark.parametrize("head", symbols.NETWORKS["mlp"].heads)
def test_the_executors_agree(head: str) -> None:
    symbol = symbols.build("mlp", data_shape=(24, 1, 1), width=0.1, depth=2, head=head)
    executor = bound(symbol, (3, 24, 1, 1))
    rng = np.random.default_rng(2)
    params = {f"arg:{name}": array.asnumpy() for name, array in executor.arg_dict.items() if name != "data"}
    for name, array in executor.aux_dict.items():
        params[f"aux:{name}"] = rng.uniform(0.5, 2, array.shape).astype(np.float32)
    data = rng.normal(0, 1, (3, 24, 1, 1)).astype(np.float32)
    checkpoint = Checkpoint(Path("mlp"), 1, Graph.from_json(symbol.tojson()), params)
    told = {
        engine: open_executor(checkpoint, engine=engine, gpu_ids="cpu", threads=1).forward(data)
        for engine in ("mxnet", "torch", "onnxruntime")
    }
    for name, expected in told["mxnet"].items():
        for engine in ("torch", "onnxruntime"):
            np.testing.assert_allclose(told[engine][name], expected, rtol=1e-4, atol=1e-4, err_msg=f"{engine} {name}")
