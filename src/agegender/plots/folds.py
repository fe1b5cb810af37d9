"""Cross-validation: the figures of every fold, and their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agegender.metrics.spread import over_folds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# From the palette of Okabe and Ito, which people with any colour vision can tell apart.
_COLOURS = {"train": "#999999", "val": "#E69F00", "test": "#0072B2"}


def draw_folds(
    found: Mapping[str, Mapping[str, Sequence[tuple[int, float | None]]]], *, folds: Sequence[str], title: str = ""
) -> Figure:
    """Return a figure with a panel per metric: the mean of each fold, its deviation over seeds, and the mean of all.

    ``found`` is metric -> "train", "val", "test" -> (number of a fold, value) pairs; ``folds`` are the folds' names.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(4.0 * len(found), 5.0), 4.0), layout="constrained")
    for axes, (metric, splits) in zip(figure.subplots(1, len(found), squeeze=False).flat, found.items()):
        _draw_panel(axes, splits, folds=folds)
        axes.set_title(metric)
    figure.suptitle(title)
    return figure


def _draw_panel(axes: Axes, splits: Mapping[str, Sequence[tuple[int, float | None]]], *, folds: Sequence[str]) -> None:
    for shift, (split, values) in zip((-0.12, 0.0, 0.12), splits.items()):
        each, total = over_folds(values)
        places = [fold + shift for fold in each]
        colour = _COLOURS[split]
        deviations = [0.0 if spread.n < 2 else spread.std for spread in each.values()]
        mean = f" {total.mean:.4g}" if total.n else ""
        label = split + mean + (f" ± {total.std:.2g}" if total.n > 1 else "")
        axes.errorbar(
            places, [spread.mean for spread in each.values()], deviations, fmt="o", color=colour, label=label, capsize=3
        )
        if total.n:
            axes.axhline(total.mean, color=colour, linestyle=":", linewidth=1)
    axes.set_xticks(range(len(folds)), folds)
    axes.set_xlabel("fold")
    axes.grid(axis="y", alpha=0.3)
    # Below, where it hides no fold.
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.16))
