"""SSR-Net (Yang et al., IJCAI 2018): two small heterogeneous streams whose features meet stage by stage."""

from __future__ import annotations

from symbols import heads
from symbols.blocks import Symbol, activation, batch_norm, conv, dense, normalised_input, pool
from symbols.lazy import mx
from symbols.network import Network

# Window that brings each stage's map to a sixteenth of the input (4x4 at 64x64), coarse (deep) stage first.
STAGE_WINDOWS = {4: 2, 2: 4, 1: 8}


CHANNELS = (32, 16)
# Channels of a fused feature: 10 in the paper, which head ``ssr`` keeps for its size; the others gain from a few more.
FUSED_CHANNELS = {"dex": 16, "reg": 16, "bins": 16, "ssr": 10}
DROPOUT = 0.2


def ssrnet(
    *,
    head: str,
    embedding: int,
    data_shape: tuple[int, int, int],
    width: float = 1.0,
    dropout: float = DROPOUT,
    age_bins: heads.Bins = heads.ADIENCE_8,
) -> Symbol:
    """Build SSR-Net with head ``dex``, ``ssr``, ``reg`` or ``bins``.

    Stream one is conv-BN-relu with average pooling, stream two conv-BN-tanh with max pooling, each of four
    convolutions. The maps after the 4th, 2nd and 1st go through a 1x1 convolution, are pooled to a sixteenth of the
    input and multiplied: three fused features, deepest first. Together they make ``fc1``; the answers read its relu,
    head ``ssr`` also each fused feature. Normalisation layers, padding and the shared ``fc1`` are ours.
    ``width`` multiplies the paper's channels; at 1 head ``ssr`` has the paper's size (under 0.32 MB).

    The paper trains a network for the age and another for the gender; ``agegender.graph.learned`` cuts ours down to one
    output (``train.py --task``). Head ``ssr`` then has 44,253 learned numbers and 384 statistics for the age, where the
    authors' has 40,915 in all: its stages read 160 features of the product each by 12 numbers, theirs 160 or 90 of
    either stream by 3 (+3,914), and its convolutions have no bias before BatchNorm (-192). The authors' gender is
    regressed from 0 to 1 by the same stages; ours stays a softmax of two, as every network's is (docs/formats.md).

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
    return heads.ssr(fc1, active, stages) if head == "ssr" else heads.attach(head, fc1, active, age_bins=age_bins)


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


NETWORK = Network(
    name="ssrnet",
    builder=ssrnet,
    data_shape=(3, 64, 64),
    embedding=64,
    heads=("dex", "ssr", "reg", "bins"),
    arguments={"width": 1.0, "dropout": DROPOUT},
    optimizer="adam",
    lr=1e-3,
    wd=1e-4,
    paper_params=40_900,
    paper_head="ssr",
    paper_note="the paper's network for age alone. Ours for age alone (--task age) has 44,253, as its stages are made "
    "otherwise; gender (130) and the embedding fc1 (30,912) come besides. At 4 bytes each all are within the paper's "
    "0.32 MB.",
)
