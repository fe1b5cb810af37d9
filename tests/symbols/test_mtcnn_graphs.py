"""MTCNN's graphs: sizes of the original networks, names, normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symbols  # noqa: F401  first: MXNet needs its numpy alias
from symbols import mtcnn


@pytest.mark.parametrize(
    ("build", "side", "parameters", "outputs"),
    [
        (mtcnn.pnet, 12, 6_632, {"prob_output": (7, 2, 1, 1), "box_output": (7, 4, 1, 1)}),
        (mtcnn.pnet, 49, 6_632, {"prob_output": (7, 2, 20, 20), "box_output": (7, 4, 20, 20)}),
        (mtcnn.rnet, 24, 100_178, {"prob_output": (7, 2), "box_output": (7, 4)}),
        (mtcnn.onet, 48, 389_040, {"prob_output": (7, 2), "box_output": (7, 4), "landmark_output": (7, 10)}),
    ],
)
def test_sizes_are_the_originals(
    build: Callable[[], Any], side: int, parameters: int, outputs: dict[str, tuple[int, ...]]
) -> None:
    symbol = build()
    arguments, shapes, kept = symbol.infer_shape(data=(7, 3, side, side))
    counted = sum(int(np.prod(s)) for n, s in zip(symbol.list_arguments(), arguments) if n != "data")
    assert (counted, kept) == (parameters, [])
    assert dict(zip(symbol.list_outputs(), shapes)) == outputs


def test_parameter_names() -> None:
    assert mtcnn.pnet().list_arguments() == [
        "data", "conv1_weight", "conv1_bias", "prelu1_gamma", "conv2_weight", "conv2_bias", "prelu2_gamma",
        "conv3_weight", "conv3_bias", "prelu3_gamma",
        "conv4_1_weight", "conv4_1_bias", "conv4_2_weight", "conv4_2_bias",
    ]  # fmt: skip
    assert mtcnn.onet().list_arguments()[-9:] == [
        "fc5_weight", "fc5_bias", "prelu5_gamma", "fc6_1_weight", "fc6_1_bias", "fc6_2_weight", "fc6_2_bias",
        "fc6_3_weight", "fc6_3_bias",
    ]  # fmt: skip


def test_input_is_normalised_inside_the_graph() -> None:
    import mxnet as mx

    scaled = mtcnn.rnet().get_internals()["data_scaled_output"]
    executor = scaled.bind(mx.cpu(), {"data": mx.nd.array([[[[0.0, 127.5, 255.0]]]])})
    assert executor.forward()[0].asnumpy().ravel() == pytest.approx([-0.99609375, 0.0, 0.99609375])


def test_prob_is_a_distribution_over_axis_one_at_any_size() -> None:
    import mxnet as mx

    executor = mtcnn.pnet().simple_bind(mx.cpu(), data=(1, 3, 31, 57))
    rng = np.random.default_rng(0)
    for array in executor.arg_dict.values():
        array[:] = rng.normal(0, 0.3, array.shape)
    prob = executor.forward(is_train=False)[0].asnumpy()
    # Caffe's pooling rounds up: (31 - 2) / 2 -> 15, two more convolutions take 2 each.
    assert prob.shape == (1, 2, 11, 24)
    np.testing.assert_allclose(prob.sum(axis=1), 1, atol=1e-5)
