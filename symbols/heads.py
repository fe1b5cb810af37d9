"""Heads: what turns an embedding into a gender and an age. All return the group of outputs of the inference graph."""

from __future__ import annotations

from collections.abc import Sequence

import mxnet as mx

from symbols.blocks import Symbol, activation, dense

AGE_CLASSES = 101
SSR_BINS = 3
SSR_RANGE = 101.0
LAMBDA_LOCAL = 1.0
LAMBDA_D = 1.0
DELTA_LIMIT = 0.5


def dex(fc1: Symbol, feature: Symbol | None = None) -> Symbol:
    """Classify gender in 2 and age in 101 classes; the age is the expectation of its softmax (DEX, Rothe et al. 2015).

    ``fc1`` (N,embedding); ``feature`` is what the classifiers read where that is not ``fc1`` itself. Outputs
    ``fc1_output``, ``gender_softmax_output`` (N,2), ``age_softmax_output`` (N,101), ``age_output`` (N,1) in years. The
    logits are the internals ``gender_logits_output`` and ``age_logits_output``.
    """
    feature = fc1 if feature is None else feature
    probability = mx.sym.softmax(dense(feature, AGE_CLASSES, name="age_logits"), axis=1, name="age_softmax")
    years = mx.sym.arange(start=0, stop=AGE_CLASSES, dtype="float32", name="age_years")
    years = mx.sym.reshape(years, shape=(AGE_CLASSES, 1), name="age_years_column")
    age = mx.sym.dot(probability, years, name="age")
    return mx.sym.Group([fc1, gender(feature), probability, age])


def ssr(fc1: Symbol, feature: Symbol, stages: Sequence[Symbol]) -> Symbol:
    """Regress the age stage by stage, each refining the one before (SSR-Net, Yang et al. 2018).

    Gender is classified from ``feature``. ``stages``: one fused feature (N,...) per stage, coarse to fine. With s = 3
    bins in each stage, p the softmax over a stage's bins, eta = tanh(...) the shift of each bin and delta the scale of
    the stage's bins,

        age = 101 * sum_k [ sum_i p_ki * (i + eta_ki) / prod_{j<=k} (s * (1 + delta_j)) ].

    The paper has delta = tanh(...), so that 1 + delta reaches zero and training from scratch runs into NaN. Here
    delta = 0.5 * tanh(...): the factor stays within 0.5..1.5 whatever the weights are, so that a stage's bins still
    take anything from two thirds to twice their width and neither age nor gradient can blow up. Outputs as ``dex``,
    without ``age_softmax``.
    """
    width: Symbol = None
    parts: list[Symbol] = []
    for number, fused in enumerate(stages, start=1):
        name = f"age_stage{number}"
        hidden = activation(dense(fused, 4 * SSR_BINS, name=f"{name}_fc"), "relu", name=f"{name}_relu")
        probability = mx.sym.softmax(dense(hidden, SSR_BINS, name=f"{name}_logits"), axis=1, name=f"{name}_softmax")
        value = mx.sym.sum(
            mx.sym.elemwise_mul(probability, _bins(hidden, name=name), name=f"{name}_weighted"),
            axis=1,
            keepdims=True,
            name=f"{name}_value",
        )
        scale = _scale(fused, name=name)
        width = scale if width is None else mx.sym.elemwise_mul(width, scale, name=f"{name}_width")
        parts.append(mx.sym.elemwise_div(value, width, name=f"{name}_part"))
    share = mx.sym.add_n(*parts, name="age_share")
    age = mx.sym._internal._mul_scalar(share, scalar=SSR_RANGE, name="age")
    return mx.sym.Group([fc1, gender(feature), age])


def gender(feature: Symbol) -> Symbol:
    """Return ``gender_softmax`` (N,2): the probabilities of female and male."""
    return mx.sym.softmax(dense(feature, 2, name="gender_logits"), axis=1, name="gender_softmax")


def _bins(hidden: Symbol, *, name: str) -> Symbol:
    """Return the places i + eta_i (N,3) of a stage's bins."""
    shift = activation(dense(hidden, SSR_BINS, name=f"{name}_shift_fc"), "tanh", name=f"{name}_shift_tanh")
    shift = mx.sym._internal._mul_scalar(shift, scalar=LAMBDA_LOCAL, name=f"{name}_shift")
    index = mx.sym.arange(start=0, stop=SSR_BINS, dtype="float32", name=f"{name}_index")
    index = mx.sym.reshape(index, shape=(1, SSR_BINS), name=f"{name}_index_row")
    return mx.sym.broadcast_add(shift, index, name=f"{name}_bins")


def _scale(fused: Symbol, *, name: str) -> Symbol:
    """Return s * (1 + lambda_d * delta) (N,1), delta = 0.5 * tanh(...): what a stage divides by, never near zero."""
    delta = activation(dense(fused, 1, name=f"{name}_delta_fc"), "tanh", name=f"{name}_delta_tanh")
    slope = SSR_BINS * LAMBDA_D * DELTA_LIMIT
    scaled = mx.sym._internal._mul_scalar(delta, scalar=slope, name=f"{name}_delta")
    return mx.sym._internal._plus_scalar(scaled, scalar=float(SSR_BINS), name=f"{name}_scale")
