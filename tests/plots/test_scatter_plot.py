"""The picture of predicted over true ages."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.app.messages import TEXTS
from agegender.metrics import ScoreKeeper, Scores
from agegender.plots.scatter import draw_scatter


def scored(truth: list[float], predicted: list[float]) -> Scores:
    keeper = ScoreKeeper()
    keeper.update(labels=[[-1, age] for age in truth], age=predicted)
    return keeper.compute()


@pytest.mark.parametrize(
    ("lang", "title", "labels"),
    [
        ("en", "7 faces, MAE 2.14, CUM_5 85.7%", ("true age (years)", "predicted age (years)")),
        ("zh", "7张人脸，MAE 2.14，CUM_5 85.7%", ("年龄（岁）", "预测年龄（岁）")),
    ],
)
def test_cells_means_and_words(lang: str, title: str, labels: tuple[str, str]) -> None:
    truth = [20.0, 20.0, 21.0, 22.0, 23.0, 100.0, 0.0, -1.0]
    predicted = [20.4, 19.6, 23.0, 23.0, 24.0, 110.2, 0.0, 50.0]
    figure = draw_scatter(truth, predicted, scores=scored(truth, predicted), texts=TEXTS[lang])
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == title
    assert (axes.get_xlabel(), axes.get_ylabel()) == labels
    cells = np.nan_to_num(np.asarray(axes.collections[0].get_array())).reshape(101, 101)
    # Rows are predicted, columns true years; 110 is drawn at 100, unknown ages not at all.
    assert {(int(y), int(x)): int(cells[y, x]) for y, x in np.argwhere(cells)} == {
        (20, 20): 2, (23, 21): 1, (23, 22): 1, (24, 23): 1, (100, 100): 1, (0, 0): 1,
    }  # fmt: skip
    means = axes.lines[1].get_xydata()
    # Only the years 20 to 24 have the five faces that a mean needs.
    np.testing.assert_allclose(means, [[21.2, 22.0]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        TEXTS[lang]["scatter_right"],
        TEXTS[lang]["scatter_mean"],
    ]


@pytest.mark.parametrize("predicted", [None, [30.0, float("nan")]])
def test_nothing_known_is_said(predicted: list[float] | None) -> None:
    figure = draw_scatter([-1.0, 40.0], predicted, scores=ScoreKeeper().compute(), texts=TEXTS["en"])
    assert figure.axes[0].get_title(loc="left") == "no face with a known age"
