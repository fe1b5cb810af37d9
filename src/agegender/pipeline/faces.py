"""From a position in a record set to a face in a batch; what to do with bad records is decided here."""

from __future__ import annotations

import struct
import threading
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agegender.errors import ImageError, RecordError, UsageError
from agegender.labels import BIN_LABELS, BIN_WIDTH, LABELS, MAX_AGE
from agegender.pipeline.augment import Augmenter, Image
from agegender.pipeline.batch import Batch
from agegender.pipeline.config import LoaderConfig
from agegender.pipeline.decode import Decoder
from agegender.recordio.layout import IMAGE_HEADER
from agegender.recordio.shards import RecordSet

_LABEL_BYTES = 4
LABEL_ORDERS = (LABELS, "age,gender", BIN_LABELS)


class FaceReader:
    """Fill rows of batches from a record set. Shared by threads, each with its own memory.

    Raises UsageError for a label order that does not exist.
    """

    def __init__(
        self, records: RecordSet, *, size: tuple[int, int], config: LoaderConfig, label_order: str = "gender,age"
    ) -> None:
        if label_order not in LABEL_ORDERS:
            raise UsageError(f"label order {label_order!r} is neither {' nor '.join(map(repr, LABEL_ORDERS[:2]))}")
        self._records = records
        self._files = records.files
        self._starts = [0, *accumulate(len(file) for file in records.files)]
        self._size = size
        self._config = config
        self._label_order = label_order
        self._local = threading.local()
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
        decoder, augmenter = self._tools()
        plan = augmenter.plan(slots, seed=seed, epoch=epoch)
        positions = order[slots % len(order)].tolist()
        # Two passes: what holds the GIL is kept apart from decoding, which releases it, or threads wait for each
        # other at every face.
        found = [self._find(position) for position in positions]
        rows = slice(first, first + len(positions))
        for row, out in enumerate(batch.data[rows]):
            try:
                image = self._decode(found[row], decoder, out if plan.untouched[row] else None)
            except _BadRecordError as error:
                self._report(positions[row], error)
                positions[row], found[row] = self._replacement(int(slots[row]), order, decoder)
                image = decoder.decode(found[row].body)
            if image is not None:
                augmenter.apply(image, out, plan, row)
        batch.labels[rows] = [record.label for record in found]
        batch.positions[rows] = positions
        batch.keys[rows] = self._records.keys[positions]

    def _tools(self) -> tuple[Decoder, Augmenter]:
        if not hasattr(self._local, "tools"):
            self._local.tools = (Decoder(fast=self._config.augments), Augmenter(self._config, size=self._size))
        tools: tuple[Decoder, Augmenter] = self._local.tools
        return tools

    def _find(self, position: int) -> _Record:
        """Return labels and body of a record, or what is wrong with it."""
        # What RecordSet.read does, at a third of its cost: bisection of a list beats numpy's for one number.
        shard = bisect_right(self._starts, position) - 1
        try:
            return self._split(self._files[shard].read(position - self._starts[shard]))
        except RecordError as error:
            return _Record((), b"", _BadRecordError(str(error), named=True))
        except _BadRecordError as error:
            return _Record((), b"", error)

    def _decode(self, record: _Record, decoder: Decoder, out: Image | None) -> Image | None:
        """Return the image; None where it could be decoded straight into ``out``."""
        if record.problem is not None:
            raise record.problem
        try:
            if out is not None and decoder.shape == out.shape:
                return decoder.decode_into(record.body, out)
            return decoder.decode(record.body)
        except ImageError as error:
            raise _BadRecordError(str(error)) from None

    def _split(self, payload: bytes | memoryview) -> _Record:
        """Split a record into labels and body; raises _BadRecordError for labels that can't be."""
        if len(payload) < IMAGE_HEADER.size:
            raise _BadRecordError(f"{len(payload)} bytes are too few for a record header")
        count = IMAGE_HEADER.unpack_from(payload)[0]
        if count != self.label_width:
            wanted = "gender and age" if self.label_width == 2 else f"{self.label_width}, as the first record has"
            raise _BadRecordError(f"it has {count or 1} label{'s' if count > 1 else ''} instead of {wanted}")
        end = IMAGE_HEADER.size + _LABEL_BYTES * count
        if len(payload) < end:
            raise _BadRecordError(f"{len(payload)} bytes end within its labels")
        label: tuple[float, ...] = self._label.unpack_from(payload, IMAGE_HEADER.size)
        if self._label_order == "age,gender":
            label = (label[1], label[0], *label[2:])
        gender, age = label[0], label[1]
        if not (gender == 0 or gender == 1 or gender == -1):
            hint = "" if self._label_order == "age,gender" else " (is it age first? --label_order age,gender)"
            raise _BadRecordError(f"gender {gender:g} is none of 0 = female, 1 = male, -1 = unknown{hint}")
        if not (0 <= age <= MAX_AGE or age == -1):
            raise _BadRecordError(f"age {age:g} is not within 0..{MAX_AGE} (-1 = unknown)")
        if self.binned and not (label[2] == label[3] == -1 or 0 <= label[2] <= age <= label[3] <= MAX_AGE):
            raise _BadRecordError(
                f"low {label[2]:g}, age {age:g} and high {label[3]:g} are not in this order in 0..100"
            )
        return _Record(label, payload[end:], None)

    def _report(self, position: int, bad: _BadRecordError) -> None:
        if self._config.bad_records == "stop":
            named = str(bad) if bad.named else self._named(position, str(bad))
            raise RecordError(f"{named} (--bad_records skip passes over such records)")
        self._bad[position] = str(bad)

    def _replacement(self, slot: int, order: npt.NDArray[np.integer[Any]], decoder: Decoder) -> tuple[int, _Record]:
        """Return the next good record after place ``slot``: which one that is depends on the order alone."""
        for step in range(1, len(order)):
            position = int(order[(slot + step) % len(order)])
            if position in self._bad:
                continue
            record = self._find(position)
            try:
                self._decode(record, decoder, None)
            except _BadRecordError as error:
                self._report(position, error)
            else:
                return position, record
        key, path, reason = self.skipped[0]
        raise RecordError(f"none of the {len(order)} records can be used; the first: {path}: record {key}: {reason}")

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


class _Record(NamedTuple):
    label: Sequence[float]
    body: bytes | memoryview
    problem: _BadRecordError | None


class _BadRecordError(Exception):
    """A record that can't be used; ``named`` where the message has its file and key already."""

    def __init__(self, reason: str, *, named: bool = False) -> None:
        super().__init__(reason)
        self.named = named
