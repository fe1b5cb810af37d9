"""From records to embeddings in a batch: read as they are, nothing about them is random."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import DataError
from agegender.npy import NPY_MAGIC, read_vector
from agegender.pipeline.batch import Batch
from agegender.pipeline.config import LoaderConfig
from agegender.pipeline.labelled import BadRecordError, FoundRecord, RecordReader
from agegender.recordio.shards import RecordSet


class VectorReader(RecordReader):
    """Fill rows with the embeddings of a record set, ``width`` numbers each.

    Raises UsageError for a label order that does not exist.
    """

    def __init__(
        self, records: RecordSet, *, width: int, config: LoaderConfig, label_order: str = "gender,age"
    ) -> None:
        super().__init__(records, config=config, label_order=label_order)
        self._width = width

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
        """See ``RecordReader.fill``; ``seed`` and ``epoch`` change nothing."""
        positions = order[slots % len(order)].tolist()
        found = [self.find(position) for position in positions]
        rows = slice(first, first + len(positions))
        for row, out in enumerate(batch.data[rows]):
            try:
                out[:] = self._read(found[row])
            except BadRecordError as error:
                self.report(positions[row], error)
                positions[row], found[row] = self.replacement(int(slots[row]), order)
                out[:] = self._read(found[row])
        self.finish(batch, rows, found, positions)

    def check(self, record: FoundRecord) -> None:
        """Read the embedding of a record. Raises BadRecordError where it is none of the right length."""
        self._read(record)

    def _read(self, record: FoundRecord) -> npt.NDArray[np.float32]:
        if record.problem is not None:
            raise record.problem
        try:
            return read_vector(record.body, self._width)
        except DataError as error:
            start = bytes(record.body[: len(NPY_MAGIC)])
            what = "" if start == NPY_MAGIC else f"no embedding: the body starts with {start[:4].hex(' ')}; "
            raise BadRecordError(f"{what}{error}") from None
