"""Losses of ages that are bins or estimates: both engines alike, and as written out in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agegender.engine import TrainConfig
from agegender.engine.backend import open_backend
from agegender.engine.losses import AGE_SIGMA, EXPECTATION_WEIGHT, MEAN_WEIGHT, VARIANCE_WEIGHT
from agegender.engine.torch_losses import losses
from agegender.pipeline import LoaderConfig
from agegender.pipeline.batch import Batch

Configure = Callable[..., TrainConfig]
Build = Callable[..., str]
Array = npt.NDArray[Any]
SIDE = 16
LOSSES = ("dldl", "ce", "meanvar", "mae", "mse")
# A bin, an exact age, an estimate, none, the last bin, the first, a bin of one year, a bin and no gender.
LABELS = np.array(
    [
        *([0, 28, 25, 32, -1], [1, 40, -1, -1, -1], [1, 33, -1, -1, 4.5], [0, -1, -1, -1, -1]),
        *([1, 80, 60, 100, -1], [0, 1, 0, 2, -1], [1, 7, 7, 7, -1], [-1, 5, 4, 6, -1]),
    ],
    np.float32,
)


def batch(labels: Array, *, binned: bool) -> Batch:
    rows = len(labels)
    data = np.random.default_rng(5).integers(0, 256, (rows, SIDE, SIDE, 3), dtype=np.uint8)
    places = np.arange(rows)
    return Batch(data=data, labels=labels.copy(), keys=places, positions=places, valid=rows, binned=binned)


def step(network: str, config: TrainConfig, engine: str, labels: Array) -> tuple[list[Array], dict[str, Array]]:
    """Return what one step computes, and the parameters after it."""
    chosen = TrainConfig(**{**vars(config), "engine": engine})
    binned = labels.shape[1] == 5
    with open_backend(chosen, network) as backend:
        module = backend.trainable(
            LoaderConfig(), rows=len(labels), size=(SIDE, SIDE), label_width=labels.shape[1]
        )  # fmt: skip
        rng = np.random.default_rng(1)
        initial = {
            name: rng.normal(0, 0.4, array.shape).astype(np.float32)
            for name, array in sorted(module.initialise(seed=3).items())
        }
        module.set_parameters(initial)
        module.start_optimizer("sgd", momentum=0.0, wd=0.0)
        results = module.step(batch(labels, binned=binned), lr=0.01, seed=0).read()
        return list(results), module.parameters()


@pytest.mark.parametrize("age_loss", LOSSES)
def test_both_engines_agree_on_bins(make_network: Build, configure: Configure, age_loss: str) -> None:
    network = make_network(batch_norm=False, dropout=False)
    (one, first), (other, second) = (
        step(network, configure(age_loss=age_loss, label_smoothing=0.1), engine, LABELS)
        for engine in ("mxnet", "torch")
    )
    for mine, theirs in zip(one, other):
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-5)
    for name, array in first.items():
        np.testing.assert_allclose(array, second[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ["mxnet", "torch"])
@pytest.mark.parametrize("age_loss", LOSSES)
def test_without_bins_five_labels_are_two(
    make_network: Build, configure: Configure, age_loss: str, engine: str
) -> None:
    network, config = make_network(batch_norm=False, dropout=False), configure(age_loss=age_loss)
    exact = LABELS.copy()
    exact[:, 2:] = -1
    (wide, _), (plain, _) = (step(network, config, engine, labels) for labels in (exact, exact[:, :2]))
    for mine, theirs in zip(wide, plain):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)


def expected(probability: Array, label: Array, kind: str) -> float:
    """Return the loss of one face, year by year."""
    years = np.arange(101)
    _, age, low, high, std = label.tolist()
    low, high = (age, age) if low < 0 else (low, high)
    mean = float((probability * years).sum())
    off = max(low - mean, mean - high, 0.0)
    if kind == "mae":
        return off
    if kind == "mse":
        return (off / 10) ** 2
    if kind == "dldl":
        sigma = std if std > 0 else AGE_SIGMA
        gaps = [0 if low <= year <= high else min(abs(year - low), abs(year - high)) for year in years]
        target = np.exp(-0.5 * (np.array(gaps) / sigma) ** 2)
        target /= target.sum()
        return float((target * np.log(np.maximum(target, 1e-300) / probability)).sum()) + EXPECTATION_WEIGHT * off
    inside = [year for year in years if low <= year <= high]
    entropy = float(-np.log(probability[inside]).mean())
    spread = float((probability * (years - mean) ** 2).sum())
    return entropy if kind == "ce" else entropy + MEAN_WEIGHT * off**2 + VARIANCE_WEIGHT * spread


@pytest.mark.parametrize("age_loss", LOSSES)
def test_the_losses_are_what_they_say(configure: Configure, age_loss: str) -> None:
    import torch

    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (len(LABELS), 101)).astype(np.float32)
    probability = np.exp(logits.astype(np.float64))
    probability /= probability.sum(axis=1, keepdims=True)
    outputs = {
        "age_logits_output": torch.from_numpy(logits),
        "age_output": torch.from_numpy((probability * np.arange(101)).sum(axis=1, keepdims=True).astype(np.float32)),
    }
    config = configure(age_loss=age_loss, task="age", age_weight=1.0)
    found = losses(outputs, torch.from_numpy(LABELS), config, count=lambda known: known).numpy()
    wanted = [
        expected(own, label, age_loss) if label[1] >= 0 else 0.0 for own, label in zip(probability, LABELS)
    ]  # fmt: skip
    np.testing.assert_allclose(found, np.array(wanted) / (LABELS[:, 1] >= 0).sum(), rtol=2e-4, atol=1e-6)


def test_within_a_bin_a_prediction_costs_nothing(configure: Configure) -> None:
    import torch

    age = torch.tensor([[60.0], [99.0], [55.0]])
    labels = torch.tensor([[-1.0, 80, 60, 100, -1]] * 3)
    config = configure(age_loss="mae", task="age", age_weight=1.0)
    found = losses({"age_output": age}, labels, config, count=lambda known: known)
    assert found.tolist() == pytest.approx([0.0, 0.0, 5 / 3])
