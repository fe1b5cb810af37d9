"""Losses put on top of an inference graph in memory, for MXNet. What is saved stays the inference graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agegender.age_bins import Bins, limits
from agegender.engine.config import TrainConfig
from agegender.errors import UsageError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.labels import AGE_CLASSES

Symbol = Any  # mxnet 1.9 carries no types

IMAGE = "image"
LABEL = "softmax_label"
# Years; the width at which DLDL-v2 (Gao et al., IJCAI 2018) trains where a set has no deviations of its own.
AGE_SIGMA = 2.0
# The absolute error in years is ten times the size of the other terms at the start; at full weight gender learns late
# (ssrnet on UTKFace after three epochs: gender accuracy 0.74 with weight 1, 0.85 with 0.1).
EXPECTATION_WEIGHT = 0.1
# Mean-variance loss (Pan et al., CVPR 2018): 0.2 times half the squared error, 0.05 times the variance.
MEAN_WEIGHT, VARIANCE_WEIGHT = 0.1, 0.05
# Squared years reach thousands; in squared decades the loss is of the size of the others.
MSE_UNIT = 10.0


@dataclass(frozen=True, slots=True)
class TrainingGraph:
    """``symbol`` takes ``image`` uint8 (N,H,W,3) and ``softmax_label`` (N, ``label_width``) and returns, per face,
    ``loss`` (N,), ``gender_softmax`` (N,2) and ``age`` (N,1), but for a head that the network hasn't; ``frozen`` names
    the parameters that no loss reaches."""

    symbol: Symbol
    frozen: tuple[str, ...]
    label_width: int = 2


@dataclass(frozen=True, slots=True)
class Ages:
    """What is known of N ages: the years ``low`` to ``high``, alike for an exact one, and ``sigma``, the deviation."""

    low: Symbol
    high: Symbol
    sigma: Symbol | float

    @property
    def exact(self) -> bool:
        """Whether no bins are labelled."""
        return self.low is self.high

    def distance(self, years: Symbol) -> Symbol:
        """Return how far ``years``, (N,) as ``low`` or (1,M) beside (N,1), lie outside, in years."""
        mx = load_mxnet()
        if self.exact:
            return mx.sym.abs(mx.sym.broadcast_sub(years, self.low))
        outside = mx.sym.broadcast_maximum(
            mx.sym.broadcast_sub(self.low, years), mx.sym.broadcast_sub(years, self.high)
        )
        return mx.sym.maximum(outside, 0)

    def column(self) -> Ages:
        """Return the same as (N,1), to stand beside all years."""
        mx = load_mxnet()
        low = mx.sym.reshape(self.low, shape=(-1, 1))
        return Ages(low, low if self.exact else mx.sym.reshape(self.high, shape=(-1, 1)), self.sigma)


def from_image(symbol: Symbol) -> Symbol:
    """Let ``symbol`` take uint8 (N,H,W,3) ``image`` instead of ``data``: a quarter of the bytes go to a GPU."""
    mx = load_mxnet()
    # In this order: MXNet transposes float32 twenty times as fast as uint8.
    image = mx.sym.cast(mx.sym.Variable(IMAGE), dtype="float32", name="image_float")
    return symbol(data=mx.sym.transpose(image, axes=(0, 3, 1, 2), name="image_planes"))


def scoring_symbol(inference: Symbol) -> Symbol:
    """Return the graph of ``gender_softmax`` (N,2) and ``age`` (N,1), or the one that is there, on ``image``."""
    mx = load_mxnet()
    internals = inference.get_internals()
    return from_image(mx.sym.Group([internals[f"{name}_output"] for name in _heads(internals)]))


def training_graph(inference: Symbol, config: TrainConfig, *, label_width: int = 2) -> TrainingGraph:
    """Put the losses that ``config`` asks for on ``inference``.

    Each face's loss is divided by how many labels of its kind the context's batch knows, so that the gradient is
    that of the mean over known labels; -1 is left out. With ``label_width`` 5 the labels are those of
    ``labels.BIN_LABELS``: a face whose age is a bin costs nothing within it but where a distribution is learned, which
    is even over the bin; a deviation is the width of the distribution. Head ``bins`` learns by ``ce`` which of its bins
    it is (see ``_bin``). Raises UsageError for an age loss the head can't take.
    """
    mx = load_mxnet()
    internals = inference.get_internals()
    label = mx.sym.Variable(LABEL)
    parts = []
    if config.task in ("both", "gender"):
        gender = _column(label, 0)
        parts.append(_mean_of_known(_gender_loss(internals, gender, config.label_smoothing), gender))
    if config.task in ("both", "age"):
        age = _column(label, 1)
        ages = _ages(label, age, label_width=label_width)
        parts.append(_mean_of_known(_age_loss(internals, ages, config), age) * config.age_weight)
    total = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    learned = set(from_image(total).list_arguments())
    watched = [mx.sym.BlockGrad(internals[f"{name}_output"], name=name) for name in _heads(internals)]
    symbol = from_image(mx.sym.Group([mx.sym.make_loss(total, name="loss"), *watched]))
    frozen = [name for name in symbol.list_arguments() if name not in learned]
    return TrainingGraph(symbol, tuple(frozen), label_width)


def _heads(internals: Symbol) -> list[str]:
    """Return which of the answers a network gives; one that learns one task has no other."""
    there = internals.list_outputs()
    return [name for name in ("gender_softmax", "age") if f"{name}_output" in there]


def _ages(label: Symbol, age: Symbol, *, label_width: int) -> Ages:
    if label_width == 2:
        return Ages(age, age, AGE_SIGMA)
    mx = load_mxnet()
    low, high, std = (_column(label, number) for number in (2, 3, 4))
    sigma = mx.sym.where(std > 0, std, mx.sym.ones_like(std) * AGE_SIGMA)
    return Ages(
        mx.sym.where(low >= 0, low, age), mx.sym.where(low >= 0, high, age), mx.sym.reshape(sigma, shape=(-1, 1))
    )


def _column(label: Symbol, number: int) -> Symbol:
    mx = load_mxnet()
    column = mx.sym.slice_axis(label, axis=1, begin=number, end=number + 1)
    return mx.sym.reshape(column, shape=(-1,))


def _mean_of_known(loss: Symbol, label: Symbol) -> Symbol:
    """Return (N,) terms that sum to the mean of ``loss`` over the faces whose ``label`` is known."""
    mx = load_mxnet()
    known = label >= 0
    count = mx.sym.maximum(mx.sym.sum(known), 1)
    return mx.sym.broadcast_div(loss * known, count)


def _gender_loss(internals: Symbol, gender: Symbol, smoothing: float) -> Symbol:
    mx = load_mxnet()
    log_probability = mx.sym.log_softmax(internals["gender_logits_output"], axis=1)
    return _cross_entropy(log_probability, gender, smoothing)


def _cross_entropy(log_probability: Symbol, label: Symbol, smoothing: float) -> Symbol:
    mx = load_mxnet()
    loss = -mx.sym.pick(log_probability, label, axis=1)
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * mx.sym.mean(log_probability, axis=1)
    return loss


def _age_loss(internals: Symbol, age: Ages, config: TrainConfig) -> Symbol:
    mx = load_mxnet()
    off = age.distance(mx.sym.reshape(internals["age_output"], shape=(-1,)))
    if config.age_loss == "mae":
        return off
    if config.age_loss == "mse":
        return mx.sym.square(off / MSE_UNIT)
    if "age_logits_output" not in internals.list_outputs():
        raise UsageError(
            f"age_loss {config.age_loss!r} needs a softmax over ages, which this network has not (mae, mse)"
        )
    log_probability = mx.sym.log_softmax(internals["age_logits_output"], axis=1)
    if config.bins:
        return _cross_entropy(log_probability, _bin(age, config.bins), config.label_smoothing)
    if config.age_loss == "ce":
        return _age_cross_entropy(log_probability, age, config.label_smoothing)
    if config.age_loss == "meanvar":
        cross_entropy = _age_cross_entropy(log_probability, age, config.label_smoothing)
        return cross_entropy + MEAN_WEIGHT * mx.sym.square(off) + VARIANCE_WEIGHT * _variance(log_probability)
    return _divergence(log_probability, age) + EXPECTATION_WEIGHT * off


def _bin(age: Ages, bins: Bins) -> Symbol:
    """Return the number (N,) of the bin that each age is in or nearest to, of a labelled bin that of its middle.

    So a labelled bin that is one of ``bins`` is that one. Halfway between two the age is in the younger.
    """
    mx = load_mxnet()
    years = age.low if age.exact else (age.low + age.high) / 2
    # How many limits lie below it.
    return mx.sym.add_n(*[years > limit for limit in limits(bins)])


def _age_cross_entropy(log_probability: Symbol, age: Ages, smoothing: float) -> Symbol:
    """Return the cross entropy (N,) of ages, that of the even distribution over the years of a bin."""
    if age.exact:
        return _cross_entropy(log_probability, age.low, smoothing)
    mx = load_mxnet()
    years, beside = _years(), age.column()
    from_low = mx.sym.broadcast_greater_equal(years, mx.sym.floor(beside.low))
    inside = from_low * mx.sym.broadcast_lesser_equal(years, beside.high)
    count = mx.sym.maximum(mx.sym.sum(inside, axis=1), 1)
    loss = -mx.sym.sum(inside * log_probability, axis=1) / count
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * mx.sym.mean(log_probability, axis=1)
    return loss


def _years() -> Symbol:
    """Return the ages of the classes (1,101)."""
    mx = load_mxnet()
    return mx.sym.reshape(mx.sym.arange(start=0, stop=AGE_CLASSES, dtype="float32"), shape=(1, AGE_CLASSES))


def _variance(log_probability: Symbol) -> Symbol:
    """Return the variance (N,) of the age distribution, in squared years."""
    mx = load_mxnet()
    probability = mx.sym.exp(log_probability)
    years = _years()
    mean = mx.sym.sum(mx.sym.broadcast_mul(probability, years), axis=1, keepdims=True)
    return mx.sym.sum(probability * mx.sym.square(mx.sym.broadcast_sub(years, mean)), axis=1)


def _divergence(log_probability: Symbol, age: Ages) -> Symbol:
    """Return KL(target || prediction) (N,), the target a Gaussian around the age, cut to 0..100 and normalised.

    Over the years of a bin the target is even, and falls like the Gaussian beside it.
    """
    mx = load_mxnet()
    distance = age.column().distance(_years())
    distance = distance / age.sigma if age.exact else mx.sym.broadcast_div(distance, age.sigma)
    log_target = mx.sym.log_softmax(-0.5 * mx.sym.square(distance), axis=1)
    return mx.sym.sum(mx.sym.exp(log_target) * (log_target - log_probability), axis=1)
