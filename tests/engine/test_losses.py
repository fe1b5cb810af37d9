from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agegender.engine.config import TrainConfig
from agegender.engine.losses import AGE_SIGMA, EXPECTATION_WEIGHT, MEAN_WEIGHT, VARIANCE_WEIGHT, training_graph
from agegender.errors import UsageError
from agegender.executor.mxnet_runtime import load_mxnet

Array = npt.NDArray[Any]
LABELS = np.array([[0, 30], [1, -1], [-1, 0], [-1, -1], [1, 100]], np.float32)
GENDER_KNOWN = np.array([1, 1, 0, 0, 1], bool)
AGE_KNOWN = np.array([1, 0, 1, 0, 1], bool)


def run(network: str, config: TrainConfig, labels: Array = LABELS) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return outputs of all internals that matter, and gradients, for one batch of the tiny network."""
    mx = load_mxnet()
    graph = training_graph(mx.sym.load_json(network), config)
    rng = np.random.default_rng(3)
    shapes = {"image": (len(labels), 16, 16, 3), "softmax_label": labels.shape}
    types = {"image": np.uint8, "softmax_label": np.float32}
    executor = graph.symbol.simple_bind(mx.cpu(), type_dict=types, **shapes)
    for name in executor.arg_dict:
        if name not in ("image", "softmax_label"):
            executor.arg_dict[name][:] = rng.normal(0, 0.4, executor.arg_dict[name].shape)
    executor.arg_dict["image"][:] = rng.integers(0, 255, (len(labels), 16, 16, 3)).astype(np.uint8)
    executor.arg_dict["softmax_label"][:] = labels
    loss, gender, age = (array.asnumpy() for array in executor.forward(is_train=True))
    executor.backward()
    inputs = {name: array for name, array in executor.arg_dict.items() if name not in ("softmax_label",)}
    watched = mx.sym.load_json(network).get_internals()["age_softmax_output"]
    data = executor.arg_dict["image"].astype(np.float32).transpose((0, 3, 1, 2))
    arguments = {name: inputs[name] for name in watched.list_arguments() if name != "data"}
    ages = watched.bind(mx.cpu(), {**arguments, "data": data}).forward(is_train=False)[0].asnumpy()
    outputs = {"loss": loss, "gender": gender, "age": age, "ages": ages}
    return outputs, {name: array.asnumpy() for name, array in executor.grad_dict.items() if array is not None}


def expected_gender(outputs: dict[str, Array], smoothing: float = 0.0) -> Array:
    log = np.log(outputs["gender"])
    own = -log[np.arange(len(LABELS)), LABELS[:, 0].clip(0).astype(int)]
    loss = (1 - smoothing) * own - smoothing * log.mean(axis=1)
    return loss * GENDER_KNOWN / GENDER_KNOWN.sum()


def expected_age(outputs: dict[str, Array], kind: str) -> Array:
    age, years = outputs["age"][:, 0], np.arange(101)
    off = np.abs(age - LABELS[:, 1])
    if kind == "mae":
        loss = off
    elif kind == "mse":
        loss = (off / 10) ** 2
    elif kind in ("ce", "meanvar"):
        loss = -np.log(outputs["ages"])[np.arange(len(LABELS)), LABELS[:, 1].clip(0).astype(int)]
        if kind == "meanvar":
            variance = (outputs["ages"] * (years - age[:, None]) ** 2).sum(axis=1)
            loss += MEAN_WEIGHT * off**2 + VARIANCE_WEIGHT * variance
    else:
        target = np.exp(-0.5 * ((years - LABELS[:, 1:2]) / AGE_SIGMA) ** 2)
        target /= target.sum(axis=1, keepdims=True)
        divergence = np.where(target > 0, target * np.log(np.maximum(target, 1e-300) / outputs["ages"]), 0)
        loss = divergence.sum(axis=1) + EXPECTATION_WEIGHT * off
    return loss * AGE_KNOWN / AGE_KNOWN.sum()


@pytest.mark.parametrize("kind", ["ce", "dldl", "meanvar", "mae", "mse"])
def test_loss_is_the_mean_over_known_labels(
    make_network: Callable[..., str], configure: Callable[..., TrainConfig], kind: str
) -> None:
    network = make_network(batch_norm=False, dropout=False)
    outputs, _ = run(network, configure(age_loss=kind, age_weight=0.5))
    expected = expected_gender(outputs) + 0.5 * expected_age(outputs, kind)
    np.testing.assert_allclose(outputs["loss"], expected, rtol=2e-5)
    assert outputs["loss"][3] == 0


def test_label_smoothing_spreads_the_gender(
    make_network: Callable[..., str], configure: Callable[..., TrainConfig]
) -> None:
    config = configure(task="gender", label_smoothing=0.2)
    outputs, _ = run(make_network(batch_norm=False, dropout=False), config)
    np.testing.assert_allclose(outputs["loss"], expected_gender(outputs, 0.2), rtol=2e-5)


def test_faces_without_labels_do_not_move_anything(
    make_network: Callable[..., str], configure: Callable[..., TrainConfig]
) -> None:
    network = make_network(batch_norm=False, dropout=False)
    outputs, gradients = run(network, configure(), np.full((5, 2), -1, np.float32))
    np.testing.assert_array_equal(outputs["loss"], 0)
    for name, gradient in gradients.items():
        if name not in ("image", "softmax_label"):
            np.testing.assert_array_equal(gradient, 0, err_msg=name)


def test_gradient_is_that_of_the_mean_whatever_the_share_of_known_labels(
    make_network: Callable[..., str], configure: Callable[..., TrainConfig]
) -> None:
    network = make_network(batch_norm=False, dropout=False)
    _, some = run(network, configure(task="age"), np.array([[0, 30], [1, -1], [0, -1], [0, -1], [1, -1]], np.float32))
    _, one = run(network, configure(task="age"), np.array([[-1, 30]], np.float32))
    np.testing.assert_allclose(some["age_logits_bias"], one["age_logits_bias"], atol=1e-6)


@pytest.mark.parametrize(
    ("task", "frozen"),
    [
        ("both", ()),
        ("age", ("gender_logits_weight", "gender_logits_bias")),
        ("gender", ("age_logits_weight", "age_logits_bias")),
    ],
)
def test_parameters_that_no_loss_reaches_are_frozen(
    make_network: Callable[..., str], configure: Callable[..., TrainConfig], task: str, frozen: tuple[str, ...]
) -> None:
    graph = training_graph(load_mxnet().sym.load_json(make_network()), configure(task=task))
    assert set(graph.frozen) == set(frozen)


def test_softmax_losses_need_a_softmax_over_ages(configure: Callable[..., TrainConfig]) -> None:
    mx = load_mxnet()
    fc1 = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc1")
    gender = mx.sym.softmax(mx.sym.FullyConnected(fc1, num_hidden=2, name="gender_logits"), name="gender_softmax")
    network = mx.sym.Group([fc1, gender, mx.sym.FullyConnected(fc1, num_hidden=1, name="age")])
    assert training_graph(network, configure(age_loss="mae")).frozen == ()
    with pytest.raises(UsageError, match=r"age_loss 'dldl' needs a softmax over ages, .* \(mae, mse\)"):
        training_graph(network, configure(age_loss="dldl"))


def test_head_ssr_refuses_softmax_losses_at_once() -> None:
    with pytest.raises(UsageError, match="age_loss 'ce' needs a softmax over ages, which head 'ssr' has not"):
        TrainConfig(head="ssr", age_loss="ce")
