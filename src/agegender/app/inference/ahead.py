"""Reading the next photos while the current one is computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# How often a thread that waits for room looks whether nobody wants more.
_PATIENCE_SECONDS = 0.1


class ReadAhead(Generic[T, R]):
    """Iterates over ``items``, in order, each with the future of ``read(item)``; close it at the end.

    ``items`` are drawn in a thread of their own and read in ``workers`` threads; at most ``ahead`` wait, read or being
    read, and one more is with the caller. So an item that comes late (a line that somebody types) holds up none that
    is there. What ``items`` raises is raised here, after the items before it.
    """

    def __init__(self, items: Iterable[T], read: Callable[[T], R], *, workers: int, ahead: int) -> None:
        self._items, self._read = items, read
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="photo-reader")
        self._room = threading.Semaphore(ahead)
        self._ready: queue.SimpleQueue[tuple[T, Future[R]] | BaseException | None] = queue.SimpleQueue()
        self._stopped = False
        # A daemon: it may wait for standard input for ever.
        self._feeder = threading.Thread(target=self._feed, name="photo-finder", daemon=True)
        self._feeder.start()

    def __iter__(self) -> Iterator[tuple[T, Future[R]]]:
        while (entry := self._ready.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            self._room.release()
            yield entry

    def close(self) -> None:
        """Read no more. What is being read is finished in the background and dropped."""
        self._stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _feed(self) -> None:
        try:
            for item in self._items:
                if not self._wait():
                    return
                self._ready.put((item, self._pool.submit(self._read, item)))
        except BaseException as error:
            if not self._stopped:  # the caller has left: nobody is there to hear of it
                self._ready.put(error)
            return
        self._ready.put(None)

    def _wait(self) -> bool:
        """Wait for room; False where no more is wanted."""
        while not self._room.acquire(timeout=_PATIENCE_SECONDS):
            if self._stopped:
                return False
        return not self._stopped
