"""Writes the growing files of one set: records, index, list and origin of every face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agegender.dataset.crop import Crop
from agegender.dataset.face_record import FaceSample
from agegender.dataset.growing_file import GrowingFile
from agegender.dataset.journal import Journal
from agegender.dataset.manifest import (
    CSV_COLUMNS,
    FOLD,
    PathNames,
    csv_row,
    csv_rows,
    list_line,
    record_names,
    set_json,
)
from agegender.recordio.index import index_path
from agegender.recordio.layout import frame_images


class SetWriter:
    """The set ``split`` growing beside ``journal``; ``faces`` is how many it may get, to divide them over the shards.

    ``state`` is what ``state()`` returned in the run that is gone on with. With ``bins`` the labels are the five of
    ``labels.BIN_LABELS``, with ``folds`` the table of origins has a column more.
    """

    def __init__(
        self,
        journal: Journal,
        split: str,
        *,
        faces: int,
        shards: int,
        names: PathNames,
        state: Mapping[str, Any],
        bins: bool = False,
        folds: bool = False,
    ) -> None:
        self.split = split
        self.records = int(state.get("records", 0))
        self.sources: Counter[str] = Counter(state.get("sources", {}))
        self._journal, self._faces, self._names = journal, faces, names
        self._bins, self._folds = bins, folds
        self._labels: dict[tuple[float, ...], bytes] = {}
        sizes = state.get("sizes", {})
        self._files: dict[str, GrowingFile] = {}
        self._shards = [
            (self._open(name, sizes), self._open(index_path(Path(name)).name, sizes))
            for name in record_names(split, shards)
        ]
        self._list = self._open(f"{split}.lst", sizes)
        self._origins = self._open(f"{split}.csv", sizes)
        if not self._origins.size:
            self._origins.append(csv_rows([(*CSV_COLUMNS, FOLD) if folds else CSV_COLUMNS]))

    @property
    def names(self) -> list[str]:
        """The names of all files that the set will have where it gets a face."""
        return [*self._files, f"{self.split}.json"]

    def write(self, samples: Sequence[FaceSample], crops: Sequence[Crop], *, first: int) -> None:
        """Append the faces that have a crop; ``first`` is the place of the first one among the faces of this set."""
        end = first + len(samples)
        while first < end:
            shard = first * len(self._shards) // self._faces
            # The first place of the next shard, rounded up.
            stop = min(end, -((shard + 1) * self._faces // -len(self._shards)))
            self._write(samples[: stop - first], crops[: stop - first], shard=shard)
            samples, crops, first = samples[stop - first :], crops[stop - first :], stop

    def _write(self, samples: Sequence[FaceSample], crops: Sequence[Crop], *, shard: int) -> None:
        """Append faces to one shard and to the lists."""
        records, index = self._shards[shard]
        key, offset = self.records, records.size
        faces: list[tuple[bytes, int, bytes]] = []
        offsets, lines, rows, sources = [], [], [], []
        for sample, crop in zip(samples, crops):
            if crop.body is None:
                continue
            path = self._names.name(sample)
            faces.append((self._label(sample), key, crop.body))
            lines.append(list_line(key, sample, path))
            row = csv_row(key, sample, path, crop)
            rows.append((*row, sample.fold) if self._folds else row)
            sources.append(sample.source)
            key += 1
        framed, sizes = frame_images(faces)
        for number, size in enumerate(sizes, self.records):
            offsets.append(f"{number}\t{offset}\n")
            offset += size
        records.append(framed)
        index.append("".join(offsets).encode())
        self._list.append("".join(lines).encode("utf-8", "surrogateescape"))
        self._origins.append(csv_rows(rows))
        self.records = key
        self.sources.update(sources)

    def state(self) -> dict[str, Any]:
        """Flush to the disk, and return what going on from here needs."""
        for file in self._files.values():
            file.sync()
        sizes = {name: file.size for name, file in self._files.items()}
        return {"records": self.records, "sources": dict(sorted(self.sources.items())), "sizes": sizes}

    def finish(self, options: dict[str, Any]) -> list[str]:
        """Write the set's JSON and return the names of all its files, the JSON last; empty for a set without faces."""
        if not self.records:
            return []
        digests = {name: file.sha256() for name, file in self._files.items()}
        sources = dict(sorted(self.sources.items()))
        description = self._journal.grow(f"{self.split}.json")
        description.append(
            set_json(split=self.split, records=self.records, sources=sources, options=options, sha256=digests)
        )
        description.sync()
        indices = [name for name in self._files if name.endswith(".idx")]
        return [*indices, *(name for name in self._files if name not in indices), f"{self.split}.json"]

    def _label(self, sample: FaceSample) -> bytes:
        """Return the bytes of a record's label array; there are few different ones, so each is made once."""
        values = sample.label if self._bins else (sample.gender, sample.age)
        label = self._labels.get(values)
        if label is None:
            label = self._labels[values] = np.array(values, "<f4").tobytes()
        return label

    def _open(self, name: str, sizes: Mapping[str, int]) -> GrowingFile:
        self._files[name] = self._journal.grow(name, size=sizes.get(name, 0))
        return self._files[name]
