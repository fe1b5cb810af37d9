"""The lines of eval --calibration, from results that are made up."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.app.evaluation.report import Results, calibration_figures
from agegender.calibration import Calibration

pytestmark = pytest.mark.quick


def results(*, gender: bool = True, age: bool = True, distribution: bool = True) -> Results:
    """Return four faces: confidences 0.9, 0.9, 0.8, 0.8, of which three are right; one age is unknown."""
    ends = {0.8: np.array([[20.0, 30], [30, 40], [40, 60], [0, 10]])}
    return Results(
        rows=np.arange(4),
        labels=np.array([[1, 25], [0, 41], [0, 61], [1, -1]], np.float32),
        male=np.array([0.9, 0.9, 0.2, 0.8]) if gender else None,
        age=np.array([25.0, 35, 50, 5]) if age else None,
        ends=ends if age and distribution else {},
    )


def test_as_the_net_says_and_as_corrected() -> None:
    # 0.9 is in a bin with one of two right, 0.8 in one with both.
    assert calibration_figures(results(), Calibration(), lang="en") == [
        "calibration: none stored for this epoch, the net's own confidence (tools/calibrate.py)",
        "ECE=0.300000 (gender, gap of confidence and accuracy over 15 bins of equal width, n=4)",
        "COVERAGE_80=0.333333 (share of ages in their intervals, 13.33 years wide, n=3)",
    ]
    # Odds of 9 become 3, those of 4 become 2; both in bins of their own.
    corrected = Calibration(gender_temperature=2, age_shifts=((0.8, 1.0),), epoch=7)
    assert calibration_figures(results(), corrected, lang="en") == [
        "calibration: as stored with the model (temperature 2.000)",
        f"ECE={(0.25 + 1 / 3) / 2:.6f} (gender, gap of confidence and accuracy over 15 bins of equal width, n=4)",
        "COVERAGE_80=1.000000 (share of ages in their intervals, 15.33 years wide, n=3)",
    ]


def test_in_chinese() -> None:
    assert calibration_figures(results(), Calibration(epoch=7), lang="zh") == [
        "校准：采用模型自带的校准（温度1.000）",
        "性别校准误差（ECE，15个等宽区间）：0.300000",
        "年龄落在80%区间内的比例（平均宽度13.33岁）：0.333333",
    ]


def test_what_a_model_does_not_tell_is_left_out_and_what_is_not_known_is_nan() -> None:
    error, coverage = calibration_figures(results(distribution=False), Calibration(), lang="en")[1:]
    assert error.startswith("ECE=0.300000 (")
    assert coverage == "COVERAGE_80=nan (share of ages in their intervals, nan years wide, n=0)"
    assert calibration_figures(results(gender=False), Calibration(), lang="en")[1:] == [
        "COVERAGE_80=0.333333 (share of ages in their intervals, 13.33 years wide, n=3)"
    ]
    assert calibration_figures(results(age=False), Calibration(), lang="en")[1:] == [error]
    residuals = Calibration(residual_ages=(0.0, 50.0), residual_widths=((0.8, (6.0, 6.0)),))
    assert calibration_figures(results(distribution=False), residuals, lang="en")[2] == (
        "COVERAGE_80=0.666667 (share of ages in their intervals, 12.00 years wide, n=3)"
    )
