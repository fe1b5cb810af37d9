"""The figures of a report show the numbers that they were given."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

from agegender.metrics.calibration import reliability
from agegender.plots import evaluation
from agegender.report.texts import TEXTS

EN = TEXTS["en"]


def lines(figure: Figure) -> list[list[list[float]]]:
    return [np.asarray(line.get_xydata()).tolist() for line in figure.axes[0].lines]


def test_the_cum_curve_has_its_band() -> None:
    figure = evaluation.draw_cum({0: (0.1, 0.0, 0.2), 1: (0.5, 0.4, 0.6), 2: (0.9, 0.8, 1.0)}, texts=EN)
    assert lines(figure) == [[[0, 0.1], [1, 0.5], [2, 0.9]]]
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert {(0.0, 0.0), (0.0, 0.2), (2.0, 0.8), (2.0, 1.0)} <= {tuple(point) for point in np.round(band, 6).tolist()}
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == (EN["cum_x"], EN["cum_y"])


def test_errors_by_group_have_their_intervals() -> None:
    figure = evaluation.draw_errors(["0-9", "10-19"], [[2, 1, 3], [5, np.nan, np.nan]], texts=EN)
    assert lines(figure) == [[[0, 2], [1, 5]]]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0-9", "10-19"]
    assert figure.axes[0].collections[0].get_segments()[0].tolist() == [[0, 1], [0, 3]]


def test_ages_and_residuals() -> None:
    true, predicted = [1.0, 8.0, 95.0, 100.0], [2.0, 8.0, 90.0, 91.0]
    assert lines(evaluation.draw_ages(true, predicted, texts=EN))[1] == [[1, 2], [8, 8], [95, 90], [100, 91]]
    found = lines(evaluation.draw_residuals(true, predicted, texts=EN))
    assert found[1] == [[1, 1], [8, 0], [95, -5], [100, -9]]
    # The mean of each decade; a hundred belongs to the nineties.
    assert found[2] == [[4.5, 0.5], [97.5, -7]]


def test_reliability_and_roc() -> None:
    rows = reliability([[0.1, 0.9], [0.9, 0.1], [0.3, 0.7]], [1, 1, 1])
    points = lines(evaluation.draw_reliability(rows, texts=EN))[1]
    assert np.allclose(points, [[0.7, 1.0], [0.9, 0.5]])
    assert lines(evaluation.draw_roc([0, 0, 1], [0, 1, 1], texts=EN))[1] == [[0, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_letter_can_be_drawn(lang: str, caplog: pytest.LogCaptureFixture) -> None:
    texts = TEXTS[lang]
    drawn = [
        evaluation.draw_cum({0: (0.1, 0.0, 0.2), 1: (0.5, 0.4, 0.6)}, texts=texts),
        evaluation.draw_errors(["0-9"], [[2, 1, 3]], texts=texts),
        evaluation.draw_ages([1.0], [2.0], texts=texts),
        evaluation.draw_residuals([1.0], [2.0], texts=texts),
        evaluation.draw_roc([0, 1], [0, 1], texts=texts),
        evaluation.draw_reliability(reliability([[0.1, 0.9]], [1]), texts=texts),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in drawn:
            figure.canvas.draw()
            assert "?" not in figure.axes[0].get_xlabel() + figure.axes[0].get_ylabel()
    assert "no font" not in caplog.text
