"""Photos of many requests through a pool of detectors and one net: bounded, watched, never mixed up."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from agegender.deploy.draw import draw_faces
from agegender.deploy.face import Face
from agegender.deploy.predict import Predictor
from agegender.errors import DataError
from agegender.face.detector import Detection, Detector
from agegender.service.batcher import Batcher
from agegender.service.config import ServiceConfig
from agegender.service.crash import log_crash
from agegender.service.metrics import Metrics
from agegender.service.pictures import Photo, decode_picture, encode_picture
from agegender.service.refusal import RefusedError

_log = logging.getLogger(__name__)
# A thread that works on one photo for so many deadlines hangs.
_HANGS = 4
# At the end: seconds for a thread that still works on what nobody waits for.
_LAST_WAIT = 5.0


@dataclass(frozen=True)
class Wanted:
    """What a request wants of each of its photos. ``annotated`` is jpeg, png or None; ``min_face`` None: as started."""

    min_score: float = 0.0
    min_face: float | None = None
    annotated: str | None = None
    lang: str = "en"
    min_confidence: float = 0.0


@dataclass(frozen=True, eq=False)
class Analysis:
    """One photo, done: its size in pixels, faces, annotated picture as a file, milliseconds by stage."""

    width: int
    height: int
    faces: list[Face]
    annotated: bytes | None
    timing: dict[str, float]


@dataclass(eq=False)
class Job:
    """One photo on its way. ``deadline`` is a time of ``time.monotonic``."""

    data: bytes
    wanted: Wanted
    deadline: float
    future: Future[Analysis] = field(default_factory=Future)
    abandoned: bool = False
    since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Take the future from its waiter: who gives up waiting must not cancel it under the thread that answers."""
        self.future.set_running_or_notify_cancel()

    @property
    def pointless(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.abandoned or time.monotonic() > self.deadline


class Analyzer:
    """Analyses photos in one thread per detector of ``detectors`` (None: each photo is a crop).

    Each thread has its own detector; the faces they find go through ``predictor``'s net together. At most
    ``config.queue`` photos are inside at one time. With ``shared_net``, several threads may run the net at once. Raises
    UsageError where the nets of a pair want other crops than the photos are.
    """

    def __init__(
        self,
        predictor: Predictor,
        detectors: Sequence[Detector | None],
        *,
        config: ServiceConfig,
        metrics: Metrics,
        shared_net: bool = False,
    ) -> None:
        self._predictor, self._config, self._metrics = predictor, config, metrics
        # A blank photo, which fails here where every photo would.
        self._blank = np.full((160, 160, 3), 128, np.uint8)
        whole = None if None in detectors else [predictor.whole(self._blank)]
        self._blank_crop = predictor.reader.crop(self._blank, whole)[0]
        self._jobs: deque[Job | None] = deque()
        self._change = threading.Condition()
        self._inside = self._searched = 0
        self._usual_seconds = 0.1
        self._crashes: list[str] = []
        self._warm = 0
        self._busy: dict[str, float] = {}
        self._batcher: Batcher[tuple[Any, Detection], Face] = Batcher(
            self._read,
            max_batch=config.max_batch,
            max_wait=config.max_wait / 1000,
            more_to_come=lambda: self._searched > 0,
            watch=metrics.batches.labels("faces").observe,
            helped=shared_net,
            name="net",
        )
        self._threads = [
            threading.Thread(target=self._work, args=(detector,), name=f"worker-{number}", daemon=True)
            for number, detector in enumerate(detectors)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, pictures: Sequence[bytes], wanted: Wanted, *, deadline: float) -> list[Job]:
        """Take the files of one request, all or none; each job's future becomes an Analysis.

        It fails with RefusedError for a photo that can't be read, and with what went wrong otherwise. Raises
        RefusedError: 429 where there is no room, 503 where no thread is left to do it.
        """
        self.check_room(len(pictures))
        jobs = [Job(data, wanted, deadline) for data in pictures]
        with self._change:
            if self._inside + len(jobs) > self._config.queue:
                raise self.full(self._inside)
            self._inside += len(jobs)
            self._searched += len(jobs)
            self._jobs += jobs
            self._change.notify(len(jobs))
        for job in jobs:
            job.future.add_done_callback(self._leave)
        return jobs

    def check_room(self, count: int = 1) -> None:
        """Raise what ``submit`` would raise for ``count`` photos."""
        if len(self._crashes) == len(self._threads) or self._batcher.problem is not None:
            raise RefusedError(503, "broken", "the service has lost its worker threads and has to be started again")
        if self._inside + count > self._config.queue:
            raise self.full(self._inside)

    @property
    def inside(self) -> int:
        """Return how many photos wait or are worked on."""
        return self._inside

    def problems(self) -> list[str]:
        """Return what is wrong, one line each: threads that crashed, hang or are not warm yet."""
        problems = list(self._crashes)
        if self._batcher.problem is not None:
            problems.append(self._batcher.problem)
        now = time.monotonic()
        for name, since in list(self._busy.items()):
            if now - since > _HANGS * self._config.deadline:
                problems.append(f"thread {name} hangs for {now - since:.0f} s")
        cold = len(self._threads) - self._warm - len(self._crashes)
        if cold > 0:
            problems.append(f"{cold} of {len(self._threads)} worker threads are warming up")
        return problems

    def wait_until_warm(self, timeout: float = 120.0) -> None:
        """Wait until each thread has worked once, or has crashed."""
        with self._change:
            self._change.wait_for(lambda: self._warm + len(self._crashes) >= len(self._threads), timeout)

    def stop(self) -> None:
        """End all threads once what is inside is done."""
        with self._change:
            self._jobs += [None] * len(self._threads)
            self._change.notify_all()
        for thread in self._threads:
            thread.join(_LAST_WAIT)
        self._batcher.stop(_LAST_WAIT)

    def full(self, waiting: int) -> RefusedError:
        """Return the refusal where ``waiting`` photos are before: it says when to come again."""
        seconds = math.ceil(self._usual_seconds * waiting / max(1, len(self._threads)))
        return RefusedError(
            429,
            "queue_full",
            f"the queue is full ({min(waiting, self._config.queue)} of {self._config.queue} photos); try again later",
            retry_after=min(max(seconds, 1), 60),
        )

    def _leave(self, _: Future[Analysis]) -> None:
        with self._change:
            self._inside -= 1

    def _work(self, detector: Detector | None) -> None:
        name = threading.current_thread().name
        job: Job | None = None
        try:
            self._warm_up(detector)
            while (job := self._next()) is not None:
                self._busy[name] = time.monotonic()
                try:
                    self._analyse(job, detector)
                finally:
                    self._busy.pop(name, None)
        except BaseException as error:
            log_crash(_log, f"thread {name} has crashed", error)
            problem = f"thread {name} has crashed ({type(error).__name__})"
            with self._change:
                self._crashes.append(problem)
                left = [each for each in self._jobs if each] if len(self._crashes) == len(self._threads) else []
                if left:
                    self._jobs.clear()
                    self._searched -= len(left)
                self._change.notify_all()
            for each in [job, *left]:
                if each is not None and not each.future.done():
                    each.future.set_exception(RuntimeError(problem))

    def _warm_up(self, detector: Detector | None) -> None:
        """Let the sessions be built before the first client comes."""
        if detector is not None:
            detector.detect(self._blank)
        warm = self._batcher.submit([(self._blank_crop, self._predictor.whole(self._blank))])
        self._batcher.work_off()
        warm.result()
        with self._change:
            self._warm += 1
            self._change.notify_all()

    def _next(self) -> Job | None:
        with self._change:
            while not self._jobs:
                self._change.wait()
            return self._jobs.popleft()

    def _analyse(self, job: Job, detector: Detector | None) -> None:
        """Work on one photo; whatever its file does, this thread goes on."""
        try:
            try:
                if job.pointless:
                    raise RefusedError(504, "deadline", "the deadline of the request has passed")
                pending = self._search(job, detector)
            finally:
                # One photo less is on its way to the net.
                with self._change:
                    self._searched -= 1
                self._batcher.work_off()
            pending()
        except Exception as error:
            self._fail(job, error)

    def _fail(self, job: Job, error: BaseException) -> None:
        if isinstance(error, DataError) and not isinstance(error, RefusedError):
            error = RefusedError(422, "bad_image", str(error))
        elif not isinstance(error, RefusedError):
            log_crash(_log, "a photo could not be analysed", error)
        job.future.set_exception(error)

    def _search(self, job: Job, detector: Detector | None) -> Callable[[], None]:
        """Decode, detect, crop and hand the faces to the net; return what is left to do without it."""
        clock = _Clock(job.since, self._metrics)
        clock.lap("wait")
        image = decode_picture(job.data, max_pixels=self._config.pixels)
        clock.lap("decode")
        detections = self._detect(image, job.wanted, detector)
        clock.lap("detect")
        crops = self._predictor.reader.crop(image, None if detector is None else detections)
        faces = self._batcher.submit(list(zip(crops, detections, strict=True)))
        height, width = image.shape[:2]
        if job.wanted.annotated is not None:
            # Waits for the net here, so that no more decoded photos are held than there are threads.
            return partial(self._draw, job, image, faces, clock)
        finish = partial(self._finish, job, (width, height), clock)
        return partial(faces.add_done_callback, finish)

    def _detect(self, image: Photo, wanted: Wanted, detector: Detector | None) -> list[Detection]:
        if detector is None:
            return [self._predictor.whole(image)]
        # A client may look for larger faces than the service does, not for smaller ones, which cost more.
        found = detector.detect(image) if wanted.min_face is None else detector.detect(image, min_face=wanted.min_face)
        return [each for each in found if each.score >= wanted.min_score]

    def _draw(self, job: Job, image: Photo, pending: Future[list[Face]], clock: _Clock) -> None:
        faces = told(pending.result(), job.wanted.min_confidence)
        clock.lap("read")
        picture = encode_picture(draw_faces(image, faces, lang=job.wanted.lang), str(job.wanted.annotated))
        clock.lap("draw")
        self._done(job, (image.shape[1], image.shape[0]), clock, faces, picture)

    def _finish(self, job: Job, size: tuple[int, int], clock: _Clock, pending: Future[list[Face]]) -> None:
        try:
            faces = told(pending.result(), job.wanted.min_confidence)
            clock.lap("read")
            self._done(job, size, clock, faces, None)
        except Exception as error:
            self._fail(job, error)

    def _done(self, job: Job, size: tuple[int, int], clock: _Clock, faces: list[Face], annotated: bytes | None) -> None:
        self._metrics.images.inc()
        self._metrics.faces.inc(len(faces))
        self._usual_seconds += 0.1 * (clock.worked - self._usual_seconds)
        job.future.set_result(Analysis(*size, faces, annotated, clock.timing()))

    def _read(self, rows: list[tuple[Any, Detection]]) -> list[Face]:
        crops, detections = zip(*rows, strict=True)
        return self._predictor.predict_crops(crops, detections)


def told(faces: Sequence[Face], min_confidence: float) -> list[Face]:
    """Return ``faces`` without the genders whose probability is below ``min_confidence``."""

    def sure(face: Face) -> bool:
        return face.gender_probability is None or face.gender_probability >= min_confidence

    return [face if sure(face) else dataclasses.replace(face, gender=None) for face in faces]


class _Clock:
    """The milliseconds that a photo spent in each stage."""

    def __init__(self, since: float, metrics: Metrics) -> None:
        self._since = self._last = since
        self._laps: dict[str, float] = {}
        self._metrics = metrics

    def lap(self, stage: str) -> None:
        now = time.monotonic()
        self._laps[stage] = now - self._last
        self._metrics.stages.labels(stage).observe(now - self._last)
        self._last = now

    @property
    def worked(self) -> float:
        """Return the seconds without those in the queue."""
        return sum(seconds for stage, seconds in self._laps.items() if stage != "wait")

    def timing(self) -> dict[str, float]:
        total = {"total": self._last - self._since}
        return {f"{stage}_ms": round(1000 * seconds, 2) for stage, seconds in {**self._laps, **total}.items()}
