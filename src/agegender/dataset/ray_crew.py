"""The workers of packing on a Ray cluster: one actor a core, in place of the threads and processes of ``Crew``."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agegender.dataset.crew import Chunk, MakeDetector
from agegender.dataset.ray_worker import FaceWorker
from agegender.errors import AgeGenderError, DeviceError, UsageError
from agegender.ray_session import error_of_ray, ray_session

if TYPE_CHECKING:
    from agegender.dataset.crop import Crop, CropSettings

log = logging.getLogger(__name__)

# Chunks per actor that are under way or wait to be written; with the size of a chunk it bounds the memory.
_WAITING = 3
# Chunks that lie with an actor, so that the next is there when one is done.
_AHEAD = 2
# How often a chunk may lose its worker before its faces are tried alone, and how often each of those may then.
_TRIES, _TRIES_ALONE = 2, 2
# Actors that die one after the other while they open their detector, before it is given up.
_FAILED_STARTS = 3
# What Ray may take to start an actor while there is no other.
_START_SECONDS = 300.0


@dataclass(eq=False)
class _Piece:
    """A chunk on its way, with the crops once they are there."""

    chunk: Chunk
    deaths: int = 0
    crops: list[Crop] | None = None


@dataclass(eq=False)
class _Worker:
    """An actor, what Ray promised of it, and the pieces that lie with it by their promises."""

    actor: Any
    opening: Any
    pieces: dict[Any, _Piece]


class RayCrew:
    """Crops chunks of faces on ``actors`` actors (None: one a core) of the Ray at ``address``, in order, as ``Crew``.

    The actors only read and compute; crops come back here, so what is done twice after a death is written once. A
    chunk whose actor dies goes to another one; where it loses two, its faces are tried one by one. Used in a ``with``
    block, which connects to Ray; its end kills the actors, and the Ray if it was started by it.
    """

    def __init__(
        self, settings: CropSettings, *, address: str, actors: int | None, make_detector: MakeDetector | None
    ) -> None:
        self.settings = settings
        self.actors = actors
        self.make_detector = make_detector
        self._session: AbstractContextManager[ModuleType] = ray_session(address, flag="--ray")
        self._ray: Any = None
        self._workers: list[_Worker] = []
        self._alone: Any = None
        self._failed_starts = 0
        self._again: deque[_Piece] = deque()

    def __enter__(self) -> RayCrew:
        """Connect and start the actors. Raises UsageError for no such cluster and more actors than it has cores."""
        self._ray = self._session.__enter__()
        try:
            cores = int(self._ray.cluster_resources().get("CPU", 0))
            if not cores:
                raise DeviceError("--ray: Ray has no core here, so that no worker can start")
            if self.actors is not None and self.actors > cores:
                raise UsageError(f"--ray_actors {self.actors}: Ray has {cores} cores here")
            self._workers = [self._start() for _ in range(self.actors or cores)]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        actors = [worker.actor for worker in self._workers] + ([] if self._alone is None else [self._alone])
        self._workers, self._alone = [], None
        try:
            for actor in actors:
                self._kill(actor)
        finally:
            self._session.__exit__(None, None, None)

    def crop(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, list[Crop]]]:
        """Yield each chunk with its crops, in order; only a few chunks per actor are under way at a time.

        Raises AgeGenderError where no actor starts or a face kills its actor each time, and what an actor raised.
        """
        left = iter(chunks)
        waiting: deque[_Piece] = deque()
        while True:
            self._hand_out(left, waiting)
            if not waiting:
                return
            if waiting[0].crops is None:
                self._wait()
            else:
                piece = waiting.popleft()
                yield piece.chunk, piece.crops or []

    def _hand_out(self, left: Iterator[Chunk], waiting: deque[_Piece]) -> None:
        """Give all open actors enough to do: first what others left, then new chunks while ``waiting`` is short."""
        while free := [each for each in self._workers if each.opening is None and len(each.pieces) < _AHEAD]:
            if self._again:
                piece = self._again.popleft()
            else:
                chunk = next(left, None) if len(waiting) < _WAITING * len(self._workers) else None
                if chunk is None:
                    break
                piece = _Piece(chunk)
                waiting.append(piece)
            worker = min(free, key=lambda each: len(each.pieces))
            worker.pieces[worker.actor.crop.remote(piece.chunk)] = piece
        if not waiting and (chunk := next(left, None)) is not None:
            # Nobody is open yet.
            piece = _Piece(chunk)
            waiting.append(piece)
            self._again.append(piece)

    def _wait(self) -> None:
        """Wait until an actor has opened, has done a piece or has died; take note of all that have."""
        opening = {worker.opening: worker for worker in self._workers if worker.opening is not None}
        busy = {promise: worker for worker in self._workers for promise in worker.pieces}
        # An actor for which there is no room any more (its machine is gone) is waited for no longer than needed.
        seconds = None if len(opening) < len(self._workers) else _START_SECONDS
        promises = [*busy, *opening]
        done, _ = self._ray.wait(promises, num_returns=1, timeout=seconds, fetch_local=False)
        if not done:
            raise AgeGenderError(
                f"--ray: no worker has started within {_START_SECONDS:g} seconds (are the cluster's cores taken?); "
                "--resume goes on from here"
            )
        # All that are done: asking anew for each of some thousand promises takes Ray longer than the work.
        done, _ = self._ray.wait(promises, num_returns=len(promises), timeout=0, fetch_local=False)
        for promise in done:
            worker = opening.get(promise) or busy[promise]
            if worker in self._workers:
                self._take(worker, promise)

    def _take(self, worker: _Worker, promise: Any) -> None:
        try:
            crops = self._get(promise)
        except _WorkerLostError:
            self._replace(worker)
            return
        if worker.opening is not None:
            worker.opening = None
            self._failed_starts = 0
        else:
            worker.pieces.pop(promise).crops = crops

    def _replace(self, worker: _Worker) -> None:
        """Start an actor in place of one that died, and see to the pieces that lay with it."""
        self._kill(worker.actor)
        if worker.opening is not None:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise AgeGenderError(
                    f"--ray: {_FAILED_STARTS} workers died one after the other while they started (killed, or out "
                    "of memory?); fewer --ray_actors take less memory, and --resume goes on from here"
                )
        log.warning("--ray: a worker died; another one takes its place and its faces")
        self._workers[self._workers.index(worker)] = self._start()
        for piece in worker.pieces.values():
            piece.deaths += 1
            if piece.deaths < _TRIES:
                self._again.append(piece)
            else:
                piece.crops = self._crop_one_by_one(piece.chunk)

    def _crop_one_by_one(self, chunk: Chunk) -> list[Crop]:
        """Crop the faces of a chunk that has lost its workers, with an actor that does nothing else meanwhile."""
        crops: list[Crop] = []
        for number, face in enumerate(chunk.samples, chunk.first):
            crops += self._crop_alone(Chunk(number, [face], chunk.detect))
        return crops

    def _crop_alone(self, chunk: Chunk) -> list[Crop]:
        for _ in range(_TRIES_ALONE):
            if self._alone is None:
                # All cores may be taken by the others; this one is seldom there.
                worker = self._start(cores=0)
                self._alone = worker.actor
            try:
                crops: list[Crop] = self._get(self._alone.crop.remote(chunk))
                return crops
            except _WorkerLostError:
                self._kill(self._alone)
                self._alone = None
        raise AgeGenderError(
            f"{chunk.samples[0].path}: every worker that packs this photo dies ({_TRIES} with others, "
            f"{_TRIES_ALONE} with it alone; out of memory?); --resume goes on from here where there is more memory, "
            "or start again without this photo"
        )

    def _start(self, *, cores: int = 1) -> _Worker:
        remote = self._ray.remote(num_cpus=cores, max_restarts=0, max_task_retries=0)(FaceWorker)
        actor = remote.remote(str(Path.cwd()))
        return _Worker(actor, actor.open.remote(self.settings, self.make_detector), {})

    def _get(self, promise: Any) -> Any:
        """Return what Ray promised. Raises _WorkerLostError where the actor is gone, and what it raised."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(promise)
        except errors.RayTaskError as error:
            raise error_of_ray(error) from error
        except errors.RayError as error:
            raise _WorkerLostError from error

    def _kill(self, actor: Any) -> None:
        # One that is dead already is what is wanted.
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(actor)


class _WorkerLostError(Exception):
    """An actor, its machine or what it had computed is gone."""
