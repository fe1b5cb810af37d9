"""Layers that several networks are made of. Every node gets a name: the same network is the same JSON, always."""

from __future__ import annotations

from typing import Any

from symbols.lazy import mx

Symbol = Any  # mxnet 1.9 carries no types

BN_MOMENTUM = 0.9
BN_EPSILON = 2e-5  # insightface's; cuDNN takes nothing below 1e-5


def normalised_input() -> Symbol:
    """Return ``data`` (N,3,H,W) float32 RGB 0..255 brought to about -1..1, as a part of the graph."""
    data = mx.sym.Variable("data")
    centred = mx.sym._internal._minus_scalar(data, scalar=127.5, name="data_centred")
    return mx.sym._internal._mul_scalar(centred, scalar=0.0078125, name="data_scaled")


def conv(
    data: Symbol,
    filters: int,
    *,
    name: str,
    kernel: int = 3,
    stride: int = 1,
    pad: int | None = None,
    groups: int = 1,
    bias: bool = False,
) -> Symbol:
    """Convolve with a square kernel; ``pad`` defaults to what keeps the size at stride 1. No bias unless asked."""
    pad = kernel // 2 if pad is None else pad
    return mx.sym.Convolution(
        data,
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        num_group=groups,
        no_bias=not bias,
        name=name,
    )


def batch_norm(
    data: Symbol, *, name: str, fix_gamma: bool = False, eps: float = BN_EPSILON, momentum: float = BN_MOMENTUM
) -> Symbol:
    """Normalise per channel over the batch; running averages serve at inference."""
    return mx.sym.BatchNorm(data, fix_gamma=fix_gamma, eps=eps, momentum=momentum, name=name)


def activation(data: Symbol, kind: str, *, name: str) -> Symbol:
    """Apply ``relu``, ``tanh``, ``sigmoid`` ... or ``prelu`` (one learned slope per channel, ``<name>_gamma``)."""
    if kind == "prelu":
        return mx.sym.LeakyReLU(data, act_type="prelu", name=name)
    return mx.sym.Activation(data, act_type=kind, name=name)


def dense(data: Symbol, units: int, *, name: str) -> Symbol:
    """Apply a fully connected layer with bias; maps are flattened in C,H,W order."""
    return mx.sym.FullyConnected(data, num_hidden=units, name=name)


def pool(
    data: Symbol,
    kernel: int,
    *,
    name: str,
    kind: str = "max",
    stride: int | None = None,
    pad: int = 0,
    full: bool = False,
) -> Symbol:
    """Pool with a square window (``stride`` = ``kernel`` unless given).

    ``full`` rounds the output size up, as Caffe does; otherwise it is rounded down.
    """
    stride = kernel if stride is None else stride
    return mx.sym.Pooling(
        data,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        pool_type=kind,
        pooling_convention="full" if full else "valid",
        name=name,
    )
