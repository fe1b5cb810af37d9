"""Ctrl-C and SIGTERM during training: finish the step, save, leave."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_log = logging.getLogger(__name__)


class Interruption:
    """While entered, the first Ctrl-C (or SIGTERM) only sets ``asked``; the second one interrupts at once.

    ``saves`` False leaves the signals alone: one of several workers can't stop between steps while the others wait.
    """

    def __init__(self, *, saves: bool = True) -> None:
        self.asked = False
        # Signals arrive in the main thread only; elsewhere (a notebook's worker) there is nothing to catch.
        self._active = saves and threading.current_thread() is threading.main_thread()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if self._active:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        _log.info("interrupted: saving after this batch (once more to stop at once)")
