"""The pictures of a report, as SVG for the page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from agegender.metrics.calibration import reliability
from agegender.report.faces import Faces
from agegender.report.terms import CUM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDS = ("value", "low", "high")


def charts(faces: Faces, numbers: Mapping[str, Any], texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (caption, SVG) of each picture that the known labels allow."""
    return [
        (caption, _svg(figure)) for caption, figure in (*_of_ages(faces, numbers, texts), *_of_genders(faces, texts))
    ]


def _of_ages(faces: Faces, numbers: Mapping[str, Any], texts: Mapping[str, str]) -> list[tuple[str, Figure]]:
    from agegender.plots import evaluation as plots

    known = faces.scored_ages & np.isfinite(faces.predicted)
    overall, ages = numbers["overall"], numbers["by"].get("age", {})
    if known.sum() < 2 or overall["mae"]["value"] is None:
        return []
    cum = {years: tuple(overall[f"CUM_{years}"][end] for end in ENDS) for years in CUM}
    mae = np.array([[of["mae"][end] for end in ENDS] for of in ages.values()], float)
    true, predicted = faces.age[known], faces.predicted[known]
    return [
        (texts["draw_cum"], plots.draw_cum(cum, texts=texts)),
        (texts["draw_errors"], plots.draw_errors(list(ages), mae, texts=texts)),
        (texts["draw_ages"], plots.draw_ages(true, predicted, texts=texts)),
        (texts["draw_residuals"], plots.draw_residuals(true, predicted, texts=texts)),
    ]


def _of_genders(faces: Faces, texts: Mapping[str, str]) -> list[tuple[str, Figure]]:
    from agegender.plots import evaluation as plots

    known = faces.scored_genders & np.isfinite(faces.male)
    male, gender = faces.male[known], faces.gender[known]
    if len(set(gender.tolist())) < 2:
        return []
    from sklearn.metrics import roc_curve

    rows = reliability(np.stack([1 - male, male], axis=1), gender)
    false, true, _ = roc_curve(gender, male)
    return [
        (texts["draw_reliability"], plots.draw_reliability(rows, texts=texts)),
        (texts["draw_roc"], plots.draw_roc(false, true, texts=texts)),
    ]


def _svg(figure: Figure) -> str:
    """Return the figure as SVG: lines stay sharp at any size; nothing in it depends on the day."""
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "agegender"}):
        figure.savefig(file, format="svg", transparent=True, dpi=150, metadata={"Date": None})
    return file.getvalue()
