"""The page of a report: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from agegender.report.charts import charts
from agegender.report.faces import Faces
from agegender.report.terms import CUM
from agegender.report.texts import TEXTS, group_names

YEARS = ("mae", "rmse", "bias", "macro_mae", "width80")
PLAIN = ("auc", "epsilon", "ece")
AGE = ("mae", "rmse", "bias", "CUM_5", "macro_mae", "epsilon", "bin_acc", "bin_1off")
GENDER = ("acc", "balanced_acc", "macro_acc", "auc", "ece")
MINORS = ("fpr18_25", "under13_over18")
INTERVALS = ("coverage50", "coverage80", "coverage90", "width80")
BY = ("mae", "bias", "CUM_5", "bin_acc", "bin_1off", "acc")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A face of the set: what stands below it, what is said instead of it, and the picture as a JPEG file."""

    caption: str
    alt: str
    jpeg: bytes


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The faces with the largest errors: ``kind`` is worst or worst_gender (see ``texts``)."""

    kind: str
    pictures: Sequence[Picture]


def render(
    faces: Faces,
    numbers: Mapping[str, Any],
    about: Sequence[tuple[str, str]],
    *,
    lang: str,
    worst: Worst | None = None,
) -> str:
    """Return the page. ``numbers`` are those of ``report_numbers``, ``about`` (what, text) lines, the model first."""
    import jinja2

    texts = TEXTS[lang]
    named = {**texts, **group_names(set(faces.names["source"]), lang)}
    source = resources.files("agegender.report").joinpath("templates/page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    overall = {**numbers["overall"], "macro_mae": numbers["macro"]["mae"], "macro_acc": numbers["macro"]["acc"]}
    shown = [name for name in (*AGE, *GENDER, *MINORS, *INTERVALS) if name in overall and overall[name]["n"]]
    return environment.from_string(source).render(
        lang=lang,
        t=texts,
        about=about,
        short=_short(numbers, named),
        notes=_notes(numbers, texts),
        few=texts["few"].format(few=numbers["few"]),
        rows=[(texts[name], _cell(name, overall[name], numbers, texts)) for name in shown],
        cum=[(years, _cell(f"CUM_{years}", overall[f"CUM_{years}"], numbers, texts)) for years in CUM]
        if overall["mae"]["n"]
        else [],
        tables=[_table(column, rows, numbers, named) for column, rows in numbers["by"].items()],
        confusions=[(texts[f"confusion_{kind}"], *_shaded(of)) for kind, of in numbers["confusion"].items()],
        pictures=[(caption, _uri("svg+xml", svg.encode())) for caption, svg in charts(faces, numbers, texts)],
        worst=worst if worst is None else (worst.kind, [(each, _uri("jpeg", each.jpeg)) for each in worst.pictures]),
    )


def _short(numbers: Mapping[str, Any], named: Mapping[str, str]) -> list[str]:
    overall, few, lines = numbers["overall"], numbers["few"], []
    for name, text in (("mae", "short_age"), ("bin_acc", "short_bins"), ("acc", "short_gender")):
        if overall[name]["low"] is not None:
            lines.append(named[text].format(**overall[name]))
    ages = numbers["by"].get("age", {})
    decades = {name: of["mae"] for name, of in ages.items() if of["mae"]["n"] >= few and of["mae"]["value"] is not None}
    if len(decades) > 1:
        name = max(decades, key=lambda decade: decades[decade]["value"])
        lines.append(named["short_worst"].format(name=name, few=few, **decades[name]))
    gap = numbers["gap"]
    if gap is not None:
        cells = numbers["by"]["gender_group"]
        ends = {end: cells[gap[end]]["acc"]["value"] for end in ("best", "worst")}
        names = {f"{end}_name": _named(gap[end], named) for end in ("best", "worst")}
        lines.append(named["short_gap"].format(few=few, **ends, **names))
    if overall["fpr18_25"]["low"] is not None and overall["fpr18_25"]["n"] >= few:
        lines.append(named["short_minors"].format(**overall["fpr18_25"]))
    return lines or [named["short_none"]]


def _notes(numbers: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
    """Return what has to be known to read the figures."""
    notes = [texts[numbers["bootstrap"]["unit"]].format(**numbers["bootstrap"]), texts["share_how"]]
    if any(numbers["macro"][name]["n"] for name in ("mae", "acc")):
        notes.append(texts["macro_how"].format(**numbers["macro"]))
    if numbers["overall"]["fpr18_25"]["n"]:
        notes.append(texts["minors_how"])
    return notes


def _table(
    column: str, rows: Mapping[str, Any], numbers: Mapping[str, Any], named: Mapping[str, str]
) -> tuple[str, list[str], list[tuple[str, list[dict[str, Any]]]]]:
    """Return a table's title, its columns but for those of which nothing is known, and per row its name and cells."""
    shown = [name for name in BY if any(of[name]["n"] for of in rows.values())]
    lines = [
        (_named(row, named), [_cell(name, of[name], numbers, named) for name in shown]) for row, of in rows.items()
    ]
    return named[column], [named[f"short_{name}"] for name in shown], lines


def _named(row: str, named: Mapping[str, str]) -> str:
    """Return a row's name in words; that of a crossed table has two parts."""
    return ", ".join(named.get(part, part) for part in row.split("/", 1)) if row not in named else named[row]


def _cell(name: str, figure: Mapping[str, Any], numbers: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    few = figure["n"] < numbers["few"]
    if figure["value"] is None:
        return {"value": texts["unknown"] if figure["n"] else "–", "interval": "–", "n": figure["n"], "few": False}
    form = ".2f" if name in YEARS else ".4f" if name in PLAIN else ".1%"
    ends = "–" if figure["low"] is None else f"{figure['low']:{form}} … {figure['high']:{form}}"
    return {"value": f"{figure['value']:{form}}", "interval": ends, "n": figure["n"], "few": few}


def _shaded(confusion: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[tuple[int, float]]]]]:
    """Return names, and per true one its counts with their share of its faces."""
    lines = []
    for name, counts in zip(confusion["names"], confusion["counts"], strict=True):
        lines.append((name, [(count, round(count / max(sum(counts), 1), 3)) for count in counts]))
    return confusion["names"], lines


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()
