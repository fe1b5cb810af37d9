"""From a position in a record set to a face in a batch; what to do with bad records is decided here."""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from agegender.errors import ImageError, RecordError, UsageError
from agegender.labels import MAX_AGE
from agegender.pipeline.augment import Augmenter, Image
from agegender.pipeline.batch import Batch
from agegender.pipeline.config import LoaderConfig
from agegender.pipeline.decode import Decoder

# IRHeader: flag (number of labels), label, id, id2; then the labels.
_HEADER = struct.Struct("<IfQQ")
_LABEL_BYTES = 4
LABEL_ORDERS = ("gender,age", "age,gender")


class Records(Protocol):
    """What the loader needs of a record set (``agegender.recordio.RecordSet``)."""

    @property
    def keys(self) -> npt.NDArray[np.int64]: ...

    def __len__(self) -> int: ...

    def read(self, position: int) -> bytes | memoryview: ...

    def path_of(self, position: int) -> object: ...


class FaceReader:
    """Fill rows of batches from a record set. Shared by threads, each with its own memory.

    Raises UsageError for a label order that does not exist.
    """

    def __init__(
        self, records: Records, *, size: tuple[int, int], config: LoaderConfig, label_order: str = "gender,age"
    ) -> None:
        if label_order not in LABEL_ORDERS:
            raise UsageError(f"label order {label_order!r} is neither {' nor '.join(map(repr, LABEL_ORDERS))}")
        self._records = records
        self._size = size
        self._config = config
        self._label_order = label_order
        self._local = threading.local()
        self._bad: dict[int, str] = {}
        self.label_width = self._width_of_first()

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
        labels: list[Sequence[float]] = []
        data = batch.data
        for row, position in enumerate(positions):
            try:
                label, image = self._read(position, decoder)
            except _BadRecordError as error:
                self._report(position, error)
                position, label, image = self._replacement(int(slots[row]), order, decoder)
                positions[row] = position
            labels.append(label)
            augmenter.apply(image, data[first + row], plan, row)
        rows = slice(first, first + len(positions))
        batch.labels[rows] = labels
        batch.positions[rows] = positions
        batch.keys[rows] = self._records.keys[positions]

    def _tools(self) -> tuple[Decoder, Augmenter]:
        if not hasattr(self._local, "tools"):
            self._local.tools = (Decoder(), Augmenter(self._config, size=self._size))
        tools: tuple[Decoder, Augmenter] = self._local.tools
        return tools

    def _read(self, position: int, decoder: Decoder) -> tuple[Sequence[float], Image]:
        try:
            label, body = self._split(self._records.read(position))
            return label, decoder.decode(body)
        except ImageError as error:
            raise _BadRecordError(str(error)) from None
        except RecordError as error:
            raise _BadRecordError(str(error), named=True) from None

    def _split(self, payload: bytes | memoryview) -> tuple[Sequence[float], memoryview]:
        """Return the labels (gender, age first) and the body of a record."""
        if len(payload) < _HEADER.size:
            raise _BadRecordError(f"{len(payload)} bytes are too few for a record header")
        count = _HEADER.unpack_from(payload)[0]
        if count != self.label_width:
            wanted = "gender and age" if self.label_width == 2 else f"{self.label_width}, as the first record has"
            raise _BadRecordError(f"it has {count or 1} label{'s' if count > 1 else ''} instead of {wanted}")
        end = _HEADER.size + _LABEL_BYTES * count
        if len(payload) < end:
            raise _BadRecordError(f"{len(payload)} bytes end within its labels")
        label: tuple[float, ...] = self._label.unpack_from(payload, _HEADER.size)
        if self._label_order == "age,gender":
            label = (label[1], label[0], *label[2:])
        gender, age = label[0], label[1]
        if not (gender == 0 or gender == 1 or gender == -1):
            hint = "" if self._label_order == "age,gender" else " (is it age first? --label_order age,gender)"
            raise _BadRecordError(f"gender {gender:g} is none of 0 = female, 1 = male, -1 = unknown{hint}")
        if not (0 <= age <= MAX_AGE or age == -1):
            raise _BadRecordError(f"age {age:g} is not within 0..{MAX_AGE} (-1 = unknown)")
        return label, memoryview(payload)[end:]

    def _report(self, position: int, bad: _BadRecordError) -> None:
        if self._config.bad_records == "stop":
            named = str(bad) if bad.named else self._named(position, str(bad))
            raise RecordError(f"{named} (--bad_records skip passes over such records)")
        self._bad[position] = str(bad)

    def _replacement(
        self, slot: int, order: npt.NDArray[np.integer[Any]], decoder: Decoder
    ) -> tuple[int, Sequence[float], Image]:
        """Return the next good record after place ``slot``: which one that is depends on the order alone."""
        for step in range(1, len(order)):
            position = int(order[(slot + step) % len(order)])
            if position in self._bad:
                continue
            try:
                return position, *self._read(position, decoder)
            except _BadRecordError as error:
                self._report(position, error)
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
            if len(payload) >= _HEADER.size and 2 <= (count := _HEADER.unpack_from(payload)[0]) <= 1000:
                break
        else:
            count = 2
        self._label = struct.Struct(f"<{count}f")
        return int(count)


class _BadRecordError(Exception):
    """A record that can't be used; ``named`` where the message has its file and key already."""

    def __init__(self, reason: str, *, named: bool = False) -> None:
        super().__init__(reason)
        self.named = named
