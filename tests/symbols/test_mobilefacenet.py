"""MobileFaceNet: its size against the paper's, its outputs, and the same answers on every executor."""

from __future__ import annotations

import numpy as np

import symbols
from tests.symbols.test_networks import DEX, bound, sizes


def test_the_backbone_has_the_papers_size() -> None:
    symbol = symbols.build("mobilefacenet")
    trained, kept, shapes = sizes(symbol, (5, 3, 112, 112))
    assert symbol.list_outputs() == DEX
    assert [shapes[name] for name in DEX] == [(5, 128), (5, 2), (5, 101), (5, 1)]
    assert trained - (128 + 1) * (2 + 101) == 1_003_264  # without the classifiers of gender and age
    assert kept == 19_584


def test_the_folded_backbone_has_the_papers_size() -> None:
    """Chen et al. (2018) name 0.99 million: weights, slopes, and one bias per channel where BatchNorm is folded in."""
    symbol = symbols.build("mobilefacenet")
    shapes, _, _ = symbol.infer_shape(data=(1, 3, 112, 112))
    counted = {n: int(np.prod(s)) for n, s in zip(symbol.list_arguments(), shapes) if "logits" not in n}
    endings = ("_weight", "_beta", "_prelu_gamma")
    assert sum(count for name, count in counted.items() if name.endswith(endings)) == 993_344


def test_age_is_the_expectation_of_its_softmax() -> None:
    executor = bound(symbols.build("mobilefacenet", data_shape=(3, 64, 64)), (2, 3, 64, 64))
    executor.forward(is_train=False)
    _, gender, probability, age = (output.asnumpy() for output in executor.outputs)
    np.testing.assert_allclose(gender.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(probability @ np.arange(101)[:, None], age, rtol=1e-5)
