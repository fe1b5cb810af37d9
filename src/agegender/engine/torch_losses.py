"""The losses of ``losses.py`` on tensors; tests hold the two to the same values and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it

from agegender.age_bins import Bins, limits
from agegender.engine.config import TrainConfig
from agegender.engine.losses import AGE_SIGMA, EXPECTATION_WEIGHT, MEAN_WEIGHT, MSE_UNIT, VARIANCE_WEIGHT
from agegender.errors import UsageError
from agegender.labels import AGE_CLASSES

Tensor = torch.Tensor
Count = Callable[[Tensor], Tensor]

GENDER_LOGITS, AGE_LOGITS = "gender_logits_output", "age_logits_output"
GENDER, AGE = "gender_softmax_output", "age_output"


def needed_outputs(config: TrainConfig, available: set[str]) -> list[str]:
    """Return the outputs and inner nodes that the losses read; UsageError for an age loss that the head can't take."""
    names = []
    if config.task in ("both", "gender"):
        names.append(GENDER_LOGITS)
    if config.task in ("both", "age"):
        names.append(AGE)
        if config.age_loss not in ("mae", "mse"):
            if AGE_LOGITS not in available:
                raise UsageError(
                    f"age_loss {config.age_loss!r} needs a softmax over ages, which this network has not (mae, mse)"
                )
            names.append(AGE_LOGITS)
    return names


def losses(outputs: Mapping[str, Tensor], labels: Tensor, config: TrainConfig, *, count: Count) -> Tensor:
    """Return per face terms (n,) that sum to the mean loss over the faces whose labels are known.

    ``labels`` (n, 2) float: gender, age; -1 is left out; or (n, 5) with the bins and deviations of
    ``labels.BIN_LABELS``, see ``losses.py``. ``count`` takes how many genders and ages this process's batch
    knows, (2,), and returns how many all processes' do: then the terms of all of them sum to the mean over all.
    """
    gender, age = labels[:, 0], Ages.of(labels)
    known = labels[:, :2] >= 0
    total = count(known.sum(dim=0).float()).clamp(min=1)
    terms = torch.zeros_like(gender)
    if config.task in ("both", "gender"):
        log_probability = F.log_softmax(outputs[GENDER_LOGITS].float(), dim=1)
        terms = terms + _masked(_cross_entropy(log_probability, gender, config.label_smoothing), known[:, 0]) / total[0]
    if config.task in ("both", "age"):
        terms = terms + _masked(_age_loss(outputs, age, config), known[:, 1]) / total[1] * config.age_weight
    return terms


class Ages(NamedTuple):
    """What is known of n ages: the years ``low`` to ``high``, alike for an exact one, and the deviation, each (n,)."""

    low: Tensor
    high: Tensor
    sigma: Tensor | float

    @classmethod
    def of(cls, labels: Tensor) -> Ages:
        """Take them from labels (n, 2 or 5)."""
        age = labels[:, 1]
        if labels.shape[1] == 2:
            return cls(age, age, AGE_SIGMA)
        binned, deviates = labels[:, 2] >= 0, labels[:, 4] > 0
        sigma = torch.where(deviates, labels[:, 4], torch.full_like(age, AGE_SIGMA))[:, None]
        return cls(torch.where(binned, labels[:, 2], age), torch.where(binned, labels[:, 3], age), sigma)

    @property
    def exact(self) -> bool:
        """Whether no bins are labelled."""
        return self.low is self.high

    def distance(self, years: Tensor) -> Tensor:
        """Return how far ``years`` (n,) or (m,) of each of n faces lie outside, in years."""
        if self.exact:
            return (years - self.low).abs()
        return torch.maximum(self.low - years, years - self.high).clamp(min=0)

    def column(self) -> Ages:
        """Return the same as (n, 1), to stand beside all years."""
        low = self.low[:, None]
        return Ages(low, low if self.exact else self.high[:, None], self.sigma)


def _masked(loss: Tensor, known: Tensor) -> Tensor:
    # Not a product: what an unknown label gives may be infinite, and 0 times that is nan.
    return torch.where(known, loss, torch.zeros_like(loss))


def _age_loss(outputs: Mapping[str, Tensor], age: Ages, config: TrainConfig) -> Tensor:
    off = age.distance(outputs[AGE].float().reshape(-1))
    if config.age_loss == "mae":
        return off
    if config.age_loss == "mse":
        return (off / MSE_UNIT).square()
    log_probability = F.log_softmax(outputs[AGE_LOGITS].float(), dim=1)
    if config.bins:
        return _cross_entropy(log_probability, _bin(age, config.bins), config.label_smoothing)
    if config.age_loss == "ce":
        return _age_cross_entropy(log_probability, age, config.label_smoothing)
    if config.age_loss == "meanvar":
        cross_entropy = _age_cross_entropy(log_probability, age, config.label_smoothing)
        return cross_entropy + MEAN_WEIGHT * off.square() + VARIANCE_WEIGHT * _variance(log_probability)
    return _divergence(log_probability, age) + EXPECTATION_WEIGHT * off


def _cross_entropy(log_probability: Tensor, label: Tensor, smoothing: float) -> Tensor:
    chosen = label.clamp(0, log_probability.shape[1] - 1).long()
    loss = -log_probability.gather(1, chosen[:, None])[:, 0]
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * log_probability.mean(dim=1)
    return loss


def _bin(age: Ages, bins: Bins) -> Tensor:
    """Return the number (n,) of the bin that each age is in or nearest to, of a labelled bin that of its middle."""
    years = age.low if age.exact else (age.low + age.high) / 2
    # Compared with numbers, not with a tensor, which would have to be sent to the device at every step.
    return torch.stack([years > limit for limit in limits(bins)]).sum(dim=0)


def _age_cross_entropy(log_probability: Tensor, age: Ages, smoothing: float) -> Tensor:
    """Return the cross entropy (n,) of ages, that of the even distribution over the years of a bin."""
    if age.exact:
        return _cross_entropy(log_probability, age.low, smoothing)
    beside = age.column()
    years = _years(log_probability)
    inside = ((years >= beside.low.floor()) & (years <= beside.high)).float()
    loss = -(inside * log_probability).sum(dim=1) / inside.sum(dim=1).clamp(min=1)
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * log_probability.mean(dim=1)
    return loss


def _years(like: Tensor) -> Tensor:
    return torch.arange(AGE_CLASSES, dtype=torch.float32, device=like.device)


def _variance(log_probability: Tensor) -> Tensor:
    probability, years = log_probability.exp(), _years(log_probability)
    mean = (probability * years).sum(dim=1, keepdim=True)
    return (probability * (years - mean).square()).sum(dim=1)


def _divergence(log_probability: Tensor, age: Ages) -> Tensor:
    """Return KL(target || prediction) (n,), the target a Gaussian around the age, cut to 0..100 and normalised.

    Over the years of a bin the target is even, and falls like the Gaussian beside it.
    """
    distance = age.column().distance(_years(log_probability)) / age.sigma
    log_target = F.log_softmax(-0.5 * distance.square(), dim=1)
    return (log_target.exp() * (log_target - log_probability)).sum(dim=1)
