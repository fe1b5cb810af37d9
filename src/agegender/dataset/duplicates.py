"""Exact duplicates among the files: one of each is kept, and none where the labels contradict each other."""

from __future__ import annotations

import hashlib
import os
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
_END_BYTES = 64
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)

T = TypeVar("T")
Progress = Callable[[int, int], None]
Sizes = dict[Path, int | None]


def file_sizes(samples: Iterable[FaceSample], *, workers: int | None = None) -> Sizes:
    """Return the size in bytes of each sample's file, None where it can't be told; drawn faces have no file."""
    # One file listed twice is looked at once.
    paths = list(dict.fromkeys(sample.path for sample in samples if sample.draw is None))
    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        return dict(zip(paths, _map(pool, _size, paths)))


def drop_duplicates(
    samples: Iterable[FaceSample],
    problems: Problems,
    *,
    sizes: Sizes | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[FaceSample]:
    """Return the samples without exact duplicates, in the given order.

    Files of the same bytes are one face: the one that stays has the strictest own split (test, val, train, none),
    then the most labels, then the first name; the others go to ``problems`` as duplicates. Where two of them know
    different genders or ages, all of them go there as contradictions, since nothing tells which label is right.
    Only files of equal size are read, by ``workers`` threads (default: all cores); ``sizes`` has what ``file_sizes``
    returned, where that is known. ``progress(done, total)`` counts files read. Files that can't be read are problems
    too; drawn faces are passed on.
    """
    faces = list(samples)
    positions: dict[Path, list[int]] = defaultdict(list)
    for position, face in enumerate(faces):
        if face.draw is None:
            positions[face.path].append(position)
    known = file_sizes(faces, workers=workers) if sizes is None else sizes
    groups, unreadable = _equal_files({path: known[path] for path in positions}, workers=workers, progress=progress)
    dropped = set()
    for path in unreadable:
        for position in positions[path]:
            problems.add(path, MISSING, "can't be read", source=faces[position].source)
            dropped.add(position)
    paired = {path for group in groups for path in group}
    paired |= unreadable
    groups += [[path] for path, places in positions.items() if len(places) > 1 and path not in paired]
    for group in groups:
        # Several faces of one photo have boxes: the same picture, but other people.
        boxes: dict[tuple[float, ...] | None, list[int]] = defaultdict(list)
        for position in (position for path in group for position in positions[path]):
            boxes[faces[position].box].append(position)
        for same in boxes.values():
            dropped.update(_resolve(faces, same, problems))
    return [face for position, face in enumerate(faces) if position not in dropped]


def _equal_files(sizes: Sizes, *, workers: int | None, progress: Progress | None) -> tuple[list[list[Path]], set[Path]]:
    """Return groups of at least two files with the same bytes, and the files that can't be read.

    Files of the same size are compared by their ends first: those of different photos differ there already.
    """
    unreadable = {path for path, size in sizes.items() if size is None}
    by_size: dict[int | None, list[Path]] = defaultdict(list)
    for path, size in sizes.items():
        by_size[size].append(path)
    by_size.pop(None, None)
    groups = [group for group in by_size.values() if len(group) > 1]
    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        for look in (_end, _digest):
            alike = [path for group in groups for path in group]
            numbers = [number for number, group in enumerate(groups) for _ in group]
            seen: dict[tuple[int, bytes], list[Path]] = defaultdict(list)
            for done, (path, number, value) in enumerate(zip(alike, numbers, _map(pool, look, alike)), 1):
                if value is None:
                    unreadable.add(path)
                else:
                    seen[number, value].append(path)
                if progress is not None and look is _end:
                    progress(done, len(alike))
            groups = [group for group in seen.values() if len(group) > 1]
    return groups, unreadable


def _map(pool: ThreadPoolExecutor, function: Callable[[Path], T], paths: Sequence[Path]) -> Iterator[T]:
    """Yield ``function`` of each path, in order. A task takes many paths: one each would cost 1.5 KB and 30 us."""

    def run(first: int) -> list[T]:
        return [function(path) for path in paths[first : first + _BATCH]]

    for results in pool.map(run, range(0, len(paths), _BATCH)):
        yield from results


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - for every file, so the quicker call
    except OSError:
        return None


def _end(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, _READ)
        try:
            size = os.lseek(descriptor, 0, os.SEEK_END)
            os.lseek(descriptor, max(0, size - _END_BYTES), os.SEEK_SET)
            return os.read(descriptor, _END_BYTES)
        finally:
            os.close(descriptor)
    except OSError:
        return None


def _digest(path: Path) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


def _resolve(faces: Sequence[FaceSample], positions: list[int], problems: Problems) -> list[int]:
    """Report the faces at ``positions``, which have the same bytes; return those to drop."""
    ordered = sorted(positions, key=lambda position: _rank(faces[position]))
    group = [faces[position] for position in ordered]
    for what, contradict in (("gender", _genders_differ), ("age", _ages_differ)):
        if contradict(group):
            for face in group:
                others = ", ".join(f"{other.path.name} ({_shown(other, what)})" for other in group if other is not face)
                detail = f"{what} {_shown(face, what)}, but the same picture is {others}"
                problems.add(face.path, CONTRADICTION, detail, source=face.source)
            return ordered
    for face in group[1:]:
        problems.add(face.path, DUPLICATE, f"same bytes as {group[0].path.as_posix()}", source=face.source)
    return ordered[1:]


def _genders_differ(group: Sequence[FaceSample]) -> bool:
    return len({face.gender for face in group} - {UNKNOWN}) > 1


def _ages_differ(group: Sequence[FaceSample]) -> bool:
    """Tell whether no age fits all that is known: an age and a bin that holds it do not contradict each other."""
    known = [face.age_range for face in group if face.age != UNKNOWN]
    return bool(known) and max(low for low, _ in known) > min(high for _, high in known)


def _shown(face: FaceSample, what: str) -> str:
    low, high = face.age_range
    return f"{low}-{high}" if what == "age" and low != high else str(getattr(face, what))


def _rank(face: FaceSample) -> tuple[object, ...]:
    unknown = (face.gender == UNKNOWN) + (face.age == UNKNOWN)
    return (_KEEP_FIRST[face.split], unknown, face.low != UNKNOWN, *face.sort_key)
