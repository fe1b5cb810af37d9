"""Swin: the paper's size, constants counted out by hand, and the same answers and gradients on every executor."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import symbols
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph import Graph
from symbols.swin import swin
from symbols.swin_windows import Constants, Windows, roll
from tests.executor.oracle import (
    MXNetTraining,
    TorchTraining,
    cotangents,
    graph_of,
    images,
    onnx_outputs,
    random_params,
    worst,
)
from tests.symbols.test_networks import DEX, sizes

# Two stages of two blocks, the second shifted: 64 and 128 channels, 2 and 4 heads.
SMALL: dict[str, Any] = {"width": 64 / 96, "depths": (2, 2), "drop_path": 0.0, "embedding": 8, "head": "dex"}


def value_of(symbol: Any, data: np.ndarray | None = None) -> np.ndarray:
    """Compute a symbol on MXNet."""
    mx = load_mxnet()
    given = {} if data is None else {"data": mx.nd.array(data)}
    result: np.ndarray = symbol.eval(ctx=mx.cpu(), **given)[0].asnumpy()
    return result


def small_graph(side: tuple[int, int], **arguments: Any) -> Graph:
    return graph_of(swin(data_shape=(3, *side), **{**SMALL, **arguments}))


def test_the_backbone_has_the_papers_size() -> None:
    """49,606,258 with ImageNet's classifier of 1000 classes (49.6 million in the paper) and 769,000 less without."""
    symbol = symbols.build("swin_s")
    trained, kept, shapes = sizes(symbol, (5, 3, 224, 224))
    assert symbol.list_outputs() == DEX
    assert [shapes[name] for name in DEX] == [(5, 512), (5, 2), (5, 101), (5, 1)]
    own = (768 + 1) * 512 + 2 * 512 + (512 + 1) * (2 + 101)
    assert trained - own == 49_606_258 - (768 + 1) * 1000
    assert kept == 2 * 512


def test_swin_tiny_is_a_matter_of_depths() -> None:
    """28,288,354 with the same classifier, as the paper's code counts it."""
    trained, _, _ = sizes(symbols.build("swin_s", depths=(2, 2, 6, 2), embedding=1), (1, 3, 224, 224))
    assert trained - (768 + 1) - 2 - 2 * (2 + 101) == 28_288_354 - (768 + 1) * 1000


@pytest.mark.parametrize(
    ("side", "window"),
    [
        ((64, 64), 4),  # fits, and shifts in both stages
        ((64, 64), 5),  # has to be filled up in both
        ((64, 96), 16),  # one window high, and more across in the first stage
    ],
)
def test_all_executors_give_the_same_answers_and_gradients(side: tuple[int, int], window: int) -> None:
    graph = small_graph(side, window=window, width=32 / 96)
    params = random_params(graph, (3, *side))
    data = np.random.default_rng(1).uniform(0, 255, (6, 3, *side)).astype(np.float32)
    theirs, ours = MXNetTraining(graph, params, data), TorchTraining(graph, params, data)
    expected = theirs.outputs()
    assert worst(ours.outputs(), expected) < 1e-5
    assert worst(onnx_outputs(graph, params, data), expected) < 1e-5
    (_, their_gradients), (_, gradients) = (each.gradients(cotangents()) for each in (theirs, ours))
    # What is added before a BatchNorm moves nothing: rounding is all that is left of these gradients.
    for name in ("arg:norm_beta", "arg:pre_fc1_bias"):
        assert max(np.abs(gradients.pop(name)).max(), np.abs(their_gradients.pop(name)).max()) < 1e-3
    assert worst(gradients, their_gradients) < 1e-4


def test_a_faces_answer_is_its_own_whatever_lies_beside_it() -> None:
    graph = small_graph((64, 64), window=5)
    params = random_params(graph, (3, 64, 64))
    data = images(3, 64)
    alone = TorchTraining(graph, params, data[1:2]).outputs()
    together = TorchTraining(graph, params, data).outputs()
    assert worst([each[1:2] for each in together], alone) < 1e-5


@pytest.mark.parametrize("size", [(3, 3), (2, 4), (4, 1)])
def test_the_index_of_places_is_the_papers(size: tuple[int, int]) -> None:
    windows = Windows(size, size, (0, 0))
    index = value_of(Constants().position_index(windows)).reshape(windows.area, windows.area)
    places = list(itertools.product(range(size[0]), range(size[1])))
    offsets = sorted({(a[0] - b[0], a[1] - b[1]) for a in places for b in places})
    assert len(offsets) == windows.offsets
    for (i, one), (j, other) in itertools.product(enumerate(places), enumerate(places)):
        assert index[i, j] == offsets.index((one[0] - other[0], one[1] - other[1]))


