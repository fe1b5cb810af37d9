"""What packing did: per source found, packed, skipped by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from agegender.dataset.crop import UNREADABLE
from agegender.dataset.problems import MISSING, Problems

# A face that was skipped for these was lost: its file is damaged or not there. The others are left out on purpose.
LOST = (MISSING, UNREADABLE)


@dataclass
class SourceReport:
    """``found`` is ``packed`` plus all that was ``skipped``, by reason."""

    found: int = 0
    packed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass
class PackReport:
    """The outcome: records per split, counts per source, each skipped face in ``problems``, and the files written.

    ``resumed`` is how many faces an interrupted run had done already.
    """

    splits: dict[str, int]
    sources: dict[str, SourceReport]
    problems: Problems
    files: list[str]
    resumed: int = 0

    @property
    def packed(self) -> int:
        """The number of records."""
        return sum(self.splits.values())

    @property
    def lost(self) -> int:
        """The number of faces whose image is missing or can't be read."""
        return sum(source.skipped[reason] for source in self.sources.values() for reason in LOST)


def count_sources(packed: Counter[str], problems: Problems, *, names: Iterable[str]) -> dict[str, SourceReport]:
    """Return the counts per source, sorted by name; those of ``names`` also where nothing of them was found."""
    sources = {name: SourceReport() for name in sorted({*names, *packed, *(row.source for row in problems)})}
    for name, report in sources.items():
        report.packed = packed[name]
        report.skipped = problems.counts(name)
        report.found = report.packed + report.skipped.total()
    return sources


def table(report: PackReport, *, columns: tuple[str, str, str], total: str) -> list[list[str]]:
    """Return the counts as rows of text with a header and a line of totals; one column per reason that occurs.

    ``columns`` names the columns source, found, packed; ``total`` the last line.
    """
    counts = list(report.sources.values())
    skipped: Counter[str] = sum((count.skipped for count in counts), Counter())
    reasons = sorted(skipped, key=lambda reason: (-skipped[reason], reason))
    rows = [[*columns, *reasons]]
    for name, count in report.sources.items():
        rows.append([name, *_cells(count.found, count.packed, *(count.skipped[reason] for reason in reasons))])
    sums = [skipped[reason] for reason in reasons]
    rows.append(
        [total, *_cells(sum(count.found for count in counts), sum(count.packed for count in counts), *sums)]
    )  # fmt: skip
    return rows


def _cells(*numbers: int) -> list[str]:
    return [f"{number:,}" for number in numbers]
