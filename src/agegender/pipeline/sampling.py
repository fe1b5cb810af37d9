"""Orders other than every record once: balanced over ages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agegender.labels import AGE_CLASSES, MAX_AGE
from agegender.pipeline.randomness import generator

# Ages within a few years count as one another's company: an age with two photos among well-filled neighbours is not
# rare (label distribution smoothing, Yang et al., ICML 2021).
SMOOTHING_YEARS = 2.0
# No record comes more often than this times the least frequent one, or a handful of faces would be learned by heart.
LARGEST_RATIO = 10.0


def age_weights(labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return (n,) weights of mean 1 that make rare ages come more often.

    ``labels`` is (n, 2 or more): gender, age in years. The weight is the inverse square root of how common the age is,
    after smoothing over neighbouring ages; records of unknown age (-1) weigh 1.
    """
    ages = np.asarray(labels, np.float64)[:, 1]
    known = ages >= 0
    weights = np.ones(len(ages))
    if not known.any():
        return weights
    whole = np.clip(ages[known], 0, MAX_AGE).astype(np.int64)
    years = np.arange(AGE_CLASSES)
    kernel = np.exp(-0.5 * ((years[:, None] - years) / SMOOTHING_YEARS) ** 2)
    density = (kernel / kernel.sum(axis=0)) @ np.bincount(whole, minlength=AGE_CLASSES)
    inverse = 1 / np.sqrt(density[whole])
    inverse = np.minimum(inverse, inverse.min() * LARGEST_RATIO)
    weights[known] = inverse / inverse.mean()
    return weights


def balance_by_age(labels: npt.ArrayLike, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return (n,) positions for one epoch in which rare ages come more often, sorted; the loader shuffles them.

    Systematic resampling: a record of weight w comes floor(w) or ceil(w) times, which of the two depends on
    (seed, epoch) alone. Raises ValueError without labels.
    """
    weights = age_weights(labels)
    count = len(weights)
    if count == 0:
        raise ValueError("there are no labels to balance")
    # Records trade places each epoch, or the same neighbours would always share one draw.
    rng = generator(seed=seed, epoch=epoch)
    order = rng.permutation(count)
    edges = np.cumsum(weights[order])
    points = (np.arange(count) + rng.random()) * (edges[-1] / count)
    return np.sort(order[np.minimum(np.searchsorted(edges, points, side="right"), count - 1)])
