"""The files of a set: their names, the rows of ``train.lst`` and ``train.csv``, and ``train.json``."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from agegender.dataset.crop import Crop
from agegender.dataset.face_record import FaceSample
from agegender.labels import LABELS

FORMAT = 1
CSV_COLUMNS = ("key", "path", "source", "subject", "group", "box", "score")
FOLD = "fold"
_SHARD = r"-\d{5}-of-\d{5}"


def record_names(split: str, shards: int) -> list[str]:
    """Return the names of the record files of a set: ``train.rec``, or ``train-00000-of-00012.rec`` and so on."""
    if shards == 1:
        return [f"{split}.rec"]
    return [f"{split}-{number:05d}-of-{shards:05d}.rec" for number in range(shards)]


def old_files(folder: Path, split: str) -> list[str]:
    """Return the names of the files of a set that we packed into ``folder`` before; empty for a set of other origin."""
    if not _is_ours(folder / f"{split}.json"):
        return []
    name = re.compile(rf"{re.escape(split)}(({_SHARD})?\.(rec|idx)|\.(lst|csv|json))")
    return sorted(child.name for child in folder.iterdir() if name.fullmatch(child.name))


def _is_ours(path: Path) -> bool:
    try:
        return "split_rule" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def forward(path: Path) -> str:
    """Return a path with forward slashes; for every face, so without the detour that ``as_posix`` takes."""
    return str(path) if os.sep == "/" else path.as_posix()


class PathNames:
    """Names faces in the files of a set: relative to ``folder`` where they lie below it, else absolute."""

    def __init__(self, folder: Path) -> None:
        # Without following links: a linked data folder keeps the name that the user gave it.
        self._base = _absolute(str(folder)).rstrip("/") + "/"
        self._known: dict[str, str] = {}

    def name(self, sample: FaceSample) -> str:
        """Return the face's path with forward slashes. Faces that lie in no file keep their name."""
        path = forward(sample.path)
        if sample.draw is not None:
            return path
        folder, _, name = path.rpartition("/")
        prefix = self._known.get(folder)
        if prefix is None:
            absolute = _absolute(folder or ("/" if path.startswith("/") else ".")).rstrip("/") + "/"
            prefix = self._known[folder] = absolute.removeprefix(self._base)
        return prefix + name


def list_line(key: int, sample: FaceSample, path: str) -> str:
    """Return a line of ``train.lst``, im2rec's columns: index, gender, age, path, with tabs between."""
    if not path.isprintable():
        path = path.replace("\t", " ").replace("\n", " ").replace("\r", " ")  # they would break the line
    return f"{key}\t{sample.gender}\t{sample.age}\t{path}\n"


def csv_rows(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as RFC 4180 text with ``\\n`` line ends, UTF-8."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def csv_row(key: int, sample: FaceSample, path: str, crop: Crop) -> tuple[object, ...]:
    """Return a row of ``train.csv``: where a record comes from. Box and score are empty where nothing was detected."""
    if crop.score is None:
        return key, path, sample.source, sample.subject, sample.group, "", ""
    box = " ".join(f"{value:.1f}" for value in crop.box)
    return key, path, sample.source, sample.subject, sample.group, box, f"{crop.score:.4f}"


def set_json(
    *, split: str, records: int, sources: dict[str, int], options: dict[str, Any], sha256: dict[str, str]
) -> bytes:
    """Return ``train.json``: what a set is, in which template, how it was divided, and the digests of its files."""
    import agegender

    value = {
        "format": FORMAT,
        "version": agegender.__version__,
        "split": split,
        "records": records,
        "sources": sources,
        "labels": LABELS,
        "body": "jpeg",
        **options,
        "sha256": sha256,
    }
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _absolute(path: str) -> str:
    return os.path.abspath(path).replace(os.sep, "/")  # noqa: PTH100 - Path.absolute keeps ".."
