"""GraphModule: parameters in and out, what is trained, precision, layout, statistics over several processes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch

from agegender.errors import CheckpointError, GraphError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.executor.torch_graph import GraphModule
from agegender.executor.torch_shapes import parameter_shapes
from agegender.graph import Graph, Node, builtin_json
from tests.executor.oracle import graph_of, random_params


def small() -> tuple[Graph, dict[str, np.ndarray]]:
    """Convolution, two normalisations (the second with a fixed gamma), PReLU, softmax; a name has dots."""
    sym = load_mxnet().sym
    body = sym.Convolution(sym.Variable("data"), num_filter=4, kernel=(3, 3), name="body.conv")
    body = sym.BatchNorm(body, fix_gamma=False, momentum=0.8, name="bn")
    body = sym.LeakyReLU(body, act_type="prelu", name="prelu")
    body = sym.BatchNorm(sym.FullyConnected(body, num_hidden=5, name="pre_fc1"), name="fc1")
    probability = sym.softmax(sym.FullyConnected(body, num_hidden=3, name="age_fc"), axis=1, name="age_softmax")
    years = sym.reshape(sym.arange(start=0, stop=3, name="years"), shape=(3, 1), name="column")
    graph = graph_of(sym.Group([body, probability, sym.dot(probability, years, name="age")]))
    return graph, random_params(graph, (3, 8, 8))


def images(count: int = 6) -> Any:
    return torch.from_numpy(np.random.default_rng(1).normal(0, 1, (count, 3, 8, 8)).astype(np.float32))


def test_parameters_come_out_as_they_went_in() -> None:
    graph, params = small()
    exported = GraphModule(graph, params | {"arg:unused": np.zeros(3)}).export_params()
    names = [f"arg:{name}" for name in graph.arguments() if name != "data"] + [f"aux:{name}" for name in graph.aux()]
    assert list(exported) == names
    for name, array in exported.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, np.ones(5) if name == "arg:fc1_gamma" else params[name])


def test_what_is_trained() -> None:
    module = GraphModule(*small())
    kept = {name for name in module.names if not module.tensor_named(name).requires_grad}
    assert kept == {
        "arg:fc1_gamma", "aux:bn_moving_mean", "aux:bn_moving_var", "aux:fc1_moving_mean", "aux:fc1_moving_var"
    }  # fmt: skip
    assert module.names["arg:body.conv_weight"] == "arg_body_conv_weight"
    assert module.tensor_named("arg:body.conv_weight") is module.arg_body_conv_weight
    assert set(dict(module.named_parameters())) == {module.names[name] for name in module.names if name[:3] == "arg"}


def test_recount_takes_the_mean_of_the_batches_statistics() -> None:
    """Of the first norm, checked by NumPy on the maps that it is given; the second one is behind it."""
    graph, params = small()
    module = GraphModule(graph, params)
    batches = [images(6) * factor for factor in (1.0, 2.0, 4.0)]
    assert module.recount(iter(batches)) == 3
    counted = module.export_params()
    weight, bias = (torch.from_numpy(params[f"arg:body.conv_{kind}"]) for kind in ("weight", "bias"))
    maps = [torch.nn.functional.conv2d(batch, weight, bias).numpy() for batch in batches]
    for kind, of in (("mean", np.mean), ("var", np.var)):
        expected = np.mean([of(each, axis=(0, 2, 3)) for each in maps], axis=0)
        np.testing.assert_allclose(counted[f"aux:bn_moving_{kind}"], expected, rtol=1e-4, atol=1e-5)
        assert not np.allclose(counted[f"aux:fc1_moving_{kind}"], params[f"aux:fc1_moving_{kind}"])
    kept = [name for name in params if name.startswith("arg:") and name != "arg:fc1_gamma"]
    assert all(np.array_equal(counted[name], params[name]) for name in kept)
    # A training afterwards counts with the graph's own momentum.
    module.train()
    module(batches[0])
    expected = 0.8 * counted["aux:bn_moving_mean"] + 0.2 * maps[0].mean((0, 2, 3))
    np.testing.assert_allclose(module.export_params()["aux:bn_moving_mean"], expected, rtol=1e-4, atol=1e-5)


def test_names_that_would_be_alike_are_kept_apart() -> None:
    sym = load_mxnet().sym
    parts = [sym.FullyConnected(sym.Variable("data"), num_hidden=2, no_bias=True, name=name) for name in ("a.b", "a_b")]
    graph = graph_of(sym.Group(parts))
    params = random_params(graph, (4,))
    exported = GraphModule(graph, params).export_params()
    assert all(np.array_equal(exported[name], array) for name, array in params.items())


def test_half_precision_is_widened_and_whole_numbers_are_not() -> None:
    graph, params = small()
    module = GraphModule(graph, {name: array.astype(np.float16) for name, array in params.items()})
    assert {tensor.dtype for tensor in module.parameters()} == {torch.float32}
    sym = load_mxnet().sym
    taken = graph_of(sym.take(sym.Variable("data"), sym.Variable("places"), axis=1, name="taken"))
    module = GraphModule(taken, {"arg:places": np.array([2, 0], np.int64)})
    assert module(torch.arange(6.0).reshape(2, 3))["taken_output"].tolist() == [[2, 0], [5, 3]]
    assert module.export_params()["arg:places"].dtype == np.int64


def test_losses_are_taken_off_and_another_input_can_be_named() -> None:
    sym = load_mxnet().sym
    body = sym.FullyConnected(sym.Variable("pixels"), num_hidden=2, no_bias=True, name="fc")
    graph = graph_of(sym.SoftmaxOutput(body, name="softmax"))
    params = {"arg:fc_weight": np.eye(2, dtype=np.float32), "arg:pixels": np.eye(2, dtype=np.float32)}
    module = GraphModule(graph, params)
    assert (module.input, list(module.names)) == ("pixels", ["arg:fc_weight"])
    assert module(torch.zeros(1, 2))["softmax_output"].tolist() == [[0.5, 0.5]]
    turned = GraphModule(graph, params, input_name="fc_weight")
    assert list(turned.names) == ["arg:pixels"]
    with pytest.raises(GraphError, match=r"no input 'data' \(pixels, fc_weight\)"):
        GraphModule(graph, params, input_name="data")


def test_what_does_not_fit_is_named() -> None:
    graph, params = small()
    with pytest.raises(CheckpointError, match=r"^the parameter aux:bn_moving_var is missing$"):
        GraphModule(graph, {name: array for name, array in params.items() if name != "aux:bn_moving_var"})
    for name, shape, expected in (
        ("arg:body.conv_weight", (4, 3, 5, 5), r"wants \(4, 3, 3, 3\)$"),
        ("arg:body.conv_bias", (1,), r"wants \(4,\)$"),
        ("arg:bn_beta", (3,), r"node 'bn' \(BatchNorm\) wants \(4,\)$"),
        ("aux:fc1_moving_var", (1,), r"wants \(5,\)$"),
        ("arg:pre_fc1_weight", (6, 144), r"wants \(5, 144\)$"),
        ("arg:pre_fc1_weight", (5, 144, 1), r"wants \(5, \?\)$"),
    ):
        with pytest.raises(CheckpointError, match=rf"^{name[4:]} has shape .*{expected}"):
            GraphModule(graph, {**params, name: np.zeros(shape, np.float32)})
    # One slope for all channels is as good.
    GraphModule(graph, {**params, "arg:prelu_gamma": np.zeros(1, np.float32)})(images())


def test_outputs_that_are_not_computed_are_told() -> None:
    graph, params = small()
    nodes = graph.nodes
    place = next(position for position, node in enumerate(nodes) if node.name == "bn")
    with pytest.raises(GraphError, match=r"^node 'bn' \(BatchNorm\): PyTorch does not compute its output 1$"):
        GraphModule(Graph(nodes, ((place, 1),)), params)


def test_values_are_let_go_of_after_their_last_use() -> None:
    """Of a chain of a hundred computations at most three values are alive at any time."""
    nodes = [Node("null", "data")] + [Node("_plus_scalar", f"n{i}", {"scalar": "1"}, ((i, 0),)) for i in range(100)]
    module = GraphModule(Graph(tuple(nodes), ((100, 0),)), {})
    alive: list[weakref.ref[Any]] = []
    counts = []

    class Counting(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            alive.append(weakref.ref(result))
            counts.append(sum(reference() is not None for reference in alive))
            return result

    with torch.no_grad(), Counting():
        assert module(torch.zeros(1))["n99_output"].tolist() == [100]
    gc.collect()
    assert len(counts) >= 100 and max(counts) <= 3


def test_statistics_move_as_in_mxnet_with_the_biased_variance() -> None:
    graph = graph_of(load_mxnet().sym.BatchNorm(load_mxnet().sym.Variable("data"), momentum=0.8, eps=1e-5, name="bn"))
    params = {f"arg:bn_{name}": np.ones(2, np.float32) for name in ("gamma", "beta")}
    params |= {"aux:bn_moving_mean": np.full(2, 10, np.float32), "aux:bn_moving_var": np.full(2, 3, np.float32)}
    module = GraphModule(graph, params)
    data = torch.tensor([[0.0, 5.0], [4.0, 5.0]])
    assert module.train()(data)["bn_output"].flatten().tolist() == pytest.approx([0, 1, 2, 1], abs=1e-4)
    assert module.tensor_named("aux:bn_moving_mean").tolist() == pytest.approx([0.8 * 10 + 0.2 * 2, 0.8 * 10 + 0.2 * 5])
    assert module.tensor_named("aux:bn_moving_var").tolist() == pytest.approx([0.8 * 3 + 0.2 * 4, 0.8 * 3])
    before = module.export_params()
    module.eval()(data)
    assert all(np.array_equal(array, before[name]) for name, array in module.export_params().items())


def test_channels_last_gives_the_same() -> None:
    graph, params = small()
    expected = GraphModule(graph, params).eval()(images())
    module = GraphModule(graph, params).to(memory_format=torch.channels_last).eval()
    for name, output in module(images().contiguous(memory_format=torch.channels_last)).items():
        assert torch.allclose(output, expected[name], atol=1e-5)


@pytest.mark.parametrize("train", [True, False])
def test_autocast_keeps_probabilities_ages_and_statistics_in_float32(train: bool) -> None:
    graph, params = small()
    exact, module = (GraphModule(graph, params).train(train) for _ in range(2))
    expected = exact(images())
    with torch.autocast("cpu", torch.bfloat16):
        outputs = module(images())
    assert outputs["age_softmax_output"].dtype == outputs["age_output"].dtype == torch.float32
    years = torch.arange(3.0)
    assert torch.allclose(outputs["age_output"][:, 0], outputs["age_softmax_output"] @ years, atol=1e-6)
    assert torch.allclose(outputs["age_output"], expected["age_output"], atol=0.1)
    if train:
        outputs["age_output"].sum().backward()
        assert all(tensor.grad.dtype == torch.float32 for tensor in module.parameters() if tensor.requires_grad)
        moved = module.tensor_named("aux:bn_moving_var")
        assert moved.dtype == torch.float32
        assert torch.allclose(moved, exact.tensor_named("aux:bn_moving_var"), rtol=0.02)


def test_compiled_it_is_one_graph_and_gives_the_same() -> None:
    graph, params = small()
    module = GraphModule(graph, params).eval()
    with warnings.catch_warnings():
        # What PyTorch imports for this uses what it has deprecated itself.
        warnings.simplefilter("ignore")
        compiled = torch.compile(module, backend="eager", fullgraph=True)
        for data in (images(), images()):
            for name, output in compiled(data).items():
                assert torch.allclose(output, module(data)[name], atol=1e-6)


WORKER = """
import sys
import numpy as np, torch, torch.distributed as dist
from agegender.executor.torch_graph import GraphModule
from agegender.graph import Graph
rank, count, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting{count}", rank=rank, world_size=count)
torch.set_num_threads(1)
given = np.load(f"{folder}/given.npz")
module = GraphModule(Graph.from_json(open(f"{folder}/net.json").read()), {n: given[n] for n in given if ":" in n})
module.set_sync_batch_norm(dist.group.WORLD)
# Shares of different sizes.
cut = [0, len(given["data"])] if count == 1 else [0, 2, len(given["data"])]
data = torch.tensor(given["data"][cut[rank]:cut[rank + 1]], requires_grad=True)
outputs = module.train()(data)
(outputs["fc1_output"] * torch.tensor(given["weight"][cut[rank]:cut[rank + 1]])).sum().backward()
found = {"data": data.grad, "fc1": outputs["fc1_output"].detach()}
for name in module.names:
    tensor = module.tensor_named(name)
    if tensor.grad is not None:
        dist.all_reduce(tensor.grad)
        found["gradient " + name] = tensor.grad
    if name.startswith("aux:"):
        found[name] = tensor
