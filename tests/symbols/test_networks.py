"""Backbones and heads: names, shapes, sizes, answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symbols

ROOT = Path(__file__).resolve().parents[2]
DEX = ["fc1_output", "gender_softmax_output", "age_softmax_output", "age_output"]
SSR = ["fc1_output", "gender_softmax_output", "age_output"]


def sizes(symbol: Any, shape: tuple[int, ...]) -> tuple[int, int, dict[str, tuple[int, ...]]]:
    """Return how many numbers are trained and how many only kept (BatchNorm), and the shapes of the outputs."""
    arguments, outputs, kept = symbol.infer_shape(data=shape)
    trained = sum(int(np.prod(s)) for n, s in zip(symbol.list_arguments(), arguments) if n != "data")
    return trained, sum(int(np.prod(s)) for s in kept), dict(zip(symbol.list_outputs(), outputs))


def bound(symbol: Any, shape: tuple[int, ...], *, scale: float = 1.0, seed: int = 0) -> Any:
    """Return an executor of ``symbol`` with drawn parameters, weights times ``scale``."""
    import mxnet as mx

    executor = symbol.simple_bind(mx.cpu(), grad_req="write", data=shape)
    rng = np.random.default_rng(seed)
    for name, array in executor.arg_dict.items():
        if name.endswith("_gamma"):
            array[:] = 1
        elif name != "data":
            fan_in = max(1, int(np.prod(array.shape[1:])))
            array[:] = scale * rng.normal(0, fan_in**-0.5, array.shape)
    for name, array in executor.aux_dict.items():
        array[:] = 1 if name.endswith("_var") else 0
    executor.arg_dict["data"][:] = rng.uniform(0, 255, shape)
    return executor


@pytest.mark.parametrize(
    ("network", "head", "embedding", "outputs", "trained", "kept"),
    [
        ("r50", "dex", 512, DEX, 43_643_687, 38_144),
        ("m50", "dex", 256, DEX, 3_498_407, 24_448),
        ("ssrnet", "dex", 64, DEX, 94_679, 512),
        ("ssrnet", "ssr", 64, SSR, 75_295, 512),
    ],
)
def test_outputs_and_sizes(
    network: str, head: str, embedding: int, outputs: list[str], trained: int, kept: int
) -> None:
    symbol = symbols.build(network, head=head)
    assert symbol.list_outputs() == outputs
    count, statistics, shapes = sizes(symbol, (5, *symbols.NETWORKS[network].data_shape))
    assert (count, statistics) == (trained, kept)
    assert shapes["fc1_output"] == (5, embedding)
    assert shapes["gender_softmax_output"] == (5, 2)
    assert shapes["age_output"] == (5, 1)
    assert shapes.get("age_softmax_output", (5, 101)) == (5, 101)
    internals = symbol.get_internals().list_outputs()
    assert "gender_logits_output" in internals
    assert ("age_logits_output" in internals) == (head == "dex")


def test_ssrnet_with_its_own_head_has_the_papers_size() -> None:
    trained, kept, _ = sizes(symbols.build("ssrnet", head="ssr"), (1, 3, 64, 64))
    assert 4 * (trained + kept) <= 0.32e6


@pytest.mark.parametrize("network", list(symbols.NETWORKS))
def test_same_network_is_same_json_and_no_name_is_numbered_by_mxnet(network: str) -> None:
    first, second = (symbols.build(network).tojson() for _ in range(2))
    assert first == second
    names = [node["name"] for node in json.loads(first)["nodes"]]
    assert len(names) == len(set(names))
    numbered = re.compile(r"^_|^(convolution|batchnorm|activation|fullyconnected|dropout|concat|softmax|reshape)\d+")
    assert [name for name in names if numbered.match(name)] == []


@pytest.mark.parametrize(
    ("network", "arguments", "shape"),
    [
        ("ssrnet", {"head": "ssr"}, (3, 96, 96)),
        ("ssrnet", {"width": 0.5, "dropout": 0.0}, (3, 64, 64)),
        ("ssrnet", {"width": 2.0}, (3, 112, 112)),
        ("m50", {"width": 0.25, "embedding": 128}, (3, 64, 64)),
        ("m50", {"width": 0.25, "version_input": 0}, (3, 224, 224)),
        *[
            ("m50", {"width": 0.25, "version_output": v}, (3, 80, 80))
            for v in ("E", "F", "G", "H", "I", "J", "FC", "GDC")
        ],
        ("r50", {"version_output": "GAP"}, (3, 128, 128)),
        ("r50", {"version_output": "GDC", "num_layers": 18}, (3, 112, 112)),
        ("r50", {"version_input": 0}, (3, 224, 224)),
        ("r50", {"num_layers": 100, "embedding": 256}, (3, 64, 64)),
    ],
)
def test_versions_build_at_other_sizes(network: str, arguments: dict[str, Any], shape: tuple[int, int, int]) -> None:
    symbol = symbols.build(network, data_shape=shape, **arguments)
    _, _, shapes = sizes(symbol, (2, *shape))
    assert shapes["fc1_output"] == (2, arguments.get("embedding", symbols.NETWORKS[network].embedding))
    assert shapes["age_output"] == (2, 1)


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        ("mobilnet", {}, f"unknown network 'mobilnet' ({', '.join(symbols.NETWORKS)})"),
        ("r50", {"head": "ssr"}, "unknown head 'ssr' for r50 (dex, reg, bins)"),
        ("ssrnet", {"head": "dx"}, "unknown head 'dx' for ssrnet (dex, ssr, reg, bins)"),
        ("r50", {"version_output": "X"}, "unknown version_output 'X' (E, F, G, H, I, J, FC, GAP, GDC)"),
        ("m50", {"version_output": "A"}, "unknown version_output 'A' (E, F, G, H, I, J, FC, GAP, GDC)"),
        (
            "r50",
            {"version_input": 7},
            "unknown version_input 7 (0 = 7x7 at stride 2 and pooling, 1 = 3x3 at full size)",
        ),
        ("m50", {"version_input": 2}, "unknown version_input 2 (0 = first stride 2, 1 = first stride 1)"),
        ("r50", {"num_layers": 51}, "unknown num_layers 51 (18, 34, 50, 74, 90, 100)"),
        ("m50", {"width": 0.01}, "width 0.01 leaves no channels (at least 0.03125)"),
        ("ssrnet", {"width": 0.05}, "width 0.05 leaves no channels (at least 0.1)"),
        ("ssrnet", {"dropout": 1.0}, "dropout 1.0 is not within 0..1"),
        ("ssrnet", {"num_layers": 3}, "unknown argument 'num_layers' for ssrnet (width, dropout)"),
        ("m50", {"embedding": 0}, "embedding 0 is not a positive number"),
        ("m50", {"data_shape": (3, 100, 100)}, "data shape (3, 100, 100) is not 3,height,width with both sides"),
        ("m50", {"data_shape": (1, 112, 112)}, "data shape (1, 112, 112) is not 3,height,width with both sides"),
    ],
)
def test_what_does_not_exist_is_named(network: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        symbols.build(network, **arguments)


@pytest.mark.parametrize("network", ["m50", "ssrnet", "mobilefacenet", "efficientnet_lite0"])
def test_age_is_the_expectation_of_its_softmax(network: str) -> None:
    shape = (2, *symbols.NETWORKS[network].data_shape)
    executor = bound(symbols.build(network), shape)
    executor.forward(is_train=False)
    _, gender, probability, age = (output.asnumpy() for output in executor.outputs)
    np.testing.assert_allclose(gender.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(probability @ np.arange(101)[:, None], age, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_ssr_age_and_gradient_stay_finite_whatever_the_weights(scale: float) -> None:
    executor = bound(symbols.build("ssrnet", head="ssr"), (4, 3, 64, 64), scale=scale)
    executor.forward(is_train=True)
    age = executor.outputs[2].asnumpy()
    # At most: bins at 2 + 1, divided by 1.5, 1.5 squared and 1.5 cubed.
    assert np.isfinite(age).all()
    assert np.abs(age).max() <= 101 * 3 * (1 / 1.5 + 1 / 1.5**2 + 1 / 1.5**3)
    if scale == 0:
        np.testing.assert_allclose(age, 101 * (1 / 3 + 1 / 9 + 1 / 27), rtol=1e-5)
    ones = [output.ones_like() for output in executor.outputs]
    executor.backward(ones)
    assert all(np.isfinite(gradient.asnumpy()).all() for gradient in executor.grad_dict.values())


@pytest.mark.filterwarnings("ignore:Cannot decide type:UserWarning")  # Gluon asks before it knows the parameters
def test_gluon_runs_the_inference_graph_on_data_alone(tmp_path: Path) -> None:
    import mxnet as mx

    symbol = symbols.build("ssrnet")
    executor = bound(symbol, (2, 3, 64, 64))
    executor.forward(is_train=False)
    parameters = {f"arg:{k}": v for k, v in executor.arg_dict.items() if k != "data"}
    mx.nd.save(str(tmp_path / "net-0001.params"), parameters | {f"aux:{k}": v for k, v in executor.aux_dict.items()})
    symbol.save(str(tmp_path / "net-symbol.json"))
    block = mx.gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0001.params"))
    outputs = block(executor.arg_dict["data"])
    for ours, gluons in zip(executor.outputs, outputs, strict=True):
        np.testing.assert_allclose(ours.asnumpy(), gluons.asnumpy(), rtol=1e-5, atol=1e-6)


def test_the_table_of_networks_needs_no_mxnet() -> None:
    code = "import sys, symbols; assert list(symbols.NETWORKS); sys.exit('mxnet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
