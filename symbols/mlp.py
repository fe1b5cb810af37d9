"""A residual multilayer perceptron on the embedding that another net, a face recogniser, has made of a face."""

from __future__ import annotations

from symbols import heads
from symbols.blocks import Symbol, activation, batch_norm, dense
from symbols.lazy import mx
from symbols.network import Network

UNITS = 512
ACT = "relu"


def mlp(
    *,
    head: str,
    embedding: int,
    data_shape: tuple[int, int, int],
    width: float = 1.0,
    depth: int = 3,
    dropout: float = 0.3,
    age_bins: heads.Bins = heads.ADIENCE_8,
) -> Symbol:
    """Build the perceptron: ``data`` (N,n,1,1) float32, an embedding of any n, of any scale.

    The first BatchNorm brings every number to mean 0 and deviation 1, so that it makes no difference whether the
    embeddings were normalised to length 1. A dense layer of 512 * ``width`` units follows, then ``depth`` residual
    blocks (He et al. 2016, with the activation before the layer): BatchNorm, relu, dropout, dense, and again, added to
    what came in. Kim's blocks (2021, arXiv 2108.08186), for the same task, have the relu behind the dense layer.
    Raises ValueError where ``width`` leaves no units, ``depth`` is negative or ``dropout`` no share.
    """
    units = int(UNITS * width)
    if units < 1:
        raise ValueError(f"width {width} leaves no units (at least {1 / UNITS:g})")
    if depth < 0:
        raise ValueError(f"depth {depth} is not 0 or more")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout {dropout} is not within 0..1")
    flat = mx.sym.flatten(mx.sym.Variable("data"), name="data_flat")
    body = dense(batch_norm(flat, name="data_bn", fix_gamma=True), units, name="stem")
    for block in range(1, depth + 1):
        inner = _layer(body, units, dropout=dropout, name=f"block{block}_1")
        inner = _layer(inner, units, dropout=dropout, name=f"block{block}_2")
        body = mx.sym.elemwise_add(body, inner, name=f"block{block}_plus")
    body = activation(batch_norm(body, name="last_bn"), ACT, name="last_relu")
    fc1 = batch_norm(dense(body, embedding, name="pre_fc1"), fix_gamma=True, name="fc1")
    return heads.attach(head, fc1, age_bins=age_bins)


def _layer(data: Symbol, units: int, *, dropout: float, name: str) -> Symbol:
    body = activation(batch_norm(data, name=f"{name}_bn"), ACT, name=f"{name}_relu")
    if dropout:
        body = mx.sym.Dropout(body, p=dropout, name=f"{name}_dropout")
    return dense(body, units, name=f"{name}_fc")


NETWORK = Network(
    name="mlp",
    builder=mlp,
    data_shape=(512, 1, 1),
    embedding=128,
    heads=heads.COMMON,
    arguments={"width": 1.0, "depth": 3, "dropout": 0.3},
    optimizer="adam",
    lr=1e-3,
    wd=1e-4,
    image=False,
)
