"""``eval --compare A B``: where B is better or worse than A on the same faces, and whether it could be chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.app.evaluation.sides import (
    FIGURES,
    Predictions,
    Run,
    grid,
    interval,
    predictions,
    read_predictions,
    shown,
    write_table,
)
from agegender.app.evaluation.texts import tell
from agegender.app.messages import say
from agegender.errors import DataError, UsageError
from agegender.labels import MAX_AGE
from agegender.metrics.paired import Difference, holm, mean_difference, verdict

# A cell of fewer faces is shown but not tested.
FEWEST = 30
CELL_FIGURES = ("acc", "MAE", "bin_acc")
COLUMNS = ("group", "age", "gender")
YEARS = ("MAE", "RMSE")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the comparison: of all faces (``column`` and ``cell`` empty), or of the ``cell`` of a ``column``."""

    column: str
    cell: str
    figure: str
    found: Difference
    p_holm: float | None
    b_is: str

    def as_json(self) -> dict[str, Any]:
        """Return all of it, flat."""
        named = {"column": self.column, "cell": self.cell, "figure": self.figure}
        return {**named, **asdict(self.found), "p_holm": self.p_holm, "b_is": self.b_is}


def run_compare(
    names: Sequence[str], scored: Callable[[str], Run], *, by: Sequence[str], csv: str | None, lang: str
) -> int:
    """Compare two models, or files that --csv or --report wrote; ``scored`` runs a model on the faces of --data.

    Returns 0, or 1 where bad records were left out. Raises UsageError for one and the same name, DataError for files of
    different sets.
    """
    if names[0] == names[1]:
        raise UsageError(f"--compare {names[0]} {names[1]}: both are the same; name two")
    sides, skipped = [], False
    for name in names:
        if name.endswith(".csv"):
            sides.append(read_predictions(Path(name)))
            continue
        found = scored(name)
        skipped |= bool(found.skipped)
        sides.append(predictions(found))
    print("\n".join(compare(sides[0], sides[1], by=by, csv=csv, lang=lang)))
    return int(skipped)


def compare(a: Predictions, b: Predictions, *, by: Sequence[str], csv: str | None, lang: str) -> Iterator[str]:
    """Yield the lines of the comparison, and write it to ``csv``; see ``pair`` for the errors raised."""
    first, second = pair(a, b)
    rows = compare_all(first, second)
    if not rows:
        raise DataError(f"{a.name} and {b.name}: neither gender nor age is both known and told by both")
    cells = compare_cells(first, second, columns=[*COLUMNS, *(name for name in by if name not in COLUMNS)])
    unit = "images" if first.clusters() is None else "subjects"
    yield tell("sides", lang, a=a.name, b=b.name, n=len(first), unit=tell(unit, lang))
    if len(first) < max(len(a), len(b)):
        yield tell("only", lang, a=len(a) - len(first), b=len(b) - len(first))
    yield ""
    yield from _table(rows, lang)
    yield tell("tests", lang, other=tell("flips", lang))
    if cells:
        yield ""
        tests = sum(row.found.p is not None for row in cells)
        yield tell("cells", lang, fewest=FEWEST, tests=tests)
    for column in dict.fromkeys(row.column for row in cells):
        yield ""
        yield from _table([row for row in cells if row.column == column], lang)
    if csv:
        about = {"a": a.name, "b": b.name, "n": len(first), "resampled": unit}
        about |= {"only_a": len(a) - len(first), "only_b": len(b) - len(first)}
        write_table(Path(csv), about, [row.as_json() for row in [*rows, *cells]])
        yield tell("written", lang, path=csv)


