"""The written evaluation: numbers, tables and a page from arrays of labels and predictions."""

from __future__ import annotations

from agegender.report.about import about_lines
from agegender.report.faces import Faces
from agegender.report.numbers import report_numbers
from agegender.report.page import Picture, Worst, render
from agegender.report.sheet import to_sheet

__all__ = ["Faces", "Picture", "Worst", "about_lines", "render", "report_numbers", "to_sheet"]
