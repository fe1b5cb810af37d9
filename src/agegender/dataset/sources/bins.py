"""Bins of ages: the schemes that sets label with, and which bin an age or an odd bin belongs to."""

from __future__ import annotations

from collections.abc import Sequence

Bin = tuple[int, int]

ADIENCE_8: tuple[Bin, ...] = (
    *((0, 2), (4, 6), (8, 12), (15, 20)),
    *((25, 32), (38, 43), (48, 53), (60, 100)),
)
# With the gaps filled that people filled for the single ages in Adience's lists.
ADIENCE_12: tuple[Bin, ...] = tuple(sorted((*ADIENCE_8, (21, 24), (33, 37), (44, 47), (54, 59))))
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
