"""Training curves: loss, errors and accuracy over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# title, unit, columns with their labels
_PANELS = (
    ("loss", "", {"train_loss": "train"}),
    ("MAE", "years", {"train_MAE": "train", "val_MAE": "val"}),
    ("CUM_5", "share", {"train_CUM_5": "train", "val_CUM_5": "val"}),
    ("gender accuracy", "share", {"train_acc": "train", "val_acc": "val"}),
)
_LOWEST_IS_BEST = ("loss", "MAE")


def draw_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Return a figure of four panels (loss, MAE, CUM_5, gender accuracy) over the epochs of ``history``.

    ``history`` is a row per finished epoch with the columns of ``history.csv``; a missing column or nan leaves a gap.
    The best validation value is marked. Scores on the training set are those of the steps themselves, with
    augmentation and dropout, so they can be below those on the validation set.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.5), layout="constrained")
    for axes, (title, unit, columns) in zip(figure.subplots(2, 2).flat, _PANELS):
        _draw_panel(axes, history, title=title, unit=unit, columns=columns)
    return figure


def save_curves(figure: Figure, path: Path) -> None:
    """Write ``figure`` as PNG, atomically."""
    from agegender.files import atomic_path

    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw_panel(
    axes: Axes, history: Sequence[Mapping[str, float]], *, title: str, unit: str, columns: Mapping[str, str]
) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in history]
    drawn = False
    for column, label in columns.items():
        values = [row.get(column, float("nan")) for row in history]
        known = [(value, epoch) for value, epoch in zip(values, epochs) if value == value]
        if not known:
            continue
        drawn = True
        line = axes.plot(epochs, values, marker="." if len(epochs) < 40 else "", label=label)[0]
        if label == "val":
            best, epoch = min(known) if title in _LOWEST_IS_BEST else max(known, key=lambda pair: (pair[0], -pair[1]))
            axes.plot([epoch], [best], "o", color=line.get_color(), fillstyle="none", markersize=9)
            line.set_label(f"{label}, best {best:.4g} after epoch {epoch:g}")
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    if drawn:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no labels", transform=axes.transAxes, ha="center", va="center")
