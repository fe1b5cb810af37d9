"""SSR-Net (Yang et al., IJCAI 2018): two small heterogeneous streams whose features meet stage by stage."""

from __future__ import annotations

import mxnet as mx

from symbols import heads
from symbols.blocks import Symbol, activation, batch_norm, conv, dense, normalised_input, pool

# Window that brings each stage's map to a sixteenth of the input (4x4 at 64x64), coarse (deep) stage first.
STAGE_WINDOWS = {4: 2, 2: 4, 1: 8}


def ssrnet(*, head: str, embedding: int, data_shape: tuple[int, int, int], width: float | None = None) -> Symbol:
    """Build SSR-Net with head ``dex`` or ``ssr``.

    Stream one is conv-BN-relu with average pooling, stream two conv-BN-tanh with max pooling. After 1, 2 and 4
    convolutions both streams' maps go through a 1x1 convolution, are pooled to a sixteenth of the input and
    multiplied: three fused features, deepest first. They make ``fc1`` together; head ``ssr`` also reads each of them.
    ``width`` multiplies the paper's channels (32 and 16): 1 with head ``ssr``, which then has the paper's size
    (under 0.32 MB), 2 with ``dex``, unless given.
    """
    scale = width if width is not None else (1.0 if head == "ssr" else 2.0)
    data = normalised_input()
    one = _stream(data, max(8, round(32 * scale)), name="stream1", act="relu", pooling="avg")
    two = _stream(data, max(8, round(16 * scale)), name="stream2", act="tanh", pooling="max")
    filters = max(4, round(10 * scale))
    stages = [
        _fuse(one[depth], two[depth], filters, window=window, name=f"stage{number}")
        for number, (depth, window) in enumerate(STAGE_WINDOWS.items(), start=1)
    ]
    joined = mx.sym.concat(*stages, dim=1, name="fused")
    fc1 = batch_norm(dense(joined, embedding, name="pre_fc1"), fix_gamma=True, name="fc1")
    return heads.ssr(fc1, stages) if head == "ssr" else heads.dex(fc1)


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
