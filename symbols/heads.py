"""Heads: what turns an embedding into a gender and an age. All return the group of outputs of the inference graph."""

from __future__ import annotations

from collections.abc import Sequence

from symbols.blocks import Symbol, activation, dense
from symbols.lazy import mx

AGE_CLASSES = 101
Bins = Sequence[tuple[int, int]]
SSR_BINS = 3
SSR_RANGE = 101.0
LAMBDA_LOCAL = 1.0
LAMBDA_D = 1.0
DELTA_LIMIT = 0.5
# Where head ``reg`` starts, about the mean age of most sets of faces, and the years that one unit of its layer makes:
# more of them, and sgd's first steps at its usual rate throw the age about; fewer, and adam's take long.
REG_START, REG_UNIT = 35.0, 3.0
# First and last year of Adience's bins (Eidinger et al. 2014), what head ``bins`` has unless told otherwise.
ADIENCE_8 = ((0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))
# What ``attach`` knows; head ``ssr`` needs more than one feature, so only its own network has it.
COMMON = ("dex", "reg", "bins")


def attach(head: str, fc1: Symbol, feature: Symbol | None = None, *, age_bins: Bins = ADIENCE_8) -> Symbol:
    """Return the outputs of the head named ``head``, one of ``COMMON``, on ``fc1``; see the functions of these names.

    ``age_bins`` is for head ``bins``. Raises ValueError for another head.
    """
    if head == "dex":
        return dex(fc1, feature)
    if head == "reg":
        return reg(fc1, feature)
    if head == "bins":
        return bins(fc1, feature, age_bins=age_bins)
    raise ValueError(f"unknown head {head!r} ({', '.join(COMMON)})")


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


def reg(fc1: Symbol, feature: Symbol | None = None) -> Symbol:
    """Regress the age: one linear unit, 3 years to its 1, from 35 on. Outputs as ``dex``, without ``age_softmax``."""
    feature = fc1 if feature is None else feature
    unit = dense(feature, 1, name="age_linear")
    years = mx.sym._internal._mul_scalar(unit, scalar=REG_UNIT, name="age_years")
    age = mx.sym._internal._plus_scalar(years, scalar=REG_START, name="age")
    return mx.sym.Group([fc1, gender(feature), age])


def bins(fc1: Symbol, feature: Symbol | None = None, *, age_bins: Bins = ADIENCE_8) -> Symbol:
    """Classify the age in bins, first and last year of each given; the age is the expectation of their middles.

    Outputs as ``dex``, but ``age_softmax_output`` is (N, number of bins).
    """
    feature = fc1 if feature is None else feature
    probability = mx.sym.softmax(dense(feature, len(age_bins), name="age_logits"), axis=1, name="age_softmax")
    middles = [
        mx.sym.full((1, 1), (first + last) / 2, name=f"age_middle{number}")
        for number, (first, last) in enumerate(age_bins)
    ]
    age = mx.sym.dot(probability, mx.sym.concat(*middles, dim=0, name="age_middles"), name="age")
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
