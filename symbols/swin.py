"""Swin Transformer (Liu et al. 2021): attention within windows that shift from block to block, on ever smaller maps."""

from __future__ import annotations

from collections.abc import Sequence

from symbols import heads
from symbols.blocks import Symbol, batch_norm, dense
from symbols.lazy import mx
from symbols.network import Network
from symbols.swin_blocks import block, imagenet_input, layer_norm, merge, patches
from symbols.swin_windows import Constants, Windows

PATCH = 4
CHANNELS = 96
# Swin-Small's; Tiny has 2, 2, 6, 2.
DEPTHS = (2, 2, 18, 2)
# All of the paper's have 32 channels for each head of attention: 3, 6, 12 and 24 heads here.
HEAD_CHANNELS = 32
WINDOW = 7
# The paper's for 300 epochs from scratch is 0.3; the same authors fine-tune with less.
DROP_PATH = 0.2


def swin(
    *,
    head: str,
    embedding: int,
    data_shape: tuple[int, int, int],
    width: float = 1.0,
    depths: Sequence[int] = DEPTHS,
    window: int = WINDOW,
    drop_path: float = DROP_PATH,
    age_bins: heads.Bins = heads.ADIENCE_8,
) -> Symbol:
    """Build a Swin for images of ``data_shape``; with the defaults it is Swin-Small.

    ``width`` multiplies the 96 channels of the first stage, ``depths`` are the blocks of each stage (2,2,6,2 is
    Swin-Tiny), ``window`` is the side of a window; a map smaller than that is one window. ``drop_path`` is the
    probability with which a face goes around the last block in training; it grows from 0 at the first. Raises
    ValueError for arguments that don't fit each other.
    """
    channels, blocks = _checked(width, depths, data_shape), sum(depths)
    if window < 2:
        raise ValueError(f"window {window} is not 2 or more")
    if not 0 <= drop_path < 1:
        raise ValueError(f"drop_path {drop_path} is not within 0..1")
    body = patches(imagenet_input(), channels, size=PATCH, name="patch_embed")
    side = (data_shape[1] // PATCH, data_shape[2] // PATCH)
    constants, before = Constants(), 0
    for stage, depth in enumerate(depths, start=1):
        if stage > 1:
            body = merge(body, channels, side, name=f"stage{stage}_merge")
            side, channels = (side[0] // 2, side[1] // 2), 2 * channels
        for unit in range(1, depth + 1):
            body = block(
                body,
                channels,
                heads=head_count(channels),
                windows=Windows.fit(side, window, shifted=unit % 2 == 0),
                constants=constants,
                drop_path=drop_path * before / max(1, blocks - 1),
                name=f"stage{stage}_block{unit}",
            )
            before += 1
    feature = mx.sym.mean(layer_norm(body, name="norm"), axis=(1, 2), name="pool")
    fc1 = batch_norm(dense(feature, embedding, name="pre_fc1"), fix_gamma=True, name="fc1")
    return heads.attach(head, fc1, age_bins=age_bins)


def head_count(channels: int) -> int:
    """Return how many heads of attention share so many channels."""
    return max(1, channels // HEAD_CHANNELS)


def _checked(width: float, depths: Sequence[int], data_shape: tuple[int, int, int]) -> int:
    """Return the channels of the first stage. Raises ValueError, which says what does not fit."""
    channels = round(CHANNELS * width)
    if not depths or min(depths) < 1:
        raise ValueError(f"depths {tuple(depths)} are not the numbers of blocks of each stage")
    if channels < 1:
        raise ValueError(f"width {width} leaves no channels (at least {1 / CHANNELS:.3f})")
    for wide in (channels << stage for stage in range(len(depths))):
        if wide % head_count(wide):
            raise ValueError(f"width {width}: {wide} channels can't be shared by {head_count(wide)} heads of attention")
    shrink = PATCH << (len(depths) - 1)
    if data_shape[1] % shrink or data_shape[2] % shrink:
        raise ValueError(f"data shape {data_shape} is not 3,height,width with both sides multiples of {shrink}")
    return channels


NETWORK = Network(
    name="swin_s",
    builder=swin,
    data_shape=(3, 224, 224),
    embedding=512,
    heads=heads.COMMON,
    arguments={"width": 1.0, "depths": DEPTHS, "window": WINDOW, "drop_path": DROP_PATH},
    optimizer="adam",
    lr=1e-4,
    wd=1e-4,
    sides=PATCH << (len(DEPTHS) - 1),
    paper_params=49_600_000,
    paper_macs=8_700_000_000,
    paper_note="with a classifier of 1,000 classes (769,000). Without that it has 48,837,258, and so has ours; fc1 and "
    "the heads add 447,591.",
)
