"""The figure of ages before and after balancing."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.plots import draw_balance

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    ("lang", "labels", "title"),
    [
        ("en", ["per epoch: 36 faces", "in the set: 130 faces"], "of unknown age: 10 in the set, 10 per epoch"),
        ("zh", ["每轮：36张人脸", "数据集：130张人脸"], "年龄未知：数据集10张，每轮10张"),
    ],
)
def test_bars_are_the_set_and_the_line_is_an_epoch(lang: str, labels: list[str], title: str) -> None:
    before, after = np.zeros(102, np.int64), np.zeros(102, np.int64)
    before[[30, 70, -1]], after[[30, 70, -1]] = (100, 20, 10), (6, 20, 10)
    axes = draw_balance(before, after, balance="under", lang=lang).axes[0]
    assert [bar.get_height() for bar in axes.patches] == before[:-1].tolist()
    assert list(axes.lines[0].get_ydata()) == after[:-1].tolist()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == labels
    assert axes.get_title(loc="left") == f"--balance under ({title})"
