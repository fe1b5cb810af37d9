"""The losses of ``losses.py`` on tensors; tests hold the two to the same values and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it

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

    ``labels`` (n, 2) float: gender, age; -1 is left out. ``count`` takes how many genders and ages this process's batch
    knows, (2,), and returns how many all processes' do: then the terms of all of them sum to the mean over all.
    """
    gender, age = labels[:, 0], labels[:, 1]
    known = labels >= 0
    total = count(known.sum(dim=0).float()).clamp(min=1)
    terms = torch.zeros_like(gender)
    if config.task in ("both", "gender"):
        log_probability = F.log_softmax(outputs[GENDER_LOGITS].float(), dim=1)
        terms = terms + _masked(_cross_entropy(log_probability, gender, config.label_smoothing), known[:, 0]) / total[0]
    if config.task in ("both", "age"):
        terms = terms + _masked(_age_loss(outputs, age, config), known[:, 1]) / total[1] * config.age_weight
    return terms


def _masked(loss: Tensor, known: Tensor) -> Tensor:
    # Not a product: what an unknown label gives may be infinite, and 0 times that is nan.
    return torch.where(known, loss, torch.zeros_like(loss))


def _age_loss(outputs: Mapping[str, Tensor], age: Tensor, config: TrainConfig) -> Tensor:
    off = (outputs[AGE].float().reshape(-1) - age).abs()
    if config.age_loss == "mae":
        return off
    if config.age_loss == "mse":
        return (off / MSE_UNIT).square()
    log_probability = F.log_softmax(outputs[AGE_LOGITS].float(), dim=1)
    if config.age_loss == "ce":
        return _cross_entropy(log_probability, age, config.label_smoothing)
    if config.age_loss == "meanvar":
        cross_entropy = _cross_entropy(log_probability, age, config.label_smoothing)
        return cross_entropy + MEAN_WEIGHT * off.square() + VARIANCE_WEIGHT * _variance(log_probability)
    return _divergence(log_probability, age) + EXPECTATION_WEIGHT * off


def _cross_entropy(log_probability: Tensor, label: Tensor, smoothing: float) -> Tensor:
    chosen = label.clamp(0, log_probability.shape[1] - 1).long()
    loss = -log_probability.gather(1, chosen[:, None])[:, 0]
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * log_probability.mean(dim=1)
    return loss


def _years(like: Tensor) -> Tensor:
    return torch.arange(AGE_CLASSES, dtype=torch.float32, device=like.device)


def _variance(log_probability: Tensor) -> Tensor:
    probability, years = log_probability.exp(), _years(log_probability)
    mean = (probability * years).sum(dim=1, keepdim=True)
    return (probability * (years - mean).square()).sum(dim=1)


def _divergence(log_probability: Tensor, age: Tensor) -> Tensor:
    """Return KL(target || prediction) (n,), the target a Gaussian around the age, cut to 0..100 and normalised."""
    distance = (_years(age) - age[:, None]) / AGE_SIGMA
    log_target = F.log_softmax(-0.5 * distance.square(), dim=1)
    return (log_target.exp() * (log_target - log_probability)).sum(dim=1)
