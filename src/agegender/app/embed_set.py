"""Writing a set of embeddings beside the tables of the set that they are made of; a run that was killed can go on."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.dataset.journal import Journal
from agegender.dataset.manifest import FORMAT, csv_rows
from agegender.npy import pack_vector
from agegender.pipeline.set_info import VECTORS
from agegender.recordio import RecordSet, index_path, pack, set_json, unpack
from agegender.recordio.layout import frame

# What is made anew, or says something about the JPEGs.
_OWN_FIELDS = ("format", "version", "records", "body", "embedding", "sha256", "made_from", "quality")


class EmbeddingWriter:
    """The set ``name`` (train.rec) growing beside ``journal``, record by record of the set ``records``.

    ``state`` is what ``state()`` returned in the run that is gone on with.
    """

    def __init__(self, journal: Journal, name: str, records: RecordSet, *, state: Mapping[str, Any]) -> None:
        self.done = int(state.get("done", 0))
        self.written = int(state.get("written", 0))
        self.lost: list[int] = list(state.get("lost", ()))
        self.width: int | None = state.get("width")
        self._journal, self._name, self._records = journal, name, records
        sizes = state.get("sizes", {})
        self._index_name = index_path(Path(name)).name
        self._file = journal.grow(name, size=sizes.get(name, 0))
        self._index = journal.grow(self._index_name, size=sizes.get(self._index_name, 0))

    def write(self, rows: Sequence[int], vectors: npt.NDArray[np.float32]) -> None:
        """Append the ``vectors`` (n, width) of the records at positions ``rows``, rising from call to call.

        Keys, ids and labels stay as they are. Positions that are left out are lost: they have no embedding.
        """
        self.width = vectors.shape[1]
        framed, lines = [], []
        offset = self._file.size
        for row, vector in zip(rows, vectors, strict=True):
            self._lose_until(row)
            header, _ = unpack(self._records.read(row))
            key = int(self._records.keys[row])
            record = frame(pack(header, pack_vector(vector)))
            framed.append(record)
            lines.append(f"{key}\t{offset}\n")
            offset += len(record)
            self.done = row + 1
        self._file.extend(framed)
        self._index.append("".join(lines).encode())
        self.written += len(framed)

    def note(self) -> None:
        """Bring what is there to the disk, so that another run can go on from here."""
        for file in (self._file, self._index):
            file.sync()
        sizes = {self._name: self._file.size, self._index_name: self._index.size}
        place = {"done": self.done, "written": self.written, "lost": self.lost, "width": self.width}
        self._journal.note({**place, "sizes": sizes})

    def finish(self, *, labels: str, template: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Write the tables and the JSON, which says ``about`` the embeddings, and give all files their names."""
        self._lose_until(len(self._records))
        digests = {self._name: self._file.sha256(), self._index_name: self._index.sha256()}
        sources: Counter[str] = Counter()
        stem = Path(self._name).stem
        source = set_json(self._records.path)
        for name, data in self._tables(source, sources):
            table = self._journal.grow(f"{stem}{name}")
            table.append(data)
            table.sync()
            digests[f"{stem}{name}"] = table.sha256()
        raw = json.loads(source.read_text(encoding="utf-8")) if source.is_file() else {"split": stem}
        if self.lost or "sources" not in raw:
            raw["sources"] = dict(sorted(sources.items()))
        document = _document(raw, records=self.written, labels=labels, template=template, about=about)
        document |= {"made_from": {"set": self._records.path.name, "digest": self._records.digest()}, "sha256": digests}
        description = self._journal.grow(f"{stem}.json")
        description.append((json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
        for file in (self._file, self._index, description):
            file.sync()
        # The JSON last: what it names is complete.
        names = [self._index_name, *(name for name in digests if name != self._index_name), f"{stem}.json"]
        self._journal.publish(names, remove=[])

    def _lose_until(self, row: int) -> None:
        self.lost += [int(key) for key in self._records.keys[self.done : row]]
        self.done = max(self.done, row)

    def _tables(self, source: Path, sources: Counter[str]) -> Iterable[tuple[str, bytes]]:
        """Yield .csv and .lst of the set, where it has them, without the lost records; count the sources."""
        lost = {str(key) for key in self.lost}
        table = source.with_suffix(".csv")
        if table.is_file():
            data = table.read_bytes()
            head, *rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"))) if row]
            kept = [row for row in rows if row[0] not in lost]
            if "source" in head:
                sources.update(row[head.index("source")] for row in kept)
            yield ".csv", csv_rows([head, *kept]) if lost else data
        lines = source.with_suffix(".lst")
        if lines.is_file():
            told = lines.read_bytes().splitlines(keepends=True)
            yield ".lst", b"".join(line for line in told if line.partition(b"\t")[0].decode("latin-1") not in lost)


def plan_of(name: str, records: RecordSet, about: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an interrupted run must have in common with the one that goes on with it."""
    return {"name": name, "set": records.digest(), "embedding": dict(about), "options": dict(options)}


def is_made(path: Path, records: RecordSet, about: Mapping[str, Any]) -> bool:
    """Tell whether the set ``path`` is there already, made of ``records`` in the same way."""
    try:
        raw = json.loads(set_json(path).read_text(encoding="utf-8"))
        known = dict(raw["embedding"])
        known.pop("size")
        return path.is_file() and known == dict(about) and raw["made_from"]["digest"] == records.digest()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _document(
    raw: Mapping[str, Any], *, records: int, labels: str, template: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Any]:
    import agegender

    kept = {name: value for name, value in raw.items() if name not in _OWN_FIELDS}
    own = {"format": FORMAT, "version": agegender.__version__, "records": records, "body": VECTORS}
    return {**own, **kept, "labels": labels, "template": dict(template), "embedding": dict(about)}


__all__ = ["EmbeddingWriter", "is_made", "plan_of"]
