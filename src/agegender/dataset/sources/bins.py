"""Bins of ages: the schemes that sets label with, and which bin an age or an odd bin belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from agegender.age_bins import ADIENCE_8, ADIENCE_12, Bin

__all__ = ["ADIENCE_8", "ADIENCE_12", "FAIRFACE", "Bin", "bin_of", "middle"]

FAIRFACE: dict[str, Bin] = {
    "0-2": (0, 2),
    "3-9": (3, 9),
    **{f"{first}-{first + 9}": (first, first + 9) for first in range(10, 70, 10)},
    "more than 70": (70, 100),
}


def bin_of(first: int, last: int, bins: Sequence[Bin]) -> Bin | None:
    """Return the one of ``bins`` that holds all years from ``first`` to ``last``; None where none does."""
    return next(((low, high) for low, high in bins if low <= first and last <= high), None)


def middle(ages: Bin) -> int:
    """Return the year that stands for a bin where a single age is asked for: its middle, rounded down."""
    return sum(ages) // 2
