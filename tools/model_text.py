"""The rows of tools/model_table.py as text for a terminal, and as the table of docs/networks.md."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from agegender.errors import DataError

BEGIN, END = "<!-- networks: python tools/models.py docs -->", "<!-- end -->"

WIDTH = 110

Row = dict[str, Any]


def networks_text(rows: Sequence[Row]) -> str:
    """Return the table of networks, and what there is to say of the papers' counts."""
    head = ("network", "input", "parameters", "MACs", "fc1", ".params", "paper: parameters", "MACs")
    lines = [
        (
            row["name"],
            _shape(row["input"]),
            f"{row['parameters']:,}",
            amount(row["macs"]),
            str(row["embedding"]),
            _megabytes(row["file_size"]),
            *(amount(_said(row, key)) for key in ("parameters", "macs")),
        )
        for row in rows
    ]
    notes = [f"{row['name']}: {row['paper']['note']}" for row in rows if row["paper"] and row["paper"]["note"]]
    wrapped = [textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in notes]
    return "\n".join([*_aligned(head, lines), "", *wrapped, ""])


def shipped_text(rows: Sequence[Row]) -> str:
    """Return the table of shipped models with their scores on val; nothing where there are none."""
    if not rows:
        return ""
    figures = list(dict.fromkeys(name for row in rows for name in row["val"]))
    head = ("shipped model", "network", "input", "parameters", "MACs", ".params", *(f"val {name}" for name in figures))
    lines = [
        (
            f"{row['name']},{row['epoch']}",
            row["network"],
            _shape(row["input"]),
            f"{row['parameters']:,}",
            amount(row["macs"]),
            _megabytes(row["file_size"]),
            *(f"{row['val'][name]:.3f}" if name in row["val"] else "" for name in figures),
        )
        for row in rows
    ]
    return "\n".join([*_aligned(head, lines), ""])


def nodes_text(found: Row) -> str:
    """Return one graph node by node, with a total."""
    head = ("node", "operator", "output", "parameters", "statistics", "MACs")
    lines = [
        (
            node["name"],
            node["op"],
            _shape(node["shape"]),
            *(f"{node[key]:,}" if node[key] else "" for key in ("parameters", "states", "macs")),
        )
        for node in found["nodes"]
    ]
    lines.append(("total", "", "", *(f"{found[key]:,}" for key in ("parameters", "states", "macs"))))
    title = f"{found['name']}, input {_shape(found['input'])}, .params {_megabytes(found['file_size'])}"
    return "\n".join([title, *_aligned(head, lines, left=3)])


def markdown(rows: Sequence[Row]) -> str:
    """Return the networks as a table of Markdown, with the notes below."""
    lines = [
        "| network | input | parameters | multiply-adds | embedding | .params | paper: parameters | multiply-adds |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [
            f"`{row['name']}`",
            _shape(row["input"]),
            f"{row['parameters']:,}",
            amount(row["macs"]),
            str(row["embedding"]),
            _megabytes(row["file_size"]),
            *(amount(_said(row, key)) for key in ("parameters", "macs")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    notes = [f"- `{row['name']}`: {row['paper']['note']}" for row in rows if row["paper"] and row["paper"]["note"]]
    return "\n".join([*lines, "", *notes, ""]) if notes else "\n".join([*lines, ""])


def replaced(page: str, block: str, *, where: str) -> str:
    """Return the text ``page`` with ``block`` between its marks. Raises DataError where these are not there once."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest:
        raise DataError(f"{where}: {BEGIN} and {END} have to stand in it once, in this order")
    return f"{before}{BEGIN}\n{block}{END}{after}"


def amount(number: int | None) -> str:
    """Return a count in three figures: 6.31G, 568M, 40.9k; nothing for None."""
    if number is None:
        return ""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        # 999,950 is a million in three figures.
        if number >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{unit}"
    return str(number)


def _said(row: Row, key: str) -> int | None:
    said: int | None = (row["paper"] or {}).get(key)
    return said


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


def _aligned(head: Sequence[str], lines: Sequence[Sequence[str]], *, left: int = 2) -> list[str]:
    """Return rows of equal widths: the first ``left`` columns begin at their left, the others end at their right."""
    widths = [max(len(line[place]) for line in (head, *lines)) for place in range(len(head))]
    return [
        "  ".join(
            f"{cell:<{width}}" if place < left else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *lines)
    ]
