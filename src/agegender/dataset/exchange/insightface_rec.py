"""Records of insightface: record 0 is a header with the range of identities, the images have the keys 1 to n."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from agegender.dataset.exchange.entry import CODINGS, Entry, entry_of
from agegender.errors import RecordError
from agegender.labels import BIN_LABELS, LABELS
from agegender.recordio import Header, RecordWriter, open_records, pack, unpack

# Ours for a set with bins has numbers alone: records hold no names of people, groups and files.
ORDERS = (LABELS, "age,gender", BIN_LABELS)


class RecFile:
    """Faces of a ``.rec``, with insightface's range header or without; ``order`` says what the labels are."""

    def __init__(self, path: Path, *, order: str = LABELS, coding: str = CODINGS[0]) -> None:
        self.path, self._columns, self._coding = path, order.split(","), coding

    def read(self, *, images: bool) -> Iterator[Entry]:
        """Yield the faces in the order of the index. Raises RecordError naming file and key."""
        with open_records(self.path) as records:
            for position in range(len(records)):
                key = int(records.keys[position])
                where = f"{records.path_of(position)}: record key {key}"
                try:
                    header, body = unpack(records.read(position))
                except RecordError as error:
                    raise RecordError(f"{where}: {error}") from error
                if len(header.label) < len(self._columns):
                    raise RecordError(
                        f"{where}: has {len(header.label)} label(s), {','.join(self._columns)} are needed"
                    )
                labels = dict(zip(self._columns, header.label.tolist(), strict=False))
                data = bytes(body) if images else None
                yield entry_of(where, f"{key:08d}", labels, coding=self._coding, data=data)


def write_insightface(path: Path, entries: Iterable[Entry], *, count: int, order: str = LABELS) -> int:
    """Write ``count`` faces with the keys 1 to n behind a header that has no identities; return their number.

    Of what is known the records hold the labels that ``order`` names.
    """
    columns = order.split(",")
    with RecordWriter(path) as writer:
        writer.write(0, pack(Header(np.array([count + 1, count + 1], np.float32), 0), b""))
        for key, entry in enumerate(entries, 1):
            assert isinstance(entry.data, bytes)
            label = np.array([getattr(entry, column) for column in columns], np.float32)
            writer.write(key, pack(Header(label, key), entry.data))
    return count