def pair(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """Return both for the faces that both have, in the order of A.

    Raises DataError where there are none, or where a face has another label in A than in B.
    """
    place = {key: row for row, key in enumerate(b.keys)}
    rows = [(row, place[key]) for row, key in enumerate(a.keys) if key in place]
    if not rows:
        raise DataError(f"{a.name} and {b.name} have no face in common: they are of different sets")
    first, second = a.take([row for row, _ in rows]), b.take([row for _, row in rows])
    for what, true, other in (
        ("gender", first.gender, second.gender),
        ("age", first.age, second.age),
        ("a bin that begins at", first.bins[:, 0], second.bins[:, 0]),
        ("a bin that ends at", first.bins[:, 1], second.bins[:, 1]),
    ):
        wrong = np.flatnonzero((true != other) & np.isfinite(true) & np.isfinite(other))
        if len(wrong):
            key, path, _ = first.keys[wrong[0]]
            raise DataError(
                f"{a.name} and {b.name} are of different sets: face {key} {path} has {what} {true[wrong[0]]:g} in one, "
                f"{other[wrong[0]]:g} in the other"
            )
    return first, second


def compare_all(a: Predictions, b: Predictions) -> list[Row]:
    """Return the figures over all faces of two that are paired; p by Holm over these."""
    everyone = np.ones(len(a), bool)
    return _rows([("", "", name, everyone) for name in FIGURES], a, b)


def compare_cells(a: Predictions, b: Predictions, *, columns: Sequence[str]) -> list[Row]:
    """Return ``CELL_FIGURES`` in each cell of ``columns`` (group, source, age, gender); p by Holm over all of them.

    A column of which one cell only is known is left out: it would repeat the whole.
    """
    tables = {column: cells_of(a, column) for column in columns}
    named = [
        (column, cell, figure, member)
        for column, cells in tables.items()
        if len(cells) > 1
        for cell, member in cells.items()
        for figure in CELL_FIGURES
    ]
    return _rows(named, a, b, fewest=FEWEST)


def cells_of(a: Predictions, column: str) -> dict[str, npt.NDArray[np.bool_]]:
    """Return which faces (n,) are in each cell: decades or bins of the true age, genders, or the names of a column."""
    if column == "age":
        decade = np.floor(np.minimum(a.age, MAX_AGE) / 10)
        names = {f"{ten * 10}-{ten * 10 + 9}" if ten < 10 else str(MAX_AGE): decade == ten for ten in range(11)}
        known = np.isfinite(a.bins[:, 0])
        for low, high in np.unique(a.bins[known], axis=0).tolist():
            # A bin may be a decade.
            name = f"{low:g}-{high:g}"
            names[name] = names.get(name, np.zeros(len(a), bool)) | (a.bins == (low, high)).all(axis=1)
    elif column == "gender":
        names = {"female": a.gender == 0, "male": a.gender == 1}
    else:
        each = np.array(a.names[column], str)
        names = {name: each == name for name in sorted(set(each.tolist())) if name}
    return {name: member for name, member in names.items() if member.any()}


def _rows(
    named: Sequence[tuple[str, str, str, npt.NDArray[np.bool_]]], a: Predictions, b: Predictions, *, fewest: int = 2
) -> list[Row]:
    of_a, of_b, clusters = a.terms(), b.terms(), a.clusters()
    found = []
    for _, _, figure, member in named:
        kind, _ = FIGURES[figure]
        (values, known), (others, also) = of_a[figure], of_b[figure]
        rows = member & known & also
        each = mean_difference(
            values[rows], others[rows], kind=kind, clusters=None if clusters is None else clusters[rows]
        )
        found.append(each if each.n >= fewest else Difference(**{**asdict(each), "p": None}))
    adjusted = holm([each.p for each in found])
    return [
        Row(
            column=column,
            cell=cell,
            figure=figure,
            found=each,
            p_holm=p,
            b_is=verdict(each.difference, p, lower_is_better=FIGURES[figure][1]),
        )
        for (column, cell, figure, _), each, p in zip(named, found, adjusted, strict=True)
        if each.n
    ]


def _table(rows: Sequence[Row], lang: str) -> list[str]:
    """Return the lines of a table of rows of one column."""
    column = rows[0].column if rows else ""
    words = [tell(name, lang) for name in ("figure", "n")]
    head = [*words, "A", "B", "B - A", tell("interval", lang), "p", tell("p_holm", lang), tell("is", lang)]
    lines = [[*_cells(row), tell(row.b_is, lang)] for row in rows]
    if not column:
        return grid(head, lines)
    named = {"female": say("female", lang), "male": say("male", lang)} if column == "gender" else {}
    cells = [named.get(row.cell, row.cell) for row in rows]
    return grid(
        [tell("by", lang, column=say(column, lang)), *head], [[c, *line] for c, line in zip(cells, lines)], left=2
    )


def _cells(row: Row) -> list[str]:
    found, form = row.found, ".3f" if row.figure in YEARS else ".4f"
    figures = [shown(found.a, form), shown(found.b, form), shown(found.difference, f"+{form}")]
    ends = interval(found.low, found.high, f"+{form}")
    return [row.figure, str(found.n), *figures, ends, _p(found.p), _p(row.p_holm)]


def _p(value: float | None) -> str:
    return "<0.0001" if value is not None and value < 0.00005 else shown(value, ".4f")
