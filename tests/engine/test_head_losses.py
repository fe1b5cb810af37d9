"""Losses of heads bins and reg: both engines alike, and as written out in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agegender.engine import TrainConfig
from agegender.engine.backend import open_backend
from agegender.engine.torch_losses import losses
from agegender.errors import UsageError
from agegender.pipeline import LoaderConfig
from agegender.pipeline.batch import Batch
from symbols import heads
from symbols.blocks import dense, normalised_input

Configure = Callable[..., TrainConfig]
Array = npt.NDArray[Any]
SIDE = 8
BINS = "0-2,4-6,8-12,25-32,60-100"
# (label, the bin that it is learned as): within a bin, at its ends, in gaps, halfway, over the last, unknown ...
EXACT = [
    *(([0, 1, -1, -1, -1], 0), ([1, 2, -1, -1, -1], 0), ([0, 4, -1, -1, -1], 1), ([1, 7, -1, -1, -1], 1)),
    *(([0, 3, -1, -1, -1], 0), ([1, 18, -1, -1, -1], 2), ([0, 19, -1, -1, -1], 3), ([1, 46, -1, -1, -1], 3)),
    *(([0, 47, -1, -1, -1], 4), ([-1, 100, -1, -1, -1], 4), ([1, -1, -1, -1, -1], None)),
]
# ... a labelled bin that is one of the net's, one of another set, an estimate.
BINNED = [([0, 80, 60, 100, -1], 4), ([1, 5, 4, 6, -1], 1), ([1, 24, 20, 29, -1], 3), ([0, 11, -1, -1, 3.5], 2)]


def network(head: str) -> str:
    fc1 = dense(normalised_input(), 5, name="fc1")
    bins = tuple((int(first), int(last)) for first, _, last in (each.partition("-") for each in BINS.split(",")))
    text: str = heads.attach(head, fc1, age_bins=bins).tojson()
    return text


def step(head: str, config: TrainConfig, labels: Array) -> tuple[list[Array], dict[str, Array]]:
    """Return what one step computes, and the parameters after it."""
    rows = len(labels)
    with open_backend(config, network(head)) as backend:
        module = backend.trainable(LoaderConfig(), rows=rows, size=(SIDE, SIDE), label_width=labels.shape[1])
        rng = np.random.default_rng(1)
        names = sorted(module.initialise(seed=3).items())
        module.set_parameters({name: rng.normal(0, 0.3, array.shape).astype(np.float32) for name, array in names})
        module.start_optimizer("sgd", momentum=0.0, wd=0.0)
        data = np.random.default_rng(5).integers(0, 256, (rows, SIDE, SIDE, 3), dtype=np.uint8)
        places = np.arange(rows)
        batch = Batch(
            data=data, labels=labels.copy(), keys=places, positions=places, valid=rows, binned=labels.shape[1] == 5
        )
        results = module.step(batch, lr=0.01, seed=0).read()
        return list(results), module.parameters()


@pytest.mark.parametrize(
    ("head", "age_loss", "width"),
    [
        *(("bins", "ce", 2), ("bins", "ce", 5), ("bins", "mae", 5)),
        *(("reg", "mae", 5), ("reg", "mse", 2)),
    ],
)
def test_both_engines_agree(configure: Configure, head: str, age_loss: str, width: int) -> None:
    labels = np.array([label for label, _ in EXACT + BINNED * (width == 5)], np.float32)[:, :width]
    found = [
        step(
            head,
            configure(
                head=head,
                age_bins=BINS if head == "bins" else None,
                age_loss=age_loss,
                label_smoothing=0.1,
                engine=engine,
            ),
            labels,
        )
        for engine in ("mxnet", "torch")
    ]
    (one, first), (other, second) = found
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-5)
    for name, array in first.items():
        np.testing.assert_allclose(array, second[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("width", [2, 5])
def test_an_age_is_learned_as_the_bin_it_is_in_or_nearest_to(
    configure: Configure, smoothing: float, width: int
) -> None:
    import torch

    faces = EXACT + BINNED * (width == 5)
    labels = np.array([label for label, _ in faces], np.float32)[:, :width]
    logits = np.random.default_rng(2).normal(0, 2, (len(faces), 5)).astype(np.float32)
    log = np.log(np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum(axis=1, keepdims=True))
    wanted = [
        0.0 if place is None else -(1 - smoothing) * row[place] - smoothing * row.mean()
        for row, (_, place) in zip(log, faces, strict=True)
    ]
    known = sum(place is not None for _, place in faces)
    config = configure(head="bins", age_bins=BINS, age_loss="ce", task="age", label_smoothing=smoothing)
    outputs = {"age_logits_output": torch.from_numpy(logits), "age_output": torch.zeros(len(faces), 1)}
    found = losses(outputs, torch.from_numpy(labels), config, count=lambda counts: counts).numpy()
    np.testing.assert_allclose(found, np.array(wanted) / known, rtol=1e-5, atol=1e-7)


def test_reg_costs_the_error_in_years_or_its_square_in_decades(configure: Configure) -> None:
    labels = np.array([[0, 20], [1, 61], [1, -1]], np.float32)
    costs = {}
    for kind in ("mae", "mse"):
        config = configure(head="reg", age_loss=kind, task="age", engine="torch")
        (loss, _, age), _ = step("reg", config, labels)
        costs[kind] = loss
        off = np.abs(age[:2, 0] - labels[:2, 1])
        np.testing.assert_allclose(loss[:2], (off if kind == "mae" else (off / 10) ** 2) / 2, rtol=1e-5)
        assert loss[2] == 0
        # Random weights, and yet about where people are.
        assert (np.abs(age - 35) < 25).all()
    assert not math.isclose(costs["mae"].sum(), costs["mse"].sum())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"head": "reg", "age_loss": "ce"},
            r"age_loss 'ce' needs a softmax over ages, which head 'reg' .*\(mae, mse\)",
        ),
        (
            {"head": "bins", "age_loss": "dldl"},
            r"age_loss 'dldl' needs a softmax over single years, which head 'bins' has not \(ce, mae, mse\)",
        ),
        ({"head": "dex", "age_bins": "adience8"}, "age_bins adience8 is for head 'bins', not for 'dex'"),
        ({"age_bins": "adience13"}, "age_bins 'adience13' is neither adience8 nor adience12"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig(**values)
