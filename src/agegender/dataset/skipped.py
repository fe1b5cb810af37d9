"""The faces that packing skips, kept in the partial folder as well, so that a resumed run knows them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agegender.dataset.crop import Crop
from agegender.dataset.face_record import FaceSample
from agegender.dataset.journal import Journal
from agegender.dataset.problems import Problems

_NAME = "skipped.jsonl"


class SkippedFaces:
    """Notes skipped faces in ``problems`` and in a growing file; opened at ``size``, it restores those before."""

    def __init__(self, journal: Journal, problems: Problems, *, size: int) -> None:
        self._problems = problems
        self._file = journal.grow(_NAME, size=size)
        with open(journal.folder / _NAME, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                path, source, reason, detail = json.loads(line)
                problems.add(path, reason, detail, source=source)

    def add(self, samples: Sequence[FaceSample], crops: Sequence[Crop]) -> None:
        """Note the samples that have no crop."""
        for sample, crop in zip(samples, crops):
            if crop.body is None:
                self._problems.add(sample.path, crop.reason, crop.detail, source=sample.source)
                row = [sample.path.as_posix(), sample.source, crop.reason, crop.detail]
                self._file.append((json.dumps(row) + "\n").encode())

    def sync(self) -> int:
        """Flush to the disk and return the size."""
        self._file.sync()
        return self._file.size
