"""The workers of packing: threads for decoding and encoding, processes where faces have to be detected."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Union

from agegender.errors import AgeGenderError

# Nothing heavy is imported here: a worker process sets its threads before numpy and MXNet load.
if TYPE_CHECKING:
    from agegender.dataset.crop import Crop, CropSettings
    from agegender.dataset.face_record import FaceSample
    from agegender.face.detector import Detector

MakeDetector = Callable[[], "Detector"]
# The crops of a chunk, or their promise.
Work = Union[list["Crop"], "Future[list[Crop]]"]
# Chunks that wait per worker; with the size of a chunk it bounds the memory.
_WAITING = 3


class Chunk(NamedTuple):
    """Faces that one worker crops in one go; ``first`` is the number of the first of them in the job."""

    first: int
    samples: list[FaceSample]
    detect: bool


class Crew:
    """Crops chunks of faces on ``workers`` cores and gives the results back in the order of the chunks.

    Chunks with ``detect`` go to processes, which are spawned (MXNet can't be forked) and open their detector with
    ``make_detector``, a callable that can be pickled; the others go to threads. Used in a ``with`` block.
    """

    def __init__(self, settings: CropSettings, *, workers: int, make_detector: MakeDetector | None) -> None:
        self.settings = settings
        self.workers = workers
        self.make_detector = make_detector
        self._threads: Executor | None = None
        self._processes: Executor | None = None

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self._threads, self._processes):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)

    def crop(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, list[Crop]]]:
        """Yield each chunk with its crops, in order; only a few chunks per worker are in memory at a time.

        Raises AgeGenderError where a worker died, and what a worker raised.
        """
        waiting: deque[tuple[Chunk, Work]] = deque()
        for chunk in chunks:
            waiting.append((chunk, self._submit(chunk)))
            if len(waiting) > _WAITING * self.workers:
                yield self._next(waiting)
        while waiting:
            yield self._next(waiting)

    def _next(self, waiting: deque[tuple[Chunk, Work]]) -> tuple[Chunk, list[Crop]]:
        chunk, work = waiting.popleft()
        try:
            return chunk, work.result() if isinstance(work, Future) else work
        except BrokenProcessPool as error:
            raise _dead_worker(chunk) from error

    def _submit(self, chunk: Chunk) -> Work:
        from agegender.dataset.crop import crop_faces, is_ready

        if not chunk.detect:
            crop = partial(crop_faces, chunk.samples, chunk.first, settings=self.settings, detector=None)
            if is_ready(chunk.samples[0], self.settings):
                # Most likely all of them pass through. Reading them takes less than handing them to a thread.
                return crop()
            self._threads = self._threads or ThreadPoolExecutor(self.workers)
            return self._threads.submit(crop)
        try:
            if self._processes is None:
                return self._start_processes(chunk)
            return self._processes.submit(_crop_detected, chunk, self.settings)
        except BrokenProcessPool as error:
            raise _dead_worker(chunk) from error

    def _start_processes(self, chunk: Chunk) -> Future[list[Crop]]:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self._processes = ProcessPoolExecutor(
            self.workers, mp_context=context, initializer=_start_worker, initargs=(self.make_detector,)
        )
        with _interrupts_ignored():
            return self._processes.submit(_crop_detected, chunk, self.settings)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let the processes started in this block inherit an ignored SIGINT: Ctrl-C is the parent's to answer."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


_make_detector: MakeDetector | None = None
_detector: Detector | None = None


def _start_worker(make_detector: MakeDetector | None) -> None:
    """Prepare a worker process: one thread for its libraries, and an end when the parent ends."""
    global _make_detector
    os.environ["OMP_NUM_THREADS"] = "1"
    _make_detector = make_detector
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave when the parent was killed: the pool's queues would be waited on for ever."""
    import multiprocessing
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _crop_detected(chunk: Chunk, settings: CropSettings) -> list[Crop]:
    """Crop a chunk in a worker process."""
    global _detector
    from agegender.dataset.crop import crop_faces

    if _detector is None:
        import cv2

        cv2.setNumThreads(1)
        if _make_detector is None:
            raise AgeGenderError("there are loose photos, but no face detector was given")
        _detector = _make_detector()
    return crop_faces(chunk.samples, chunk.first, settings=settings, detector=_detector)


def _dead_worker(chunk: Chunk) -> AgeGenderError:
    return AgeGenderError(
        f"a packing worker died near {chunk.samples[0].path} (killed, or out of memory?); "
        "fewer --workers take less memory, and --resume goes on from here"
    )