np.savez(f"{folder}/found{count}{rank}.npz", **{n: t.numpy() for n, t in found.items()})
dist.destroy_process_group()
"""


def test_statistics_over_two_processes_are_those_of_one_with_all_the_data(root: Path, tmp_path: Path) -> None:
    graph, params = small()
    (tmp_path / "net.json").write_text(graph.to_json())
    weight = np.random.default_rng(2).normal(0, 1, (6, 5)).astype(np.float32)
    np.savez(tmp_path / "given.npz", data=images().numpy(), weight=weight, **params)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(count), str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(root / "src")},
            stderr=subprocess.PIPE,
            text=True,
        )
        for count in (1, 2)
        for rank in range(count)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    alone, first, second = (dict(np.load(tmp_path / f"found{name}.npz")) for name in ("10", "20", "21"))
    for name in ("data", "fc1"):
        assert np.concatenate([first[name], second[name]]) == pytest.approx(alone[name], rel=1e-4, abs=1e-5)
    assert sum(name.startswith("gradient") for name in alone) == 8
    for name in set(alone) - {"data", "fc1"}:
        assert first[name] == pytest.approx(second[name], rel=1e-5, abs=1e-6)
        assert first[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-4)


def test_shapes_of_parameters() -> None:
    graph, params = small()
    assert parameter_shapes(graph, (3, 8, 8)) == {name: array.shape for name, array in params.items()}
    assert list(parameter_shapes(graph, (3, 8, 8))) == list(GraphModule(graph, params).names)
    assert parameter_shapes(graph, (1, 10, 9))["arg:pre_fc1_weight"] == (5, 4 * 8 * 7)
    m50 = parameter_shapes(Graph.from_json(builtin_json("m50")), (3, 112, 112))
    assert m50["arg:conv_2_dw_conv2d_weight"] == (32, 1, 3, 3)
    with pytest.raises(GraphError, match=r"can't take images of shape \(3, 2, 2\): node 'body.conv' \(Convolution\): "):
        parameter_shapes(graph, (3, 2, 2))


def test_shapes_that_no_layer_tells() -> None:
    sym = load_mxnet().sym
    data = sym.Variable("data")
    added = graph_of(sym.elemwise_add(data, sym.Variable("offset"), name="sum"))
    assert parameter_shapes(added, (3, 4, 4)) == {"arg:offset": (1, 3, 4, 4)}
    stated = graph_of(sym.broadcast_add(data, sym.Variable("offset", shape=(1, 3, 1, 1)), name="sum"))
    assert parameter_shapes(stated, (3, 4, 4)) == {"arg:offset": (1, 3, 1, 1)}
    silent = graph_of(sym.broadcast_add(data, sym.Variable("offset"), name="sum"))
    assert parameter_shapes(silent, (3, 4, 4), given={"arg:offset": (1, 1, 4, 4)}) == {"arg:offset": (1, 1, 4, 4)}
    with pytest.raises(
        GraphError, match=r"nothing tells the shape of 'offset', an input of node 'sum' \(broadcast_add\)"
    ):
        parameter_shapes(silent, (3, 4, 4))
