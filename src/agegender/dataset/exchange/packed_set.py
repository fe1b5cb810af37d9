"""A set of ours, read with all that its JSON and its table of origins know."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from agegender.dataset.exchange.entry import TEXTS, Entry
from agegender.dataset.exchange.insightface_rec import ORDERS, RecFile
from agegender.errors import RecordError
from agegender.labels import LABELS
from agegender.recordio import open_records, set_json


class PackedSet:
    """The faces of ``path``: a ``.rec``, its shards' common name, or a pattern.

    ``count`` is their number, ``labels`` the columns of their labels, ``synthetic`` whether they are drawn. Of records
    that other tools wrote, without a JSON, gender and age are known. Raises RecordError for a JSON that is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_records(path) as records:
            self.count = len(records)
            about = set_json(records.path)
        said = _read_json(about)
        if said.get("body") == "float32":
            raise RecordError(f"{about}: the records hold embeddings, and only pictures can be exchanged")
        self.labels, self.synthetic = str(said.get("labels", LABELS)), said.get("synthetic") is True
        if self.labels not in ORDERS:
            raise RecordError(f"{about}: labels {self.labels!r} are none of {' | '.join(ORDERS)}")
        self._origins = about.with_suffix(".csv")

    def read(self, *, images: bool) -> Iterator[Entry]:
        """Yield the faces in their order. Raises RecordError where the table of origins is another set's."""
        with ExitStack() as stack:
            rows: Iterator[dict[str, str]] | None = None
            if self._origins.exists():
                # Read in step with the records: the table of a large set takes more memory than its images here.
                file = self._origins.open(newline="", encoding="utf-8", errors="surrogateescape")
                rows = csv.DictReader(stack.enter_context(file))
            for entry in RecFile(self.path, order=self.labels).read(images=images):
                known = {} if rows is None else self._row(rows, entry)
                texts: dict[str, Any] = {name: known.get(name) or "" for name in TEXTS}
                yield replace(entry, synthetic=self.synthetic, **texts)

    def _row(self, rows: Iterator[dict[str, str]], entry: Entry) -> dict[str, str]:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise RecordError(f"{self._origins}: is no table ({error})") from error
        key = None if row is None else row.get("key")
        if row is None or key is None or not key.isdecimal() or int(key) != int(entry.name):
            raise RecordError(
                f"{self._origins}: has {key!r} where record {int(entry.name)} comes; is it another set's?"
            )
        return row


def is_synthetic(path: Path) -> bool:
    """Tell whether the JSON beside records says that they are drawn; False where there is none, or another's."""
    with open_records(path) as records:
        about = set_json(records.path)
    try:
        return _read_json(about).get("synthetic") is True
    except RecordError:
        return False  # of another tool: importing asks it for nothing else


def _read_json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise RecordError(f"{path}: not readable as a set description ({error})") from error
    if not isinstance(said, dict):
        raise RecordError(f"{path}: not readable as a set description (no JSON object)")
    return said
