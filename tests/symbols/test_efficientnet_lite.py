"""EfficientNet-Lite0: its size against the published one, its stages, and what width does."""

from __future__ import annotations

import pytest

import symbols
from tests.symbols.test_networks import DEX, sizes

# Of 1,000 classes on 1,280 channels.
CLASSIFIER = 1_281_000
# fc1 with its bias and its norm, gender and age.
OWN = 1281 * 256 + 2 * 256 + 257 * (2 + 101)


def test_the_backbone_has_the_published_size() -> None:
    """The published net has 4,652,008 parameters (timm's tf_efficientnet_lite0), its classifier among them."""
    symbol = symbols.build("efficientnet_lite0")
    trained, kept, shapes = sizes(symbol, (5, 3, 129, 129))
    assert symbol.list_outputs() == DEX
    assert [shapes[name] for name in DEX] == [(5, 256), (5, 2), (5, 101), (5, 1)]
    assert trained - OWN + CLASSIFIER == 4_652_008
    assert kept == 2 * (21_008 + 256)  # means and variances: the published ones, and fc1's


def test_a_stage_halves_the_map_where_it_should() -> None:
    inner = symbols.build("efficientnet_lite0").get_internals()
    names = [f"stage{stage}_unit1_project_batchnorm_output" for stage in range(1, 8)]
    _, shapes, _ = inner.infer_shape(data=(1, 3, 129, 129))
    found = dict(zip(inner.list_outputs(), shapes))
    assert [found[name][1:3] for name in names] == [
        (16, 65),
        (24, 33),
        (40, 17),
        (80, 9),
        (112, 9),
        (192, 5),
        (320, 5),
    ]


def test_width_keeps_channels_at_multiples_of_eight() -> None:
    """Lite2 is 1.1 times as wide: 24, 48, 88, 120, 208 and 352 channels in the published net."""
    symbol = symbols.build("efficientnet_lite0", width=1.1)
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(1, 3, 129, 129))[0]))
    wide = [shapes[f"stage{stage}_unit1_project_conv2d_weight"][0] for stage in range(1, 8)]
    assert wide == [16, 24, 48, 88, 120, 208, 352]
    assert shapes["stem_conv2d_weight"][0] == 32
    assert shapes["last_conv2d_weight"][:2] == (1280, 352)
    with pytest.raises(ValueError, match="width 0 is not above 0"):
        symbols.build("efficientnet_lite0", width=0)
