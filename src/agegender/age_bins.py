"""Bins of ages: the schemes that sets and nets have, what people write for their own, and what follows from them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from agegender.errors import UsageError
from agegender.labels import OLDEST_PLAUSIBLE_AGE

Bin = tuple[int, int]
Bins = tuple[Bin, ...]

ADIENCE_8: Bins = (
    *((0, 2), (4, 6), (8, 12), (15, 20)),
    *((25, 32), (38, 43), (48, 53), (60, 100)),
)
# With the gaps filled that people filled for the single ages in Adience's lists.
ADIENCE_12: Bins = tuple(sorted((*ADIENCE_8, (21, 24), (33, 37), (44, 47), (54, 59))))
SCHEMES = {"adience8": ADIENCE_8, "adience12": ADIENCE_12}
DEFAULT_SCHEME = "adience8"
_BIN = re.compile(r"\s*(\d{1,3})\s*(?:-\s*(\d{1,3})\s*)?")


def parse_bins(text: str) -> Bins:
    """Read ``adience8``, ``adience12`` or bins such as ``0-2,4-6,8``, first and last year included.

    Raises UsageError unless there are at least two bins that rise and do not overlap, within 0..120.
    """
    known = SCHEMES.get(text.strip().lower())
    if known is not None:
        return known
    found = [_BIN.fullmatch(part) for part in text.split(",")]
    pairs = [(int(match[1]), int(match[2] or match[1])) for match in found if match is not None]
    if len(pairs) != len(found):
        raise UsageError(f"age_bins {text!r} is neither {' nor '.join(SCHEMES)} nor bins such as 0-2,4-6,8-12")
    return checked_bins(pairs)


def checked_bins(pairs: Sequence[Sequence[int]]) -> Bins:
    """Return (first, last) years as ``Bins``. Raises UsageError where they are no row of bins, see ``parse_bins``."""
    bins = tuple((int(first), int(last)) for first, last in pairs)
    if len(bins) < 2:
        raise UsageError(f"age_bins has {len(bins)} bin; at least 2 are needed")
    for first, last in bins:
        if not 0 <= first <= last <= OLDEST_PLAUSIBLE_AGE:
            raise UsageError(f"age_bins: {first}-{last} is no bin of years within 0..{OLDEST_PLAUSIBLE_AGE}")
    for (first, last), (following, end) in itertools.pairwise(bins):
        if following <= last:
            raise UsageError(f"age_bins: {following}-{end} does not lie above {first}-{last}")
    return bins


def centres(bins: Sequence[Bin]) -> tuple[float, ...]:
    """Return the middle of each bin in years, half of its first and last year's sum."""
    return tuple((first + last) / 2 for first, last in bins)


def limits(bins: Sequence[Bin]) -> tuple[float, ...]:
    """Return the ages at which one bin ends and the next begins, one fewer than bins: in the middle of a gap.

    An age up to a limit, itself included, belongs to the younger bin; so every age is in a bin, or in the nearest one.
    """
    return tuple((younger[1] + older[0]) / 2 for younger, older in itertools.pairwise(bins))
