"""Parameters, multiply-adds and file sizes of graphs, against MXNet, PyTorch's own counter, files and hand sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.utils.flop_counter import FlopCounterMode

from agegender.errors import GraphError
from agegender.executor.costs import graph_cost
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.executor.torch_graph import GraphModule
from agegender.graph import Graph, builtin_defaults, builtin_json, load_params, save_params
from tests.executor.oracle import graph_of, random_params


@pytest.mark.parametrize("name", builtin_defaults())
def test_every_network_has_as_many_numbers_as_mxnet_says(name: str) -> None:
    text, shape = builtin_json(name), builtin_defaults()[name]["data_shape"]
    symbol = load_mxnet().sym.load_json(text)
    arguments, _, states = symbol.infer_shape(data=(1, *shape))
    numbers = {key: int(np.prod(size)) for key, size in zip(symbol.list_arguments(), arguments, strict=True)}
    found = graph_cost(Graph.from_json(text), shape)
    assert found.parameters == sum(numbers.values()) - numbers["data"]
    assert found.states == sum(int(np.prod(size)) for size in states)


def counted(graph: Graph, image: tuple[int, ...], *, rows: int = 1) -> float:
    """Return the multiply-adds for one image of a real pass over ``rows``, as PyTorch counts them (each twice)."""
    import torch

    module = GraphModule(graph, random_params(graph, image)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(rows, *image))
    return float(counter.get_total_flops()) / (2 * rows)


@pytest.mark.parametrize("name", ["ssrnet", "ssrnet-ssr", "mobilefacenet", "mlp"])
def test_multiply_adds_are_those_that_pytorch_counts(name: str) -> None:
    graph, shape = Graph.from_json(builtin_json(name)), builtin_defaults()[name.partition("-")[0]]["data_shape"]
    # Two rows: it overlooks the product that is the age of one.
    assert graph_cost(graph, shape).macs == counted(graph, shape, rows=2)


def test_every_kind_of_product_is_counted() -> None:
    sym = load_mxnet().sym
    data = sym.Variable("data")
    body = sym.Convolution(data, num_filter=6, kernel=(3, 2), stride=(2, 1), dilate=(1, 2), num_group=3, name="grouped")
    body = sym.Deconvolution(body, num_filter=4, kernel=(2, 2), stride=(2, 2), num_group=2, name="up")
    rows = sym.reshape(body, shape=(-3, 0, 0), name="rows")
    score = sym.batch_dot(rows, rows, transpose_a=True, name="score")
    mixed = sym.batch_dot(rows, score, name="mixed")
    wide = sym.FullyConnected(mixed, num_hidden=5, flatten=False, name="wide")
    flat = sym.FullyConnected(wide, num_hidden=7, name="flat")
    graph = graph_of(sym.dot(flat, flat, transpose_a=True, name="gram"))
    found = {node.name: node for node in graph_cost(graph, (3, 9, 8)).nodes}
    # (6, 4, 6) of 1 x 3 x 2 weights each; (4, 8, 12), where each of (6, 4, 6) makes 2 maps of 2 x 2.
    assert (found["grouped"].shape, found["grouped"].macs) == ((1, 6, 4, 6), 6 * 4 * 6 * 6)
    assert (found["up"].shape, found["up"].macs) == ((1, 4, 8, 12), 6 * 4 * 6 * 2 * 2 * 2)
    assert found["rows"].macs == 0
    assert (found["score"].shape, found["score"].macs) == ((4, 12, 12), 4 * 12 * 12 * 8)
    assert (found["mixed"].shape, found["mixed"].macs) == ((4, 8, 12), 4 * 8 * 12 * 12)
    assert (found["wide"].parameters, found["wide"].macs) == (12 * 5 + 5, 4 * 8 * 12 * 5)
    assert (found["flat"].parameters, found["flat"].macs) == (8 * 5 * 7 + 7, 4 * 8 * 5 * 7)
    assert (found["gram"].shape, found["gram"].macs) == ((7, 7), 7 * 7 * 4)
    assert counted(graph, (3, 9, 8)) == graph_cost(graph, (3, 9, 8)).macs


def test_the_convolutions_of_m50_are_mobilenets() -> None:
    """Howard et al. (2017): 569 million multiply-adds and 4.2 million numbers, with a classifier of 1,000 classes."""
    body = [
        node
        for node in graph_cost(Graph.from_json(builtin_json("m50")), (3, 112, 112)).nodes
        if node.name.startswith("conv_")
    ]
    assert sum(node.macs for node in body) == 567_716_352
    assert round((567_716_352 + 1024 * 1000) / 1e6) == 569
    assert sum(node.parameters for node in body) == 3_206_976
    assert round((3_206_976 + 1025 * 1000) / 1e6, 1) == 4.2


def test_a_shared_parameter_counts_once() -> None:
    sym = load_mxnet().sym
    weight = sym.Variable("weight")
    first = sym.FullyConnected(sym.Variable("data"), weight, num_hidden=4, no_bias=True, name="first")
    graph = graph_of(sym.FullyConnected(first, weight, num_hidden=4, no_bias=True, name="second"))
    found = graph_cost(graph, (4, 1, 1))
    assert (found.parameters, found.macs) == (16, 32)
    assert [node.parameters for node in found.nodes] == [16, 0]


@pytest.mark.parametrize("name", ["m50/m50-0001", "ssrnet/ssrnet-0046"])
def test_the_size_is_that_of_the_shipped_file(root: Path, name: str, tmp_path: Path) -> None:
    path = root / "models" / f"{name}.params"
    graph = Graph.from_json(path.with_name(path.name.rpartition("-")[0] + "-symbol.json"))
    found = graph_cost(graph, (3, 64, 64))
    assert found.file_size == path.stat().st_size
    save_params(tmp_path / "again.params", load_params(path))
    assert (tmp_path / "again.params").stat().st_size == found.file_size


def test_an_image_that_does_not_fit_is_named() -> None:
    with pytest.raises(GraphError, match=r"can't take images of shape \(3, 4, 4\)"):
        graph_cost(Graph.from_json(builtin_json("mtcnn_onet")), (3, 4, 4))
