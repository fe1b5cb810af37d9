"""SSR-Net (Yang et al., IJCAI 2018): two small heterogeneous streams whose features meet stage by stage."""

from __future__ import annotations

import mxnet as mx

from symbols import heads
from symbols.blocks import Symbol, activation, batch_norm, conv, dense, normalised_input, pool

# Window that brings each stage's map to a sixteenth of the input (4x4 at 64x64), coarse (deep) stage first.
STAGE_WINDOWS = {4: 2, 2: 4, 1: 8}


CHANNELS = (32, 16)
# Channels of a fused feature: 10 in the paper, which head ``ssr`` keeps for its size; ``dex`` gains from a few more.
FUSED_CHANNELS = {"dex": 16, "ssr": 10}
DROPOUT = 0.2


def ssrnet(
    *,
    head: str,
    embedding: int,
    data_shape: tuple[int, int, int],
    width: float = 1.0,
    dropout: float = DROPOUT,
) -> Symbol:
    """Build SSR-Net with head ``dex`` or ``ssr``.

    Stream one is conv-BN-relu with average pooling, stream two conv-BN-tanh with max pooling, each of four
    convolutions. The maps after the 4th, 2nd and 1st go through a 1x1 convolution, are pooled to a sixteenth of the
    input and multiplied: three fused features, deepest first. Together they make ``fc1``; the answers read its relu,
    head ``ssr`` also each fused feature. Normalisation layers, padding and the shared ``fc1`` are ours.
    ``width`` multiplies the paper's channels; at 1 head ``ssr`` has the paper's size (under 0.32 MB).
    Raises ValueError where ``width`` leaves no channels or ``dropout`` is no share.
    """
    first, second = (int(channels * width) for channels in CHANNELS)
    filters = int(FUSED_CHANNELS[head] * width)
    if filters < 1 or second < 1:
        raise ValueError(f"width {width} leaves no channels (at least {1 / min(FUSED_CHANNELS.values())})")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout {dropout} is not within 0..1")
    data = normalised_input()
    one = _stream(data, first, name="stream1", act="relu", pooling="avg")
    two = _stream(data, second, name="stream2", act="tanh", pooling="max")
    stages = [
        _fuse(one[depth], two[depth], filters, window=window, name=f"stage{number}")
        for number, (depth, window) in enumerate(STAGE_WINDOWS.items(), start=1)
    ]
    joined = mx.sym.concat(*stages, dim=1, name="fused")
    if dropout:
        joined = mx.sym.Dropout(joined, p=dropout, name="fused_dropout")
    fc1 = batch_norm(dense(joined, embedding, name="pre_fc1"), fix_gamma=True, name="fc1")
    active = activation(fc1, "relu", name="fc1_relu")
    return heads.ssr(fc1, active, stages) if head == "ssr" else heads.dex(fc1, active)


def _stream(data: Symbol, filters: int, *, name: str, act: str, pooling: str) -> dict[int, Symbol]:
    """Return the maps of one stream after its 1st, 2nd and 3rd pooling and after its 4th convolution."""
    maps: dict[int, Symbol] = {}
    for depth in range(1, 5):
        data = conv(data, filters, name=f"{name}_conv{depth}")
        data = activation(batch_norm(data, name=f"{name}_bn{depth}"), act, name=f"{name}_{act}{depth}")
        if depth < 4:
            data = pool(data, 2, kind=pooling, name=f"{name}_pool{depth}")
        maps[depth] = data
    return maps


def _fuse(one: Symbol, two: Symbol, filters: int, *, window: int, name: str) -> Symbol:
    """Return the elementwise product (N, features) of the two streams' reduced maps."""
    first = activation(
        conv(one, filters, kernel=1, bias=True, name=f"{name}_conv_one"), "relu", name=f"{name}_relu_one"
    )
    first = pool(first, window, kind="avg", name=f"{name}_pool_one")
    second = activation(
        conv(two, filters, kernel=1, bias=True, name=f"{name}_conv_two"), "relu", name=f"{name}_relu_two"
    )
    second = pool(second, window, kind="max", name=f"{name}_pool_two")
    return mx.sym.flatten(mx.sym.elemwise_mul(first, second, name=f"{name}_product"), name=f"{name}_fused")
