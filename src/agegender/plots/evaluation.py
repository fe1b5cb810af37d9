"""The figures of a written evaluation: the CUM curve, errors by age, residuals, reliability, ROC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, RED, GREY = "#0072B2", "#c8516b", "#999999"


def draw_cum(cum: Mapping[int, tuple[float, float, float]], *, texts: Mapping[str, str]) -> Figure:
    """Return the share of faces within so many years: ``cum`` has share and the ends of its interval by years."""
    figure, axes = _figure(texts, "cum_x", "cum_y")
    years = list(cum)
    values = np.array([cum[year] for year in years], float)
    axes.fill_between(years, values[:, 1], values[:, 2], color=BLUE, alpha=0.25)
    axes.plot(years, values[:, 0], marker=".", color=BLUE)
    axes.set_ylim(0, 1)
    axes.set_xlim(0, max(years))
    return _lettered(figure)


def draw_errors(names: Sequence[str], values: npt.ArrayLike, *, texts: Mapping[str, str], y: str = "mae_y") -> Figure:
    """Return a figure per group: ``values`` (n, 3) value, low, high."""
    figure, axes = _figure(texts, "decade", y)
    each = np.asarray(values, float)
    axes.vlines(range(len(names)), each[:, 1], each[:, 2], color=BLUE, linewidth=2)
    axes.plot(range(len(names)), each[:, 0], "o", color=BLUE)
    axes.set_xticks(range(len(names)), list(names), rotation=45)
    axes.set_ylim(bottom=0)
    return _lettered(figure)


def draw_ages(true: npt.ArrayLike, predicted: npt.ArrayLike, *, texts: Mapping[str, str]) -> Figure:
    """Return predicted over true ages (n,), every face a point."""
    figure, axes = _figure(texts, "true_age", "predicted_age")
    axes.plot([0, 100], [0, 100], color=GREY)
    axes.plot(true, predicted, ".", color=BLUE, alpha=0.3, markersize=3, rasterized=True)
    return _lettered(figure)


def draw_residuals(true: npt.ArrayLike, predicted: npt.ArrayLike, *, texts: Mapping[str, str]) -> Figure:
    """Return errors, predicted minus true, over true ages (n,), and their mean in every decade as a line."""
    figure, axes = _figure(texts, "true_age", "residual")
    years = np.asarray(true, float)
    error = np.asarray(predicted, float) - years
    axes.axhline(0, color=GREY)
    axes.plot(years, error, ".", color=RED, alpha=0.3, markersize=3, rasterized=True)
    decade = np.minimum(years // 10, 9)  # the last one takes the hundred-year-olds
    decades = [decade == number for number in np.unique(decade)]
    axes.plot([years[rows].mean() for rows in decades], [error[rows].mean() for rows in decades], "o-", color=BLUE)
    return _lettered(figure)


def draw_reliability(rows: Sequence[Any], *, texts: Mapping[str, str]) -> Figure:
    """Return accuracy over confidence; ``rows`` have ``confidence`` and ``acc``, as ``metrics.reliability`` gives."""
    figure, axes = _figure(texts, "confidence", "accuracy")
    axes.plot([0.5, 1], [0.5, 1], color=GREY)
    axes.plot([row.confidence for row in rows], [row.acc for row in rows], "o-", color=BLUE)
    return _lettered(figure)


def draw_roc(false_positive: npt.ArrayLike, true_positive: npt.ArrayLike, *, texts: Mapping[str, str]) -> Figure:
    """Return a ROC curve of the two shares (n,)."""
    figure, axes = _figure(texts, "roc_x", "roc_y")
    axes.plot([0, 1], [0, 1], color=GREY)
    axes.plot(false_positive, true_positive, color=BLUE)
    return _lettered(figure)


def _figure(texts: Mapping[str, str], x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(texts[x])
    axes.set_ylabel(texts[y])
    axes.grid(alpha=0.3)
    return figure, axes


def _lettered(figure: Figure) -> Figure:
    from agegender.plots.lettering import set_lettering

    return set_lettering(figure)
