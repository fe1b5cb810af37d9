"""The loader that every executor shares: records in, batches out, prefetched by threads."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.cores import usable_cores
from agegender.errors import DataError, UsageError
from agegender.input_shape import Size
from agegender.pipeline.batch import Batch, clear_rows, empty_batch
from agegender.pipeline.config import PLAIN, LoaderConfig
from agegender.pipeline.faces import FaceReader
from agegender.pipeline.labelled import RecordReader
from agegender.pipeline.randomness import generator
from agegender.pipeline.vectors import VectorReader
from agegender.recordio.shards import RecordSet

# Faces a thread takes at once: enough to make handing out work free, few enough that a batch is shared by all threads.
CHUNK = 64
# Batches in work or waiting, besides the one the consumer holds: at least so many, and two chunks for each thread.
PREFETCH = 3

Order = npt.NDArray[np.integer[Any]] | Callable[[int], npt.NDArray[np.integer[Any]]]


class Loader:
    """Serve the faces of a record set in batches.

    ``size`` is (height, width) of the net's input; (n,) where the records hold embeddings of n numbers. ``order`` gives
    positions to use instead of every record once (as an array, or as a function of the epoch, all of one length; see
    ``balance_by_age``); with ``shuffle`` they are shuffled too. ``rank`` of ``world`` workers gets its rows of each
    global batch of ``world * batch_size``: together they see every sample once per epoch, in equally many batches.
    ``last`` says how the last batch is filled: ``wrap`` goes on from the epoch's start, ``partial`` pads (see
    ``Batch.valid``).

    Order and augmentation depend on (seed, epoch, place in the epoch) alone: not on threads, and not on where an
    epoch is entered. Raises DataError for an empty set, UsageError for arguments that do not fit.
    """

    def __init__(
        self,
        records: RecordSet,
        *,
        batch_size: int,
        size: Size,
        config: LoaderConfig | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        order: Order | None = None,
        last: str = "wrap",
        label_order: str = "gender,age",
    ) -> None:
        if len(records) == 0:
            raise DataError("the record set is empty")
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size} is not 1 or more")
        if not 0 <= rank < world:
            raise UsageError(f"rank {rank} is not within 0..{world - 1}")
        if last not in ("wrap", "partial"):
            raise UsageError(f"last {last!r} is neither 'wrap' nor 'partial'")
        config = PLAIN if config is None else config
        self.batch_size = batch_size
        self._records = records
        self._size = size
        self._shuffle = shuffle
        self._seed = seed
        self._rank, self._world = rank, world
        self._order = order
        self._last = last
        self._faces = _reader(records, size=size, config=config, label_order=label_order)
        self.samples_per_epoch = len(self._positions(0))
        self.batches_per_epoch = math.ceil(self.samples_per_epoch / (batch_size * world))
        # One more than there are cores fills the moments in which a thread waits for the GIL: 5 to 10% faster.
        threads = config.loader_threads or usable_cores() + 1
        self._ahead = max(PREFETCH, math.ceil(2 * threads * CHUNK / batch_size))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="loader")
        self._free: list[Batch] = []

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the threads. The loader can't be used afterwards."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    @property
    def label_width(self) -> int:
        """How many labels a face has: 2, or more where the set brings further ones."""
        return self._faces.label_width

    @property
    def binned(self) -> bool:
        """Whether the labels are gender, age, low, high, std (see ``labels.BIN_LABELS``)."""
        return self._faces.binned

    @property
    def skipped(self) -> list[tuple[int, str, str]]:
        """The bad records passed over so far, as (key, path, reason); always empty unless ``bad_records`` is skip."""
        return self._faces.skipped

    def epoch(self, epoch: int, *, start_batch: int = 0) -> Generator[Batch, None, None]:
        """Yield the batches of one epoch from ``start_batch`` on; each is valid until the next is asked for.

        Raises RecordError naming file and record where one is bad (see ``LoaderConfig.bad_records``).
        """
        order = self._epoch_order(epoch)
        numbers = iter(range(start_batch, self.batches_per_epoch))
        ahead: deque[tuple[Batch, list[Future[None]]]] = deque()
        try:
            for number in numbers:
                ahead.append(self._start(number, order=order, epoch=epoch))
                if len(ahead) > self._ahead:
                    yield from self._finish(ahead)
            while ahead:
                yield from self._finish(ahead)
        finally:
            # Left early (an error, Ctrl-C, a break): nothing may write into batches that are handed out again.
            for batch, work in ahead:
                wait([future for future in work if not future.cancel()])
                self._free.append(batch)

    def _finish(self, ahead: deque[tuple[Batch, list[Future[None]]]]) -> Generator[Batch, None, None]:
        """Wait for the oldest batch in work, yield it, and take its memory back."""
        batch, work = ahead[0]
        for future in work:
            future.result()
        ahead.popleft()
        try:
            yield batch
        finally:
            self._free.append(batch)

    def _start(
        self, number: int, *, order: npt.NDArray[np.integer[Any]], epoch: int
    ) -> tuple[Batch, list[Future[None]]]:
        """Hand the work on batch ``number`` of this rank to the threads."""
        first = (number * self._world + self._rank) * self.batch_size
        valid = self.batch_size
        if self._last == "partial":
            valid = min(max(len(order) - first, 0), self.batch_size)
        batch = replace(self._memory(), valid=valid, epoch=epoch, first=first)
        clear_rows(batch, valid)
        slots = np.arange(first, first + valid)
        work = [
            self._threads.submit(
                self._faces.fill, batch, row, slots[row : row + CHUNK], order=order, seed=self._seed, epoch=epoch
            )
            for row in range(0, valid, CHUNK)
        ]
        return batch, work

    def _memory(self) -> Batch:
        if self._free:
            return self._free.pop()
        return empty_batch(self.batch_size, size=self._size, width=self.label_width, binned=self.binned)

    def _positions(self, epoch: int) -> npt.NDArray[np.integer[Any]]:
        if self._order is None:
            # Half the memory of int64, which counts at ten million records.
            kind = np.int32 if len(self._records) < 2**31 else np.int64
            return np.arange(len(self._records), dtype=kind)
        positions = np.asarray(self._order(epoch) if callable(self._order) else self._order)
        if positions.size == 0 or positions.ndim != 1 or not np.issubdtype(positions.dtype, np.integer):
            raise UsageError(f"order of shape {positions.shape} and type {positions.dtype} is no list of positions")
        if positions.min() < 0 or positions.max() >= len(self._records):
            raise UsageError(f"order goes beyond the {len(self._records)} records")
        return positions

    def _epoch_order(self, epoch: int) -> npt.NDArray[np.integer[Any]]:
        positions = self._positions(epoch)
        if len(positions) != self.samples_per_epoch:
            raise UsageError(
                f"order has {len(positions)} positions in epoch {epoch}, {self.samples_per_epoch} in epoch 0"
            )
        if self._shuffle:
            positions = generator(seed=self._seed, epoch=epoch).permutation(positions)
        return positions


def _reader(records: RecordSet, *, size: Size, config: LoaderConfig, label_order: str) -> RecordReader:
    if len(size) == 1:
        return VectorReader(records, width=size[0], config=config, label_order=label_order)
    return FaceReader(records, size=(size[0], size[1]), config=config, label_order=label_order)
