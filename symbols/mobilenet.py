"""MobileNet (Howard et al. 2017) for faces: depthwise separable convolutions, insightface's arrangement."""

from __future__ import annotations

from symbols import heads
from symbols.blocks import Symbol, activation, batch_norm, conv, normalised_input
from symbols.embedding import embedding as embed
from symbols.network import Network

# (output channels in multiples of the base, stride) of the blocks conv_2 .. conv_14
BLOCKS = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1))
BASE_FILTERS = 32
ACT = "relu"


def mobilenet(
    *,
    head: str,
    embedding: int,
    data_shape: tuple[int, int, int],
    width: float = 1.0,
    version_input: int = 1,
    version_output: str = "GAP",
    age_bins: heads.Bins = heads.ADIENCE_8,
) -> Symbol:
    """Build a MobileNet; names of nodes and parameters are insightface's, so that its backbones can seed ours.

    ``width`` multiplies the channels. The first convolution keeps the size with ``version_input`` 1 (112x112 input) and
    halves it with 0 (224x224); the blocks divide by 16. ``version_output`` as in ``embedding``.
    Raises ValueError for a version that does not exist and for a width that leaves no channels.
    """
    base = int(BASE_FILTERS * width)
    if base < 1:
        raise ValueError(f"width {width} leaves no channels (at least {1 / BASE_FILTERS})")
    if version_input not in (0, 1):
        raise ValueError(f"unknown version_input {version_input!r} (0 = first stride 2, 1 = first stride 1)")
    body = _block(normalised_input(), base, name="conv_1", stride=1 if version_input == 1 else 2)
    channels = base
    for number, (multiple, stride) in enumerate(BLOCKS, start=2):
        body = _block(body, channels, name=f"conv_{number}_dw", stride=stride, groups=channels)
        channels = multiple * base
        body = _block(body, channels, name=f"conv_{number}", kernel=1)
    shrink = 16 if version_input == 1 else 32
    side = (-(-data_shape[1] // shrink), -(-data_shape[2] // shrink))
    fc1 = embed(body, embedding, version=version_output, act=ACT, side=side, channels=channels)
    return heads.attach(head, fc1, age_bins=age_bins)


def _block(data: Symbol, filters: int, *, name: str, kernel: int = 3, stride: int = 1, groups: int = 1) -> Symbol:
    body = conv(data, filters, kernel=kernel, stride=stride, groups=groups, name=f"{name}_conv2d")
    return activation(batch_norm(body, name=f"{name}_batchnorm"), ACT, name=f"{name}_relu")


NETWORK = Network(
    name="m50",
    builder=mobilenet,
    embedding=256,
    heads=heads.COMMON,
    arguments={"width": 1.0, "version_input": 1, "version_output": "GAP"},
    paper_params=4_200_000,
    paper_macs=569_000_000,
    paper_note="MobileNet at 224x224 with a classifier of 1,000 classes. Without that (1,025,000) it has 3.2M, and so "
    "has ours without embedding and heads: 3,206,976. Our first convolution has stride 1, so that 112x112 makes maps "
    "of the same size: 567.7M multiply-adds in the convolutions of both.",
)
