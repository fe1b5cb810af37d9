"""Predicted over true ages."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from agegender.labels import AGE_CLASSES, MAX_AGE
from agegender.metrics import Scores
from agegender.plots.lettering import set_lettering

# Years of true age over which predictions are averaged, and how many faces a mean needs.
_STEP = 5
_FEWEST = 5


def draw_scatter(
    true_age: npt.ArrayLike, predicted_age: npt.ArrayLike | None, *, scores: Scores, texts: Mapping[str, str]
) -> Figure:
    """Return a figure of ``predicted_age`` (n,) over ``true_age`` (n,), in years; unknown ages (-1) are left out.

    Each cell of one by one year is coloured by its faces; a line shows the mean prediction, another where predictions
    are right. ``texts`` has ``true_age``, ``predicted_age``, ``scatter_title``, ``scatter_none``, ``scatter_faces``,
    ``scatter_mean`` and ``scatter_right``.
    """
    truth = np.asarray(true_age, np.float64)
    predicted = np.full(len(truth), np.nan) if predicted_age is None else np.asarray(predicted_age, np.float64)
    known = (truth >= 0) & np.isfinite(predicted)
    figure = Figure(figsize=(6.6, 5.8), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.5, MAX_AGE + 0.5), ylim=(-0.5, MAX_AGE + 0.5), aspect="equal")
    axes.set_xlabel(texts["true_age"])
    axes.set_ylabel(texts["predicted_age"])
    if known.any():
        _draw_cells(figure, axes, truth[known], predicted[known], texts=texts)
        title = texts["scatter_title"].format(n=int(known.sum()), mae=scores.mae, cum=scores.cum[5])
    else:
        title = texts["scatter_none"]
    axes.set_title(title, fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return set_lettering(figure)


def _draw_cells(
    figure: Figure,
    axes: Axes,
    truth: npt.NDArray[np.float64],
    predicted: npt.NDArray[np.float64],
    *,
    texts: Mapping[str, str],
) -> None:
    edges = np.arange(AGE_CLASSES + 1) - 0.5
    inside = np.clip(predicted, 0, MAX_AGE)
    cell = truth.astype(np.int64) + AGE_CLASSES * np.rint(inside).astype(np.int64)
    counts = np.bincount(cell, minlength=AGE_CLASSES**2).reshape(AGE_CLASSES, AGE_CLASSES)
    cells = np.where(counts > 0, counts.astype(np.float64), np.nan)
    # Ages near 30 have a hundred times the faces of those near 90: only a logarithm shows both. It begins below one
    # face, because the palest colours would be lost on white.
    most = max(2, int(counts.max()))
    mesh = axes.pcolormesh(edges, edges, cells, norm=LogNorm(vmin=0.3, vmax=most), cmap="BuPu")
    ticks = [tick for power in (1, 10, 100, 1000, 10_000) for tick in (power, 2 * power, 5 * power) if tick <= most]
    bar = figure.colorbar(mesh, ax=axes, label=texts["scatter_faces"], shrink=0.8, ticks=ticks, format="%d")
    bar.ax.set_ylim(1, most)
    bar.ax.minorticks_off()
    axes.plot([0, MAX_AGE], [0, MAX_AGE], color="0.35", linewidth=1, linestyle="--", label=texts["scatter_right"])
    middles, means = _means(truth, predicted)
    if len(middles):
        axes.plot(middles, means, color="#d95f02", linewidth=1.6, marker=".", label=texts["scatter_mean"])
    axes.legend(loc="upper left", frameon=False, fontsize=9)


def _means(
    truth: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean true and mean predicted age of every few years of true age that have enough faces."""
    step = (truth // _STEP).astype(np.int64)
    faces = np.bincount(step)
    enough = faces >= _FEWEST
    with np.errstate(invalid="ignore"):
        true_means = np.bincount(step, weights=truth) / faces
        predicted_means = np.bincount(step, weights=predicted) / faces
    return true_means[enough], predicted_means[enough]
