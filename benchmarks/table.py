"""Plain text tables for the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print rows of text under their column names, the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in cells) for cells in zip(columns, *rows)]
    if title:
        print(title)
    for row in (columns, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells).rstrip())
