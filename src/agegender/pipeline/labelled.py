"""From a position in a record set to labels and body; what to do with bad records is decided here."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agegender.errors import RecordError, UsageError
from agegender.labels import BIN_LABELS, BIN_WIDTH, LABELS, MAX_AGE
from agegender.pipeline.batch import Batch
from agegender.pipeline.config import LoaderConfig
from agegender.recordio.layout import IMAGE_HEADER
from agegender.recordio.shards import RecordSet

_LABEL_BYTES = 4
LABEL_ORDERS = (LABELS, "age,gender", BIN_LABELS)


class RecordReader(ABC):
    """Fill rows of batches from a record set. Shared by threads.

    What a body is, ``fill`` and ``check`` know. Raises UsageError for a label order that does not exist.
    """

    def __init__(self, records: RecordSet, *, config: LoaderConfig, label_order: str = "gender,age") -> None:
        if label_order not in LABEL_ORDERS:
            raise UsageError(f"label order {label_order!r} is neither {' nor '.join(map(repr, LABEL_ORDERS[:2]))}")
        self._records = records
        self._files = records.files
        self._starts = [0, *accumulate(len(file) for file in records.files)]
        self._config = config
        self._label_order = label_order
        self._bad: dict[int, str] = {}
        self.label_width = self._width_of_first()
        self.binned = label_order == BIN_LABELS and self.label_width >= BIN_WIDTH

    @property
    def skipped(self) -> list[tuple[int, str, str]]:
        """The bad records met so far as (key, path, reason), in the set's order."""
        bad = sorted(self._bad.items())
        return [
            (int(self._records.keys[position]), str(self._records.path_of(position)), reason)
            for position, reason in bad
        ]

    @abstractmethod
    def fill(
        self,
        batch: Batch,
        first: int,
        slots: npt.NDArray[np.int64],
        *,
        order: npt.NDArray[np.integer[Any]],
        seed: int,
        epoch: int,
    ) -> None:
        """Fill rows ``first`` and on with the faces at places ``slots`` (n,) of ``order``, the epoch's positions.

        Places beyond the end start over. Raises RecordError for a bad record, unless they are skipped: then the next
        good one in the order takes its place.
        """

    @abstractmethod
    def check(self, record: FoundRecord) -> None:
        """Raise BadRecordError where the record's body can't be used."""

    def finish(self, batch: Batch, rows: slice, found: Sequence[FoundRecord], positions: Sequence[int]) -> None:
        """Write the labels, positions and keys of ``found`` into ``rows``."""
        batch.labels[rows] = [record.label for record in found]
        batch.positions[rows] = positions
        batch.keys[rows] = self._records.keys[positions]

    def find(self, position: int) -> FoundRecord:
        """Return labels and body of a record, or what is wrong with it."""
        # What RecordSet.read does, at a third of its cost: bisection of a list beats numpy's for one number.
        shard = bisect_right(self._starts, position) - 1
        try:
            return self._split(self._files[shard].read(position - self._starts[shard]))
        except RecordError as error:
            return FoundRecord((), b"", BadRecordError(str(error), named=True))
        except BadRecordError as error:
            return FoundRecord((), b"", error)

    def report(self, position: int, bad: BadRecordError) -> None:
        """Note a bad record. Raises RecordError, naming it, where bad ones stop the job."""
        if self._config.bad_records == "stop":
            named = str(bad) if bad.named else self._named(position, str(bad))
            raise RecordError(f"{named} (--bad_records skip passes over such records)")
        self._bad[position] = str(bad)

    def replacement(self, slot: int, order: npt.NDArray[np.integer[Any]]) -> tuple[int, FoundRecord]:
        """Return the next good record after place ``slot``: which one that is depends on the order alone."""
        for step in range(1, len(order)):
            position = int(order[(slot + step) % len(order)])
            if position in self._bad:
                continue
            record = self.find(position)
            try:
                self.check(record)
            except BadRecordError as error:
                self.report(position, error)
            else:
                return position, record
        key, path, reason = self.skipped[0]
        raise RecordError(f"none of the {len(order)} records can be used; the first: {path}: record {key}: {reason}")

    def _split(self, payload: bytes | memoryview) -> FoundRecord:
        """Split a record into labels and body; raises BadRecordError for labels that can't be."""
        if len(payload) < IMAGE_HEADER.size:
            raise BadRecordError(f"{len(payload)} bytes are too few for a record header")
        count = IMAGE_HEADER.unpack_from(payload)[0]
        if count != self.label_width:
            wanted = "gender and age" if self.label_width == 2 else f"{self.label_width}, as the first record has"
            raise BadRecordError(f"it has {count or 1} label{'s' if count > 1 else ''} instead of {wanted}")
        end = IMAGE_HEADER.size + _LABEL_BYTES * count
        if len(payload) < end:
            raise BadRecordError(f"{len(payload)} bytes end within its labels")
        label: tuple[float, ...] = self._label.unpack_from(payload, IMAGE_HEADER.size)
        if self._label_order == "age,gender":
            label = (label[1], label[0], *label[2:])
        gender, age = label[0], label[1]
        if not (gender == 0 or gender == 1 or gender == -1):
            hint = "" if self._label_order == "age,gender" else " (is it age first? --label_order age,gender)"
            raise BadRecordError(f"gender {gender:g} is none of 0 = female, 1 = male, -1 = unknown{hint}")
        if not (0 <= age <= MAX_AGE or age == -1):
            raise BadRecordError(f"age {age:g} is not within 0..{MAX_AGE} (-1 = unknown)")
        if self.binned and not (label[2] == label[3] == -1 or 0 <= label[2] <= age <= label[3] <= MAX_AGE):
            raise BadRecordError(f"low {label[2]:g}, age {age:g} and high {label[3]:g} are not in this order in 0..100")
        return FoundRecord(label, payload[end:], None)

    def _named(self, position: int, reason: str) -> str:
        return f"{self._records.path_of(position)}: record {self._records.keys[position]}: {reason}"

    def _width_of_first(self) -> int:
        """Return how many labels the first record with at least two has; two where none is in sight."""
        for position in range(min(len(self._records), 100)):
            try:
                payload = self._records.read(position)
            except RecordError:
                continue
            if len(payload) >= IMAGE_HEADER.size and 2 <= (count := IMAGE_HEADER.unpack_from(payload)[0]) <= 1000:
                break
        else:
            count = 2
        self._label = struct.Struct(f"<{count}f")
        return int(count)


class FoundRecord(NamedTuple):
    """Labels and body of a record, or the ``problem`` for which there are none."""

    label: Sequence[float]
    body: bytes | memoryview
    problem: BadRecordError | None


class BadRecordError(Exception):
    """A record that can't be used; ``named`` where the message has its file and key already."""

    def __init__(self, reason: str, *, named: bool = False) -> None:
        super().__init__(reason)
        self.named = named
