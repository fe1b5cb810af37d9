"""WebDataset tar shards: ``key.jpg`` beside ``key.json``, or beside ``key.age`` and ``key.gender``."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from agegender.dataset.exchange.entry import CODINGS, NUMBERS, Entry, entry_of
from agegender.dataset.exchange.tar_members import read_members
from agegender.errors import RecordError
from agegender.files import atomic_path

IMAGES = ("jpg", "jpeg", "png")
_LABELS = ("age", "gender")


class WebDatasetShards:
    """Faces of the tars ``paths``; they are only read through, never extracted."""

    def __init__(self, paths: Sequence[Path], *, coding: str = CODINGS[0]) -> None:
        self.paths, self._coding = paths, coding

    def read(self, *, images: bool) -> Iterator[Entry]:
        """Yield the faces. Raises RecordError naming tar and member, also for what ``read_members`` refuses."""
        for path in self.paths:
            key, parts = "", dict[str, bytes]()
            # One warning is enough where labels and images are read in turn.
            for name, data in read_members(path, quiet=images):
                folder, _, base = name.rpartition("/")
                stem, _, kind = base.partition(".")
                stem = f"{folder}/{stem}" if folder else stem
                if parts and stem != key:
                    yield self._entry(path, key, parts)
                    parts = {}
                if kind.lower() in parts:
                    raise RecordError(f"{path}: {name!r} is there twice")
                key, parts[kind.lower()] = stem, data
            if parts:
                yield self._entry(path, key, parts)

    def _entry(self, path: Path, key: str, parts: dict[str, bytes]) -> Entry:
        where = f"{path}: {key}"
        image = next((parts[kind] for kind in IMAGES if kind in parts), None)
        if image is None:
            raise RecordError(f"{where}: has no image among {', '.join(sorted(parts))}")
        try:
            labels = _read_labels(parts)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RecordError(f"{where}: its labels can't be understood ({error})") from error
        return entry_of(where, key, labels, coding=self._coding, data=image)


def write_webdataset(folder: Path, stem: str, entries: Iterable[Entry], *, per_shard: int) -> list[Path]:
    """Write ``stem-000000.tar`` and so on, ``per_shard`` faces each, images unchanged; return the files.

    What is known beside gender and age is in the JSON by the name of the field. All get their final names at the end.
    """
    paths: list[Path] = []
    with ExitStack() as names:
        tar: tarfile.TarFile | None = None
        try:
            for number, entry in enumerate(entries):
                assert isinstance(entry.data, bytes)
                if number % per_shard == 0:
                    if tar is not None:
                        tar.close()
                    paths.append(folder / f"{stem}-{len(paths):06d}.tar")
                    tar = tarfile.open(names.enter_context(atomic_path(paths[-1])), "w")  # noqa: SIM115
                assert tar is not None
                labels: dict[str, Any] = {"age": entry.age, "gender": entry.gender, **entry.further}
                if entry.synthetic:
                    labels["synthetic"] = True
                for kind, data in (("jpg", entry.data), ("json", json.dumps(labels).encode())):
                    member = tarfile.TarInfo(f"{entry.name}.{kind}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                tar.members.clear()  # type: ignore[attr-defined]  # it keeps them all, also when it only writes
        finally:
            if tar is not None:
                tar.close()
    return paths


def _read_labels(parts: dict[str, bytes]) -> dict[str, Any]:
    labels = json.loads(parts["json"]) if "json" in parts else {}
    for name in _LABELS:
        if name in parts:
            labels[name] = parts[name].decode().strip()
    if "cls" in parts:
        labels.setdefault("gender", parts["cls"].decode().strip())
    if not labels.keys() & set(_LABELS):
        raise ValueError("neither age nor gender")
    return {**labels, **{name: _number(labels.get(name)) for name in (*_LABELS, *NUMBERS)}}


def _number(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value
