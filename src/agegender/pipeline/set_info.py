"""What a packed set says about itself: ``train.json`` beside ``train.rec``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agegender.errors import DataError
from agegender.recordio.shards import set_json

FORMAT = 1
PICTURES, VECTORS = "jpeg", "float32"


@dataclass(frozen=True, kw_only=True)
class SetInfo:
    """The parts of ``train.json`` that training and scoring need.

    ``template`` is ``{"name", "points", "size"}`` of the crop the faces are in; ``labels`` names the label columns;
    ``body`` is ``jpeg`` or ``float32`` (embeddings), and ``embedding`` then says which (``docs/formats.md``); else that
    is empty. ``sha256`` has a digest per file name; ``raw`` is the whole JSON.
    """

    path: Path
    records: int
    split: str
    template: dict[str, Any]
    labels: str
    body: str
    sha256: dict[str, str]
    synthetic: bool
    raw: dict[str, Any]
    embedding: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int | None:
        """How many numbers an embedding has; None where the records hold pictures."""
        return int(self.embedding["size"]) if self.body == VECTORS else None

    def pictures(self) -> SetInfo:
        """Return itself. Raises DataError where the records hold no pictures."""
        if self.body != PICTURES:
            raise DataError(f"{self.path}: the records hold embeddings ({self.body}), not pictures")
        return self


def read_set_info(records: Path | str) -> SetInfo | None:
    """Return what the JSON beside ``records`` (a .rec, one shard of several, or their common stem) says.

    None where there is none, as beside sets that other tools wrote. Raises DataError where it can't be understood.
    """
    path = set_json(Path(records))
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise TypeError("not a JSON object")
        if raw.get("format") != FORMAT:
            raise DataError(f"{path}: format {raw.get('format')!r} is not {FORMAT}; it was packed by another version")
        return SetInfo(
            path=path,
            records=int(raw["records"]),
            split=str(raw.get("split", "")),
            template=dict(raw["template"]),
            labels=str(raw.get("labels", "gender,age")),
            body=str(raw.get("body", "jpeg")),
            sha256=dict(raw.get("sha256", {})),
            synthetic=bool(raw.get("synthetic", False)),
            raw=raw,
            embedding=_embedding(raw),
        )
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]!r} is missing") from None
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: not readable as a set description ({error})") from None


def _embedding(raw: dict[str, Any]) -> dict[str, Any]:
    if raw.get("body", PICTURES) != VECTORS:
        return {}
    embedding = dict(raw["embedding"])
    size = embedding["size"]
    if type(size) is not int or size < 1:
        raise ValueError(f"embedding.size is {size!r}, not a whole number of 1 or more")
    return embedding
