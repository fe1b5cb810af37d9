"""A whole set: one ``.rec`` or many shards of it, read as one."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from agegender.errors import RecordError
from agegender.recordio.label_table import read_labels
from agegender.recordio.range_header import find_range
from agegender.recordio.reader import RecordFile

log = logging.getLogger(__name__)

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5,})-of-(?P<total>\d{5,})\.rec")


class RecordSet:
    """Several record files as one: positions 0..n-1 run through the files in the order given.

    In a file whose record 0 is insightface's range header only the images count, not the header nor the identities.
    """

    def __init__(self, files: Sequence[RecordFile]) -> None:
        self.files = tuple(files)
        for file in self.files:
            _drop_range_header(file)
        self._ends = np.cumsum([len(file) for file in self.files])
        self._count = sum(len(file) for file in self.files)
        self._keys: NDArray[np.int64] | None = None
        self._labels: dict[int, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def path(self) -> Path:
        """The file, or the first of the shards."""
        return self.files[0].path

    @property
    def keys(self) -> NDArray[np.int64]:
        """The key of every record, (n,) int64."""
        if self._keys is None:
            if len(self.files) == 1:
                self._keys = self.files[0].keys
                return self._keys
            keys = np.empty(len(self), np.int64)
            # Shard by shard, each looking into the joined array afterwards: the keys are in memory once.
            for file, end in zip(self.files, self._ends.tolist(), strict=True):
                part = keys[end - len(file) : end]
                part[:] = file.keys
                file.keys = part
            # Only now: other threads may ask meanwhile.
            self._keys = keys
        return self._keys

    def read(self, position: int) -> bytes | memoryview:
        """Return the payload of a record. Raises RecordError when it is damaged or the position not within 0..n-1."""
        file, inside = self._locate(position)
        return file.read(inside)

    def path_of(self, position: int) -> Path:
        """Return the file that a record lies in."""
        return self._locate(position)[0].path

    def find(self, key: int) -> int:
        """Return the position of a key. Raises RecordError where there is none."""
        found = np.flatnonzero(self.keys == key)
        if not found.size:
            raise RecordError(f"{self.path}: there is no record with key {key}")
        return int(found[0])

    def labels(self, width: int = 2) -> NDArray[np.float32]:
        """Return the first ``width`` labels of all records, (n, width) float32, read-only and kept for the next call.

        Labels that a record does not have are -1 (unknown). Raises RecordError naming a damaged record.
        """
        if width not in self._labels:
            labels = np.full((len(self), width), -1.0, np.float32)
            begin = 0
            for file in self.files:
                read_labels(file, labels[begin : begin + len(file)])
                begin += len(file)
            labels.setflags(write=False)
            self._labels[width] = labels
        return self._labels[width]

    def digest(self) -> str:
        """Return a SHA-256 over names, sizes and indices of the files: quick, and tells two sets apart.

        It does not read the records; ``train.json`` holds the digest of their bytes.
        """
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.size} {len(file)}\n".encode())
            digest.update(np.ascontiguousarray(file.keys, "<i8").data)
            digest.update(np.ascontiguousarray(file.offsets, "<i8").data)
        return digest.hexdigest()

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return (payload for file in self.files for payload in file)

    def close(self) -> None:
        """Close all files."""
        for file in self.files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _locate(self, position: int) -> tuple[RecordFile, int]:
        if not 0 <= position < self._count:
            raise RecordError(f"{self.path}: there is no position {position}, only 0..{self._count - 1}")
        if len(self.files) == 1:
            return self.files[0], position
        shard = int(np.searchsorted(self._ends, position, side="right"))
        file = self.files[shard]
        return file, int(position - (self._ends[shard] - len(file)))


def open_records(path: Path | str) -> RecordSet:
    """Open a set: ``train.rec``, or its shards ``train-00000-of-00012.rec`` ..., or a glob pattern of files.

    ``train.rec`` stands for the shards where there is no file of that name; the name of one shard opens that one.
    Raises RecordError when there is nothing, or a shard is missing.
    """
    files: list[RecordFile] = []
    try:
        for name in find_shards(Path(path)):
            files.append(RecordFile(name))
        return RecordSet(files)
    except BaseException:
        for file in files:
            file.close()
        raise


def find_shards(path: Path) -> list[Path]:
    """Return the files that ``path`` stands for (see ``open_records``); a missing file is returned as it is."""
    if path.exists():
        return [path]
    if any(sign in path.name for sign in "*?["):
        found = sorted(path.parent.glob(path.name))
        found = [name for name in found if name.suffix == ".rec"]
        if not found:
            raise RecordError(f"no .rec file fits {path}")
        return found
    shards: dict[int, dict[int, Path]] = {}
    for name in sorted(path.parent.glob("*-of-*.rec")) if path.parent.is_dir() else []:
        match = _SHARD.fullmatch(name.name)
        if match and match["stem"] == path.stem:
            shards.setdefault(int(match["total"]), {})[int(match["number"])] = name
    if not shards:
        return [path]
    if len(shards) > 1:
        raise RecordError(f"{path}: there are shards of several sets (of {', '.join(map(str, sorted(shards)))})")
    total, found_shards = next(iter(shards.items()))
    missing = [number for number in range(total) if number not in found_shards]
    if missing:
        raise RecordError(
            f"{path}: {len(missing)} of {total} shards are missing, the first is "
            f"{path.stem}-{missing[0]:05d}-of-{total:05d}.rec"
        )
    return [found_shards[number] for number in range(total)]


def set_json(path: Path) -> Path:
    """Return the JSON that describes the set a file belongs to: ``train.json``, also for one of its shards."""
    shard = _SHARD.fullmatch(path.name)
    return path.with_name(f"{shard['stem'] if shard else path.stem}.json")


def _drop_range_header(file: RecordFile) -> None:
    bounds = find_range(file.keys, file.read)
    if bounds is None:
        return
    images = (file.keys >= 1) & (file.keys < bounds[0])
    log.info("%s: record 0 is a range header; %d images, %d identities", file.path, images.sum(), bounds[1] - bounds[0])
    file.keys, file.offsets = file.keys[images], file.offsets[images]
