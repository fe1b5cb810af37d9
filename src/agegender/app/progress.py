"""How far a long job of several phases is, on standard error: bars where somebody watches, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm

# A log of many hours stays readable, and a dead job is noticed.
LINE_SECONDS = 30.0


class Bars:
    """A bar per phase, one alive at a time: it ends its line when it is full, or when the next phase begins.

    ``texts`` names each phase.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._bars: dict[str, tqdm[NoReturn]] = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Show ``done`` of ``total`` in ``phase``."""
        from tqdm import tqdm

        if phase not in self._bars:
            self.close()
            # What a resumed run had does not count for the speed.
            self._bars[phase] = tqdm(
                desc=self._texts[phase], initial=done, total=total, file=sys.stderr, dynamic_ncols=True
            )
        self._bars[phase].update(done - self._bars[phase].n)
        if done >= total:
            self._bars[phase].close()

    def close(self) -> None:
        """End the line of the bar that is alive, if any."""
        for bar in self._bars.values():
            bar.close()


class Lines:
    """A line every ``LINE_SECONDS``, for a pipe or a log file.

    ``texts`` names each phase, and has the line as ``so_far``.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._said = time.monotonic()

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Say ``done`` of ``total`` in ``phase`` where it is time to."""
        now = time.monotonic()
        if now - self._said < LINE_SECONDS:
            return
        self._said = now
        name, share = self._texts[phase], done / max(1, total)
        line = self._texts["so_far"].format(phase=name, done=done, total=total, share=share)
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Do nothing: each line has ended already."""


def open_progress(texts: Mapping[str, str]) -> Bars | Lines:
    """Return what takes (phase, done, total) and shows it as standard error can."""
    return Bars(texts) if sys.stderr.isatty() else Lines(texts)
