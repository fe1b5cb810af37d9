"""Dynamic batching: rows of many requests go through a net together."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from agegender.service.crash import log_crash

Row = TypeVar("Row")
Result = TypeVar("Result")
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Wish(Generic[Row, Result]):
    rows: list[Row]
    future: Future[list[Result]] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        # Who gives up waiting must not cancel it under the thread that answers.
        self.future.set_running_or_notify_cancel()


class Batcher(Generic[Row, Result]):
    """One thread that hands rows to ``run``, as many at once as ``max_batch``, in the order they came.

    ``run`` returns one result a row, in order. A batch starts when it is full, when its first row has waited
    ``max_wait`` seconds, or at once where ``more_to_come`` says that nothing else is on its way. Where a batch fails,
    what was asked for is tried alone, so that nobody gets another's error. ``watch`` is told the size of each batch.
    With ``helped``, which needs a ``run`` that several threads may call at once, ``work_off`` lends it threads.
    """

    def __init__(
        self,
        run: Callable[[list[Row]], Sequence[Result]],
        *,
        max_batch: int,
        max_wait: float,
        more_to_come: Callable[[], bool] = lambda: False,
        watch: Callable[[int], object] = lambda size: None,
        helped: bool = False,
        name: str = "batcher",
    ) -> None:
        self._run, self._watch, self._more_to_come = run, watch, more_to_come
        self._max_batch, self._max_wait, self._helped = max_batch, max_wait, helped
        self._wishes: deque[_Wish[Row, Result]] = deque()
        self._change = threading.Condition()
        self._stopping = self._timed = False
        self._crash: str | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, rows: Sequence[Row]) -> Future[list[Result]]:
        """Return the results of ``rows`` as a future; no rows, no waiting. RuntimeError where the thread has ended."""
        wish: _Wish[Row, Result] = _Wish(list(rows))
        if not wish.rows:
            wish.future.set_result([])
            return wish.future
        with self._change:
            if self._crash is not None or self._stopping:
                raise RuntimeError(f"{self._thread.name} has ended")
            self._wishes.append(wish)
            if not self._helped:
                self._change.notify()
        return wish.future

    def work_off(self) -> None:
        """To be called after ``submit``, and where ``more_to_come`` has changed.

        Where it is ``helped``, this thread answers the batches that are ready, which spares waking the other one, and
        leaves to it those that have to wait.
        """
        if not self._helped:
            with self._change:
                self._change.notify()
            return
        while True:
            with self._change:
                if not self._wishes:
                    return
                if self._seconds_left() > 0:
                    # Who waits already wakes in time: others' ends come later.
                    if not self._timed:
                        self._change.notify()
                    return
                batch = self._take()
            self._guarded(batch)

    def stop(self, timeout: float | None = None) -> None:
        """End the thread once all that was submitted is done; wait for it ``timeout`` seconds at most."""
        with self._change:
            self._stopping = True
            self._change.notify()
        self._thread.join(timeout)

    @property
    def problem(self) -> str | None:
        """Return why nothing will be answered any more, None where all is well."""
        return self._crash

    def _work(self) -> None:
        # What ends the thread has been told to everybody by then.
        with contextlib.suppress(BaseException):
            while batch := self._next():
                self._guarded(batch)

    def _guarded(self, batch: list[_Wish[Row, Result]]) -> None:
        """Answer ``batch``. What ends the thread is told to all who wait, whoever's thread it is, and raised."""
        try:
            self._answer(batch)
        except BaseException as error:
            name = threading.current_thread().name
            log_crash(_log, f"thread {name} has crashed", error)
            with self._change:
                self._crash = f"thread {name} has crashed ({type(error).__name__})"
                batch += self._wishes
                self._wishes.clear()
            for wish in batch:
                if not wish.future.done():
                    wish.future.set_exception(RuntimeError(self._crash))
            raise

    def _next(self) -> list[_Wish[Row, Result]]:
        """Wait for the next batch; [] at the end."""
        with self._change:
            while True:
                if not self._wishes:
                    if self._stopping:
                        return []
                    self._change.wait()
                elif (left := self._seconds_left()) > 0:
                    self._timed = True
                    self._change.wait(left)
                    self._timed = False
                else:
                    return self._take()

    def _seconds_left(self) -> float:
        """Return how long those who wait may wait for others; at most 0 where their batch is ready."""
        if self._waiting_rows() >= self._max_batch or self._stopping or not self._more_to_come():
            return 0.0
        return self._wishes[0].since + self._max_wait - time.monotonic()

    def _take(self) -> list[_Wish[Row, Result]]:
        batch = [self._wishes.popleft()]
        size = len(batch[0].rows)
        while self._wishes and size + len(self._wishes[0].rows) <= self._max_batch:
            batch.append(self._wishes.popleft())
            size += len(batch[-1].rows)
        return batch

    def _waiting_rows(self) -> int:
        return sum(len(wish.rows) for wish in self._wishes)

    def _answer(self, batch: list[_Wish[Row, Result]]) -> None:
        try:
            results = self._results([row for wish in batch for row in wish.rows])
        except Exception as error:
            if len(batch) > 1:
                for wish in batch:
                    self._answer([wish])
            else:
                batch[0].future.set_exception(error)
            return
        start = 0
        for wish in batch:
            wish.future.set_result(results[start : start + len(wish.rows)])
            start += len(wish.rows)

    def _results(self, rows: list[Row]) -> list[Result]:
        """Run the net, on no more than ``max_batch`` rows at once: a single photo may have more faces."""
        results: list[Result] = []
        for start in range(0, len(rows), self._max_batch):
            part = rows[start : start + self._max_batch]
            self._watch(len(part))
            told = list(self._run(part))
            if len(told) != len(part):
                raise RuntimeError(f"{len(told)} results for {len(part)} rows")
            results += told
        return results
