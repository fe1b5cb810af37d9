"""Exact duplicates among the files: one of each is kept, and none where the labels contradict each other."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from agegender.cores import usable_cores
from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import CONTRADICTION, DUPLICATE, MISSING, Problems
from agegender.labels import UNKNOWN

# Which of several equal files stays: the one whose own split is the strictest, so that no test image is trained on.
_KEEP_FIRST = {"test": 0, "val": 1, "train": 2, "": 3}

_BATCH = 256
_READ_BYTES = 64 << 10

T = TypeVar("T")
Progress = Callable[[int, int], None]


def drop_duplicates(
    samples: Iterable[FaceSample], problems: Problems, *, workers: int | None = None, progress: Progress | None = None
) -> list[FaceSample]:
    """Return the samples without exact duplicates, in the given order.

    Files of the same bytes are one face: the one that stays has the strictest own split (test, val, train, none),
    then the most labels, then the first name; the others go to ``problems`` as duplicates. Where two of them know
    different genders or ages, all of them go there as contradictions, since nothing tells which label is right.
    Only files of equal size are read, by ``workers`` threads (default: all cores). ``progress(done, total)`` counts
    files read. Files that can't be read are problems too; drawn faces are passed on.
    """
    faces = list(samples)
    # One file listed twice is read once.
    paths = dict.fromkeys(face.path for face in faces if face.draw is None)
    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        sizes = dict(zip(paths, _map(pool, _size, list(paths))))
        by_size = defaultdict(list)
        for path, size in sizes.items():
            by_size[size].append(path)
        alike = [path for size, same in by_size.items() if size is not None and len(same) > 1 for path in same]
        digests: dict[Path, bytes | None] = {}
        for number, (path, digest) in enumerate(zip(alike, _map(pool, _digest, alike)), 1):
            digests[path] = digest
            if progress is not None:
                progress(number, len(alike))
    groups: dict[object, list[int]] = defaultdict(list)
    dropped = set()
    for position, face in enumerate(faces):
        if face.draw is not None:
            continue
        if sizes[face.path] is None or digests.get(face.path, b"") is None:
            problems.add(face.path, MISSING, "can't be read", source=face.source)
            dropped.add(position)
        else:
            groups[digests.get(face.path, face.path)].append(position)
    for positions in groups.values():
        if len(positions) > 1:
            dropped.update(_resolve(faces, positions, problems))
    return [face for position, face in enumerate(faces) if position not in dropped]


def _map(pool: ThreadPoolExecutor, function: Callable[[Path], T], paths: Sequence[Path]) -> Iterator[T]:
    """Yield ``function`` of each path, in order. A task takes many paths: one each would cost 1.5 KB and 30 us."""

    def run(first: int) -> list[T]:
        return [function(path) for path in paths[first : first + _BATCH]]

    for results in pool.map(run, range(0, len(paths), _BATCH)):
        yield from results


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _digest(path: Path) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            # Most files come in one read; file_digest's own buffer of 256 KB would cost more than the digest.
            data = file.read(_READ_BYTES)
            digest = hashlib.sha256(data)
            while len(data) == _READ_BYTES:
                data = file.read(_READ_BYTES)
                digest.update(data)
            return digest.digest()
    except OSError:
        return None


def _resolve(faces: Sequence[FaceSample], positions: list[int], problems: Problems) -> list[int]:
    """Report the faces at ``positions``, which have the same bytes; return those to drop."""
    ordered = sorted(positions, key=lambda position: _rank(faces[position]))
    group = [faces[position] for position in ordered]
    for what in ("gender", "age"):
        values = sorted({getattr(face, what) for face in group} - {UNKNOWN})
        if len(values) > 1:
            for face in group:
                others = ", ".join(
                    f"{other.path.name} ({getattr(other, what)})" for other in group if other is not face
                )
                detail = f"{what} {getattr(face, what)}, but the same picture is {others}"
                problems.add(face.path, CONTRADICTION, detail, source=face.source)
            return ordered
    for face in group[1:]:
        problems.add(face.path, DUPLICATE, f"same bytes as {group[0].path.as_posix()}", source=face.source)
    return ordered[1:]


def _rank(face: FaceSample) -> tuple[object, ...]:
    unknown = (face.gender == UNKNOWN) + (face.age == UNKNOWN)
    return (_KEEP_FIRST[face.split], unknown, *face.sort_key)
