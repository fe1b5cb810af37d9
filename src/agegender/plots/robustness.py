"""MAE over the severity of corruptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, GREY = "#0072B2", "#999999"
COLUMNS = 5


def draw_robustness(curves: Mapping[str, Sequence[float]], *, severities: Sequence[int], clean: float) -> Figure:
    """Return a panel per corruption: MAE in years over ``severities``, from the ``clean`` MAE at severity 0.

    ``curves`` has an MAE per severity by corruption, nan where none is known; behind each, the others in grey.
    """
    from matplotlib.figure import Figure

    from agegender.plots.lettering import set_lettering

    rows = -(-len(curves) // COLUMNS)
    figure = Figure(figsize=(2.1 * min(COLUMNS, len(curves)) + 0.4, 2.1 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, min(COLUMNS, len(curves)), sharex=True, sharey=True, squeeze=False)
    x = [0, *severities]
    for number, (axes, name) in enumerate(zip(panels.flat, curves)):
        for other, values in curves.items():
            if other != name:
                axes.plot(x, [clean, *values], color=GREY, linewidth=0.6, alpha=0.5)
        axes.axhline(clean, color=GREY, linestyle="--", linewidth=0.8)
        axes.plot(x, [clean, *curves[name]], color=BLUE, marker="o", markersize=3.5)
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_xticks(x)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3, linewidth=0.6)
        if number % COLUMNS == 0:
            axes.set_ylabel("MAE (years)")
    for axes in panels.flat[len(curves) :]:
        axes.set_visible(False)
    highest = np.nanmax([clean, *(value for values in curves.values() for value in values), 1e-9])
    panels.flat[0].set_ylim(0, 1.05 * highest if np.isfinite(highest) else 1)
    figure.supxlabel("severity (0: clean, dashed)", fontsize=10)
    return set_lettering(figure)