@pytest.mark.parametrize(
    ("side", "window", "shift"),
    [((6, 6), 3, (1, 1)), ((8, 12), 4, (2, 2)), ((7, 5), 4, (2, 2)), ((3, 8), 4, (0, 2))],
)
def test_shifted_windows_see_only_what_is_next_to_them(
    side: tuple[int, int], window: int, shift: tuple[int, int]
) -> None:
    """Numbers of places are shifted; two that a window brings together but the shift cut apart are masked."""
    windows = Windows.fit(side, window, shifted=True)
    assert windows.shift == shift
    height, width = windows.filled
    numbers = np.arange(height * width, dtype=np.float32).reshape(1, height, width, 1)
    moved = value_of(roll(load_mxnet().sym.Variable("data"), shift, windows.filled, name="roll"), numbers)
    np.testing.assert_array_equal(moved, np.roll(numbers, (-shift[0], -shift[1]), (1, 2)))
    mask_symbol = Constants().shift_mask(windows)
    mask = value_of(mask_symbol).reshape(-1, windows.area, windows.area)
    down, across = windows.counts
    cut = moved.reshape(down, windows.size[0], across, windows.size[1]).transpose(0, 2, 1, 3)
    for number, places in enumerate(cut.reshape(down * across, -1).astype(int)):
        y, x = places // width, places % width
        # Before the shift, neighbours are less than a window apart.
        far = (abs(y[:, None] - y) >= windows.size[0]) | (abs(x[:, None] - x) >= windows.size[1])
        came_round = [
            (axis >= s)[:, None] != (axis >= s) if s and where else np.zeros_like(far)
            for axis, s, where in (
                (y, shift[0], number // across == down - 1),
                (x, shift[1], number % across == across - 1),
            )
        ]
        np.testing.assert_array_equal(mask[number], np.where(came_round[0] | came_round[1], -100, 0))
        assert not (far & (mask[number] == 0)).any()


def test_windows_and_back_is_the_same_map() -> None:
    windows = Windows.fit((7, 10), 4, shifted=True)
    data = np.random.default_rng(0).normal(size=(2, 7, 10, 3)).astype(np.float32)
    cut = windows.cut(load_mxnet().sym.Variable("data"), 3, name="it")
    assert value_of(cut, data).shape == (2 * 2 * 3, 16, 3)
    np.testing.assert_array_equal(value_of(windows.join(cut, 3, name="it"), data), data)


def test_a_window_is_no_larger_than_the_map_and_then_not_shifted() -> None:
    assert Windows.fit((4, 9), 7, shifted=True) == Windows((4, 9), (4, 7), (0, 3))
    assert Windows.fit((7, 14), 7, shifted=True) == Windows((7, 14), (7, 7), (0, 3))
    assert Windows.fit((8, 8), 4, shifted=False) == Windows((8, 8), (4, 4), (0, 0))


def test_no_constant_is_a_parameter() -> None:
    graph = small_graph((64, 64), window=4)
    names = [name for name in graph.parameters() if "relative_position" not in name]
    kinds = {name.rpartition("_")[2] for name in names}
    assert kinds == {"weight", "bias", "gamma", "beta", "mean", "var"}
    tables = [name for name in graph.parameters() if name.endswith("_relative_position_bias_table")]
    assert len(tables) == 4


def test_faces_go_around_blocks_more_often_the_deeper_and_only_in_training() -> None:
    graph = small_graph((32, 32), drop_path=0.3, depths=(1, 2, 1))
    rates = {node.name: float(node.attrs["p"]) for node in graph.nodes if node.op == "Dropout"}
    assert rates == pytest.approx(
        {
            "stage2_block1_drop1": 0.1, "stage2_block1_drop2": 0.1, "stage2_block2_drop1": 0.2,
            "stage2_block2_drop2": 0.2, "stage3_block1_drop1": 0.3, "stage3_block1_drop2": 0.3,
        }
    )  # fmt: skip
    params, data = random_params(graph, (3, 32, 32)), images(40, 32)
    inner = graph.select(["stage3_block1_drop1_output"])
    for engine in (MXNetTraining, TorchTraining):
        training = engine(inner, {name: params[name] for name in inner.parameters()}, data)
        [idle], [dropped] = training.outputs(), training.outputs(train=True)
        gone = (dropped == 0).all(axis=(1, 2, 3))
        assert 3 <= gone.sum() <= 22
        assert np.abs(dropped[~gone]).min(axis=(1, 2, 3)).max() > 0
        assert not (idle == 0).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"data_shape": (3, 112, 112)},
            "data shape (3, 112, 112) is not 3,height,width with both sides multiples of 32",
        ),
        ({"width": 1.2}, "width 1.2: 115 channels can't be shared by 3 heads of attention"),
        ({"width": 0.001}, "width 0.001 leaves no channels (at least 0.010)"),
        ({"depths": ()}, "depths () are not the numbers of blocks of each stage"),
        ({"depths": (2, 0)}, "depths (2, 0) are not the numbers of blocks of each stage"),
        ({"depths": (1,) * 6}, "data shape (3, 224, 224) is not 3,height,width with both sides multiples of 128"),
        ({"window": 1}, "window 1 is not 2 or more"),
        ({"drop_path": 1.0}, "drop_path 1.0 is not within 0..1"),
    ],
)
def test_what_does_not_fit_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        symbols.build("swin_s", **arguments)


def test_pixels_are_normalised_as_for_imagenet() -> None:
    graph = small_graph((32, 32)).select(["data_scaled_output"])
    data = images(2, 32)
    mean, deviation = (np.array(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    [scaled] = MXNetTraining(graph, {}, data).outputs()
    np.testing.assert_allclose(scaled, (data / 255 - mean) / deviation, atol=1e-5)


def test_weights_start_small_and_tell_so_themselves() -> None:
    nodes = {node["name"]: node for node in json.loads(symbols.build("swin_s").tojson())["nodes"]}
    stated = {
        name for name, node in nodes.items() if node.get("attrs", {}).get("__init__") == '["normal", {"sigma": 0.02}]'
    }
    blocks = [f"stage{s}_block{b}" for s, depth in enumerate((2, 2, 18, 2), 1) for b in range(1, depth + 1)]
    layers = (
        "attn_qkv_weight",
        "attn_proj_weight",
        "mlp_fc1_weight",
        "mlp_fc2_weight",
        "attn_relative_position_bias_table",
    )
    wanted = {f"{block}_{layer}" for block in blocks for layer in layers}
    assert stated == wanted | {f"stage{stage}_merge_reduction_weight" for stage in (2, 3, 4)}
