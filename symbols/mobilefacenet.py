"""MobileFaceNet (Chen et al. 2018, table 1): inverted bottlenecks with PReLU and a global depthwise convolution."""

from __future__ import annotations

from symbols import heads
from symbols.blocks import Symbol, activation, batch_norm, conv, normalised_input
from symbols.embedding import embedding as embed
from symbols.lazy import mx
from symbols.network import Network

# (expansion, output channels, repeats, stride of the first) of the bottlenecks
STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
FIRST, LAST = 64, 512
ACT = "prelu"
SHRINK = 16


def mobilefacenet(
    *, head: str, embedding: int, data_shape: tuple[int, int, int], age_bins: heads.Bins = heads.ADIENCE_8
) -> Symbol:
    """Build a MobileFaceNet with head dex, reg or bins; the map before the embedding is 1/16 of the input."""
    body = _unit(normalised_input(), FIRST, name="conv_1", stride=2)
    body = _unit(body, FIRST, name="conv_2_dw", groups=FIRST)
    channels = FIRST
    for stage, (expansion, filters, repeats, stride) in enumerate(STAGES, start=1):
        for unit in range(1, repeats + 1):
            step = stride if unit == 1 else 1
            out = _bottleneck(body, channels, filters, expansion, stride=step, name=f"stage{stage}_unit{unit}")
            same = step == 1 and channels == filters
            body = mx.sym.elemwise_add(body, out, name=f"stage{stage}_unit{unit}_plus") if same else out
            channels = filters
    body = _unit(body, LAST, name="conv_last", kernel=1)
    side = (data_shape[1] // SHRINK, data_shape[2] // SHRINK)
    fc1 = embed(body, embedding, version="GDC", act=ACT, side=side, channels=LAST)
    return heads.attach(head, fc1, age_bins=age_bins)


def _bottleneck(data: Symbol, channels: int, filters: int, expansion: int, *, stride: int, name: str) -> Symbol:
    wide = expansion * channels
    body = _unit(data, wide, name=f"{name}_expand", kernel=1)
    body = _unit(body, wide, name=f"{name}_dw", stride=stride, groups=wide)
    return batch_norm(conv(body, filters, kernel=1, name=f"{name}_project_conv2d"), name=f"{name}_project_batchnorm")


def _unit(data: Symbol, filters: int, *, name: str, kernel: int = 3, stride: int = 1, groups: int = 1) -> Symbol:
    body = conv(data, filters, kernel=kernel, stride=stride, groups=groups, name=f"{name}_conv2d")
    return activation(batch_norm(body, name=f"{name}_batchnorm"), ACT, name=f"{name}_prelu")


NETWORK = Network(
    name="mobilefacenet",
    builder=mobilefacenet,
    embedding=128,
    heads=heads.COMMON,
    paper_params=990_000,
    paper_note="the paper's network for identities without their classifier. With BatchNorm folded into the "
    "convolutions ours without gender and age (13,287) is 993,344; before folding, as counted here, BatchNorm's scales "
    "add 9,920.",
)
