"""The age distribution: counted right, drawn right, and readable in Chinese on any machine."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from agegender.app import ages as command
from agegender.dataset.stats import AgeHistogram
from agegender.errors import UsageError
from agegender.plots import ages as plot
from agegender.plots.ages import plot_ages
from agegender.typeface import typeface_path


def histogram(*names: str) -> AgeHistogram:
    result = AgeHistogram()
    for name in names:
        result.of(name).add([0, 0, 1, -1, 1], [30, 30, 30, 50, -1])
    return result


def pixels(figure: Figure) -> np.ndarray:
    from matplotlib.image import imread

    file = io.BytesIO()
    figure.savefig(file, dpi=50, format="png")
    file.seek(0)
    return np.asarray(imread(file))


def test_one_panel_per_source_with_stacked_bars() -> None:
    figure = plot_ages(histogram("AgeDB", "UTKFace"))
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "AgeDB: 5 faces, mean age 35.0, 1 without age",
        "UTKFace: 5 faces, mean age 35.0, 1 without age",
    ]
    panel = figure.axes[0]
    assert [text.get_text() for text in panel.get_legend().get_texts()] == [
        "female 2",
        "male 2",
        "gender unknown 1",
    ]
    female, male, unknown = (container.patches for container in panel.containers)
    assert (female[30].get_height(), male[30].get_y(), male[30].get_height()) == (2, 2, 1)
    assert (unknown[50].get_y(), unknown[50].get_height()) == (0, 1)
    assert panel.get_ylim()[1] >= 3
    assert pixels(figure).std() > 0.05


@pytest.mark.parametrize(("sources", "columns"), [(1, 1), (4, 1), (5, 2), (9, 3)])
def test_many_sources_go_into_columns(sources: int, columns: int) -> None:
    figure = plot_ages(histogram(*(f"s{number}" for number in range(sources))))
    visible = [panel for panel in figure.axes if panel.get_visible()]
    assert len(visible) == sources
    assert len({panel.get_subplotspec().colspan.start for panel in figure.axes}) == columns


def test_chinese_is_drawn_with_real_characters() -> None:
    figure = plot_ages(histogram("亚洲人脸"), lang="zh")
    panel = figure.axes[0]
    assert panel.get_title(loc="left") == "亚洲人脸：5张人脸，平均年龄35.0，1张无年龄"
    assert panel.get_xlabel() == "年龄（岁）"
    # A missing glyph is a warning of matplotlib's, and warnings are errors here.
    assert pixels(figure).std() > 0.05
    assert not np.array_equal(pixels(figure), pixels(plot_ages(histogram("老年人脸"), lang="zh")))


def test_our_typeface_has_every_character_that_figures_may_say() -> None:
    characters = set(map(chr, FT2Font(str(typeface_path())).get_charmap()))
    said = "".join(f"{text}" for table in (plot.WORDS["zh"], command.TEXTS["zh"]) for text in table.values())
    assert set(said) - characters == set()
    assert typeface_path().stat().st_size < 200_000
    assert "SIL OPEN FONT LICENSE Version 1.1" in (typeface_path().parent / "OFL.txt").read_text(encoding="utf-8")


def test_characters_without_a_font_become_question_marks(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        figure = plot_ages(histogram("x\U000e0041脸"))
    assert figure.axes[0].get_title(loc="left").startswith("x?脸: 5 faces")
    assert "no font on this machine has \U000e0041; a Chinese font helps" in caplog.text
    pixels(figure)


def test_dollar_signs_in_names_start_no_formula(tmp_path: Path) -> None:
    pixels(plot_ages(histogram(r"a$\frac$", "_x_^{")))


def test_faces_without_any_age_and_single_faces() -> None:
    lonely = AgeHistogram()
    lonely.of("lfw").add([0, 1], [-1, np.nan])
    lonely.of("one").add([0], [7])
    figure = plot_ages(lonely)
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "lfw: 2 faces, 2 without age",
        "one: 1 face, mean age 7.0",
    ]
    pixels(figure)


def test_nothing_to_draw_and_unknown_languages_are_refused() -> None:
    with pytest.raises(UsageError, match="there is no face to draw an age distribution of"):
        plot_ages(AgeHistogram())
    with pytest.raises(UsageError, match=r"unknown language 'fr' \(en, zh\)"):
        plot_ages(histogram("x"), lang="fr")
