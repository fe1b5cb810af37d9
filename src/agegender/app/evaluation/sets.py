"""``eval --data A.rec B.rec``: one model over several sets, each figure with its interval and n."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agegender.app.evaluation.sides import CUM_YEARS, Predictions, Run, grid, interval, predictions, shown, write_table
from agegender.app.evaluation.texts import tell
from agegender.errors import UsageError
from agegender.metrics.intervals import bootstrap_sums, percentile_interval

SHOWN = ("acc", "MAE", f"CUM_{CUM_YEARS}", "bias")
YEARS = {"MAE": ".3f", "bias": "+.2f"}


def split_data(data: str) -> list[str]:
    """Return the sets that ``--data`` names, parted by commas; one whose own name has a comma stays whole."""
    if "," not in data or Path(data).exists():
        return [data]
    return [part for part in data.split(",") if part]


def run_sets(sets: Sequence[str], scored: Callable[[str], Run], *, csv: str | None, lang: str) -> int:
    """Print the table of the sets and write it to ``csv``; ``scored`` runs the model on one of them.

    Returns 0, or 1 where bad records were left out. Raises UsageError for a set that is named twice.
    """
    twice = [each for each in sets if sets.count(each) > 1]
    if twice:
        raise UsageError(f"--data names {twice[0]} twice")
    rows, skipped = [], False
    for each in sets:
        found = scored(each)
        skipped |= bool(found.skipped)
        rows.append({"set": each, **set_figures(predictions(found))})
    print("\n".join(table(rows, lang=lang)))
    if csv:
        write_table(Path(csv), {}, rows)
        print(tell("written", lang, path=csv))
    return int(skipped)


def set_figures(faces: Predictions) -> dict[str, Any]:
    """Return the figures of ``SHOWN``, each with _n, _low and _high: a bootstrap over images, or subjects if known."""
    found: dict[str, Any] = {"n": len(faces), "resampled": "images" if faces.clusters() is None else "subjects"}
    terms, clusters = faces.terms(), faces.clusters()
    for name in SHOWN:
        values, known = terms[name]
        n = int(known.sum())
        ends = None
        if n > 1:
            table = np.stack([values[known], np.ones(n)], axis=1)
            sums = bootstrap_sums(table, clusters=None if clusters is None else clusters[known])
            ends = percentile_interval(sums[:, 0] / sums[:, 1])
        low, high = ends or (None, None)
        found[name] = float(values[known].mean()) if n else None
        found |= {f"{name}_n": n, f"{name}_low": low, f"{name}_high": high}
    return found


def table(rows: Sequence[dict[str, Any]], *, lang: str) -> list[str]:
    """Return the lines of the table: a set per line; a dash where no label is known."""
    head = [tell("set", lang)]
    for name in SHOWN:
        head += [name, tell("interval", lang), tell("n", lang)]
    lines = []
    for row in rows:
        line = [row["set"]]
        for name in SHOWN:
            form = YEARS.get(name, ".4f")
            ends = interval(row[f"{name}_low"], row[f"{name}_high"], form)
            line += [shown(row[name], form), ends, str(row[f"{name}_n"])]
        lines.append(line)
    return grid(head, lines)
