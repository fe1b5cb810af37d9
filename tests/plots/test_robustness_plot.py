"""The figure of MAE over severity."""

from __future__ import annotations

import pytest

from agegender.plots.robustness import draw_robustness

pytestmark = pytest.mark.quick

NAMES = ("shift", "rotate", "small", "blur", "jpeg", "noise")


def test_a_panel_per_corruption_from_the_clean_figure_on() -> None:
    curves = {name: [5.0 + place, 6.0 + place] for place, name in enumerate(NAMES)}
    figure = draw_robustness(curves, severities=(1, 3), clean=4.5)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == list(NAMES)
    for axes, values in zip(panels, curves.values(), strict=True):
        drawn = [line for line in axes.lines if line.get_marker() == "o"]
        assert len(drawn) == 1
        assert list(drawn[0].get_xdata()) == [0, 1, 3]
        assert list(drawn[0].get_ydata()) == [4.5, *values]
        # The other five, and the clean figure.
        assert len(axes.lines) == 1 + 1 + len(NAMES) - 1
    low, high = panels[0].get_ylim()
    assert low == 0 and high == pytest.approx(1.05 * 11)


def test_unknown_ages_leave_an_empty_figure() -> None:
    figure = draw_robustness({"blur": [float("nan")]}, severities=(2,), clean=float("nan"))
    figure.draw_without_rendering()
    assert len(figure.axes) == 1
