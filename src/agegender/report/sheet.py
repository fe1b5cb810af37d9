"""The figures of a report as one CSV: for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = ("table", "row", "figure", "value", "n", "low", "high")


def to_sheet(numbers: Mapping[str, Any]) -> str:
    """Return ``COLUMNS`` and a line per figure of ``report_numbers``; unknown cells are empty.

    In the tables confusion_decades and confusion_bins ``row`` is true, ``figure`` estimated and ``value`` a count.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_lines(numbers))
    return text.getvalue()


def _lines(numbers: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    macro = {f"macro_{name}": numbers["macro"][name] for name in ("mae", "acc")}
    tables = {"overall": {"all": {**numbers["overall"], **macro}}, **numbers["by"]}
    for table, rows in tables.items():
        for row, figures in rows.items():
            for name, of in figures.items():
                ends = (_cell(of[key]) for key in ("low", "high"))
                yield table, row, name, _cell(of["value"]), of["n"], *ends
    for kind, found in numbers["confusion"].items():
        for true, counts in zip(found["names"], found["counts"], strict=True):
            for estimated, count in zip(found["names"], counts, strict=True):
                yield f"confusion_{kind}", true, estimated, count, sum(counts), "", ""


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.7g}"
