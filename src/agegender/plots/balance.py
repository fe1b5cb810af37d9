"""Ages before and after balancing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from agegender.labels import AGE_CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = {
    "en": {
        "before": "in the set: {n:,} faces",
        "after": "per epoch: {n:,} faces",
        "unknown": "of unknown age: {before:,} in the set, {after:,} per epoch",
        "age": "age (years)",
        "faces": "faces",
    },
    "zh": {
        "before": "数据集：{n:,}张人脸",
        "after": "每轮：{n:,}张人脸",
        "unknown": "年龄未知：数据集{before:,}张，每轮{after:,}张",
        "age": "年龄（岁）",
        "faces": "人脸数量",
    },
}


def draw_balance(
    before: npt.NDArray[np.int64],
    after: npt.NDArray[np.int64],
    *,
    balance: str,
    lang: str = "en",
    figure: Figure | None = None,
) -> Figure:
    """Draw the faces by age ``before`` (bars) and ``after`` (line) balancing into ``figure``, or a new one; return it.

    Both are (102,): the ages 0..100, then unknown ones, which only the title counts. ``lang`` is en or zh.
    """
    from matplotlib import figure as figures

    from agegender.plots.lettering import set_lettering

    words, years = WORDS[lang], np.arange(AGE_CLASSES)
    figure = figures.Figure() if figure is None else figure
    figure.set_layout_engine("constrained")
    figure.set_size_inches(7.5, 3.4)
    axes = figure.subplots()
    axes.bar(years, before[:-1], width=0.9, color="#b9c6d3", label=words["before"].format(n=int(before.sum())))
    axes.step(years, after[:-1], where="mid", color="#c8516b", label=words["after"].format(n=int(after.sum())))
    title = f"--balance {balance}"
    if before[-1]:
        title += f" ({words['unknown'].format(before=int(before[-1]), after=int(after[-1]))})"
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlim(-1, AGE_CLASSES)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(words["age"])
    axes.set_ylabel(words["faces"])
    axes.grid(axis="y", alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=9, frameon=False)
    return set_lettering(figure)
