"""From the last feature map to the embedding ``fc1``: insightface's output versions, under their letters."""

from __future__ import annotations

from symbols.blocks import Symbol, activation, batch_norm, conv, dense, pool
from symbols.lazy import mx

DROPOUT = 0.4

# letter: (BatchNorm before, dropout, BatchNorm after)
DENSE_VERSIONS = {
    "E": (True, True, True),
    "F": (True, True, False),
    "G": (True, False, False),
    "H": (False, False, False),
    "I": (True, False, True),
    "J": (False, False, True),
    "FC": (True, False, True),
}
VERSION_OUTPUTS = (*DENSE_VERSIONS, "GAP", "GDC")


def embedding(body: Symbol, units: int, *, version: str, act: str, side: tuple[int, int], channels: int) -> Symbol:
    """Return ``fc1`` (N,units) from the map ``body`` (N,channels,h,w), ``side`` = (h, w).

    ``E`` BatchNorm, dropout 0.4, dense, BatchNorm; ``FC`` and ``I`` the same without dropout; ``J`` dense, BatchNorm;
    ``F``, ``G``, ``H`` as E, FC, J but without the last BatchNorm; ``GAP`` BatchNorm, activation ``act``, global
    average, dense, BatchNorm; ``GDC`` a depthwise convolution over the whole map, dense, BatchNorm (MobileFaceNet).
    Raises ValueError for another version.
    """
    if version in DENSE_VERSIONS:
        return _dense(body, units, version=version)
    if version == "GAP":
        body = activation(batch_norm(body, name="bn1"), act, name="relu1")
        body = mx.sym.Pooling(body, global_pool=True, kernel=(7, 7), pool_type="avg", name="pool1")
    elif version == "GDC":
        body = mx.sym.Convolution(
            body, num_filter=channels, num_group=channels, kernel=side, no_bias=True, name="gdc_conv2d"
        )
        body = batch_norm(body, name="gdc_batchnorm")
    else:
        raise ValueError(f"unknown version_output {version!r} ({', '.join(VERSION_OUTPUTS)})")
    body = dense(mx.sym.flatten(body, name="flatten1"), units, name="pre_fc1")
    return batch_norm(body, fix_gamma=True, name="fc1")


def stem(data: Symbol, filters: int, *, version: int, act: str) -> Symbol:
    """Return the first block's map.

    ``version`` 1 convolves 3x3 at full size (for 112x112), 0 convolves 7x7 at stride 2 and pools (for 224x224).
    Raises ValueError for another version.
    """
    if version == 1:
        body = conv(data, filters, name="conv0")
        return activation(batch_norm(body, name="bn0"), act, name="relu0")
    if version == 0:
        body = conv(data, filters, kernel=7, stride=2, name="conv0")
        body = activation(batch_norm(body, name="bn0"), act, name="relu0")
        return pool(body, 3, stride=2, pad=1, name="pool0")
    raise ValueError(f"unknown version_input {version!r} (0 = 7x7 at stride 2 and pooling, 1 = 3x3 at full size)")


def _dense(body: Symbol, units: int, *, version: str) -> Symbol:
    before, dropout, after = DENSE_VERSIONS[version]
    if before:
        body = batch_norm(body, name="bn1")
    if dropout:
        body = mx.sym.Dropout(body, p=DROPOUT, name="bn1_dropout")
    body = dense(body, units, name="pre_fc1" if after else "fc1")
    return batch_norm(body, fix_gamma=True, name="fc1") if after else body
