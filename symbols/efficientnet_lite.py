"""EfficientNet-Lite0 (Tan and Le 2019; the Lite variants: Google, 2020): inverted bottlenecks with ReLU6.

Against EfficientNet it has no squeeze-and-excitation, no swish, and its first and last layers keep their width.
"""

from __future__ import annotations

from symbols import heads
from symbols.blocks import Symbol, batch_norm, conv, normalised_input
from symbols.embedding import embedding as embed
from symbols.lazy import mx
from symbols.network import Network

# (expansion, kernel, output channels, blocks, stride of the first) of the stages
STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
FIRST, LAST = 32, 1280
# Channels are multiples of it.
STEP = 8
# TensorFlow's: the published weights know no other.
EPSILON = 1e-3
MOMENTUM = 0.99


def efficientnet_lite(
    *,
    head: str,
    embedding: int,
    data_shape: tuple[int, int, int],
    width: float = 1.0,
    age_bins: heads.Bins = heads.ADIENCE_8,
) -> Symbol:
    """Build an EfficientNet-Lite0; ``width`` multiplies the channels of its stages.

    Padding is the same on all sides. TensorFlow's, which the published weights were trained with, is so where height
    and width are 1 above a multiple of 32 (129, 161, 225).
    """
    if width <= 0:
        raise ValueError(f"width {width} is not above 0")
    body = _relu6(_norm(conv(normalised_input(), FIRST, stride=2, name="stem_conv2d"), "stem"), "stem")
    channels = FIRST
    for stage, (expansion, kernel, filters, blocks, stride) in enumerate(STAGES, start=1):
        wide = _rounded(filters * width)
        for unit in range(1, blocks + 1):
            step = stride if unit == 1 else 1
            name = f"stage{stage}_unit{unit}"
            out = _bottleneck(body, channels, wide, expansion, kernel=kernel, stride=step, name=name)
            same = step == 1 and channels == wide
            body = mx.sym.elemwise_add(body, out, name=f"{name}_plus") if same else out
            channels = wide
    body = _relu6(_norm(conv(body, LAST, kernel=1, name="last_conv2d"), "last"), "last")
    body = mx.sym.Pooling(body, global_pool=True, kernel=(1, 1), pool_type="avg", name="pool1")
    fc1 = embed(body, embedding, version="J", act="relu", side=(1, 1), channels=LAST)
    return heads.attach(head, fc1, age_bins=age_bins)


def _bottleneck(
    data: Symbol, channels: int, filters: int, expansion: int, *, kernel: int, stride: int, name: str
) -> Symbol:
    wide, body = expansion * channels, data
    if expansion > 1:
        body = conv(body, wide, kernel=1, name=f"{name}_expand_conv2d")
        body = _relu6(_norm(body, f"{name}_expand"), f"{name}_expand")
    body = conv(body, wide, kernel=kernel, stride=stride, groups=wide, name=f"{name}_dw_conv2d")
    body = _relu6(_norm(body, f"{name}_dw"), f"{name}_dw")
    return _norm(conv(body, filters, kernel=1, name=f"{name}_project_conv2d"), f"{name}_project")


def _norm(data: Symbol, name: str) -> Symbol:
    return batch_norm(data, name=f"{name}_batchnorm", eps=EPSILON, momentum=MOMENTUM)


def _relu6(data: Symbol, name: str) -> Symbol:
    return mx.sym.clip(data, a_min=0.0, a_max=6.0, name=f"{name}_relu6")


def _rounded(channels: float) -> int:
    """Return the multiple of 8 that is nearest, or the next one if that loses more than a tenth."""
    near = max(STEP, int(channels + STEP / 2) // STEP * STEP)
    return near + STEP if near < 0.9 * channels else near


NETWORK = Network(
    name="efficientnet_lite0",
    builder=efficientnet_lite,
    data_shape=(3, 129, 129),
    embedding=256,
    heads=heads.COMMON,
    arguments={"width": 1.0},
    optimizer="adam",
    lr=1e-3,
    wd=1e-4,
    sides=1,
    paper_params=4_652_008,
    paper_note="with a classifier of 1,000 classes (1,281,000). Without that it has 3,371,008, and so has ours; fc1 "
    "and the heads add 354,919. The 407 million multiply-adds that its authors state are at 224 pixels.",
)
