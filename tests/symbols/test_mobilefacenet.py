"""MobileFaceNet: its size against the paper's, and its outputs."""

from __future__ import annotations

import numpy as np

import symbols
from tests.symbols.test_networks import DEX, sizes


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
