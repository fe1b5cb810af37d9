"""From records to images in a batch: decoded, augmented, brought to the net's size."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import ImageError
from agegender.pipeline.augment import Augmenter, Image
from agegender.pipeline.batch import Batch
from agegender.pipeline.config import LoaderConfig
from agegender.pipeline.decode import Decoder
from agegender.pipeline.labelled import BadRecordError, FoundRecord, RecordReader
from agegender.recordio.shards import RecordSet


class FaceReader(RecordReader):
    """Fill rows with the images of a record set, each thread with its own memory; ``size`` is (height, width).

    Raises UsageError for a label order that does not exist.
    """

    def __init__(
        self, records: RecordSet, *, size: tuple[int, int], config: LoaderConfig, label_order: str = "gender,age"
    ) -> None:
        super().__init__(records, config=config, label_order=label_order)
        self._size = size
        self._local = threading.local()

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
        """See ``RecordReader.fill``; what is random about an image follows from ``seed``, ``epoch`` and its slot."""
        decoder, augmenter = self._tools()
        plan = augmenter.plan(slots, seed=seed, epoch=epoch)
        positions = order[slots % len(order)].tolist()
        # Two passes: what holds the GIL is kept apart from decoding, which releases it, or threads wait for each
        # other at every face.
        found = [self.find(position) for position in positions]
        rows = slice(first, first + len(positions))
        for row, out in enumerate(batch.data[rows]):
            try:
                image = self._decode(found[row], decoder, out if plan.untouched[row] else None)
            except BadRecordError as error:
                self.report(positions[row], error)
                positions[row], found[row] = self.replacement(int(slots[row]), order)
                image = decoder.decode(found[row].body)
            if image is not None:
                augmenter.apply(image, out, plan, row)
        self.finish(batch, rows, found, positions)

    def check(self, record: FoundRecord) -> None:
        """Decode the image of a record. Raises BadRecordError where it is none."""
        self._decode(record, self._tools()[0], None)

    def _tools(self) -> tuple[Decoder, Augmenter]:
        if not hasattr(self._local, "tools"):
            self._local.tools = (Decoder(fast=self._config.augments), Augmenter(self._config, size=self._size))
        tools: tuple[Decoder, Augmenter] = self._local.tools
        return tools

    def _decode(self, record: FoundRecord, decoder: Decoder, out: Image | None) -> Image | None:
        """Return the image; None where it could be decoded straight into ``out``."""
        if record.problem is not None:
            raise record.problem
        try:
            if out is not None and decoder.shape == out.shape:
                return decoder.decode_into(record.body, out)
            return decoder.decode(record.body)
        except ImageError as error:
            raise BadRecordError(str(error)) from None
