"""The age distribution as a picture: one panel per source, faces stacked by gender."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from agegender.dataset.stats import AgeHistogram, SourceAges
from agegender.errors import UsageError
from agegender.labels import AGE_CLASSES, MAX_AGE
from agegender.plots.lettering import set_lettering

COLOURS = {"female": "#c8516b", "male": "#2f6c9e", "unknown": "#a3a3a3"}
WORDS = {
    "en": {
        "female": "female {n:,}",
        "male": "male {n:,}",
        "unknown": "gender unknown {n:,}",
        "title": "{source}: {n:,} faces",
        "title_one": "{source}: 1 face",
        "mean": ", mean age {mean:.1f}",
        "no_age": ", {n:,} without age",
        "age": "age (years)",
        "faces": "faces",
    },
    "zh": {
        "female": "女 {n:,}",
        "male": "男 {n:,}",
        "unknown": "性别未知 {n:,}",
        "title": "{source}：{n:,}张人脸",
        "title_one": "{source}：1张人脸",
        "mean": "，平均年龄{mean:.1f}",
        "no_age": "，{n:,}张无年龄",
        "age": "年龄（岁）",
        "faces": "人脸数量",
    },
}
_PANEL = (7.5, 2.9)  # inches
_MOST_IN_A_COLUMN = 4


def plot_ages(histogram: AgeHistogram, *, lang: str = "en", figure: Figure | None = None) -> Figure:
    """Draw ``histogram`` into a new figure, or into ``figure``; one panel per source, in its order.

    ``lang`` is "en" or "zh". Raises UsageError when there is no source or no such language.
    """
    if lang not in WORDS:
        raise UsageError(f"unknown language {lang!r} ({', '.join(WORDS)})")
    if not histogram.sources:
        raise UsageError("there is no face to draw an age distribution of")
    columns = math.ceil(len(histogram.sources) / _MOST_IN_A_COLUMN)
    rows = math.ceil(len(histogram.sources) / columns)
    figure = figure if figure is not None else Figure()
    figure.set_layout_engine("constrained")
    figure.set_size_inches(_PANEL[0] * columns, _PANEL[1] * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (source, ages) in zip(panels, histogram.sources.items()):
        _draw_panel(panel, source, ages, words=WORDS[lang])
    for panel in panels[len(histogram.sources) :]:
        panel.set_visible(False)
    return set_lettering(figure)


def _draw_panel(panel: Axes, source: str, ages: SourceAges, *, words: dict[str, str]) -> None:
    """Draw the stacked bars of one source, counts in title and legend."""
    below = np.zeros(AGE_CLASSES, np.int64)
    years = np.arange(AGE_CLASSES)
    for gender, counts in ages.by_gender.items():
        number = ages.count(gender)
        if number:
            label = words[gender].format(n=number)
            panel.bar(years, counts, bottom=below, width=0.9, color=COLOURS[gender], label=label)
        below = below + counts
    title = words["title_one" if ages.total == 1 else "title"].format(source=source, n=ages.total)
    if below.sum():
        title += words["mean"].format(mean=float((below * years).sum() / below.sum()))
    if ages.no_age:
        title += words["no_age"].format(n=ages.no_age)
    # A dollar sign in a file's name would start a formula.
    panel.set_title(title.replace("$", r"\$"), fontsize=11, loc="left")
    panel.set_xlim(-1, MAX_AGE + 1)
    panel.set_ylim(0, max(1.0, float(below.max()) * 1.08))
    panel.set_xticks(range(0, AGE_CLASSES, 10))
    panel.set_xlabel(words["age"])
    panel.set_ylabel(words["faces"])
    panel.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.grid(axis="y", alpha=0.3, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    if ages.total:
        panel.legend(fontsize=9, frameon=False, loc="upper right")
