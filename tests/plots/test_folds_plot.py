"""The figure of a cross-validation."""

from __future__ import annotations

import pytest

from agegender.plots import draw_folds

pytestmark = pytest.mark.quick


def test_a_panel_per_metric_with_the_mean_of_the_folds() -> None:
    found = {
        "MAE": {"train": [(0, 4.0), (1, 4.4)], "val": [(0, 5.0), (1, 5.5)], "test": [(0, 5.0), (1, 6.0)]},
        "acc": {"train": [(0, 0.9), (1, None)], "val": [], "test": [(0, 0.8), (1, 0.9)]},
    }
    figure = draw_folds(found, folds=("a", "b"), title="two folds")
    assert [axes.get_title() for axes in figure.axes] == ["MAE", "acc"]
    years, share = figure.axes
    assert [text.get_text() for text in years.get_legend().get_texts()] == [
        "train 4.2 ± 0.28",
        "val 5.25 ± 0.35",
        "test 5.5 ± 0.71",
    ]
    assert [text.get_text() for text in share.get_legend().get_texts()] == ["train 0.9", "val", "test 0.85 ± 0.071"]
    assert [text.get_text() for text in years.get_xticklabels()] == ["a", "b"]
    assert list(years.containers[2].lines[0].get_ydata()) == [5.0, 6.0]
