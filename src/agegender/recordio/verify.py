"""Checking a ``.rec`` from its first byte to its last, and rebuilding a lost index."""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agegender.errors import RecordError
from agegender.files import sha256_file
from agegender.recordio.body import BodyCheck, jpeg_problem, payload_problem
from agegender.recordio.index import Index, index_path, read_index, write_index
from agegender.recordio.range_header import find_range
from agegender.recordio.reader import header_keys, mapped, missing_file, scan_index
from agegender.recordio.scan import scan_heads
from agegender.recordio.shards import set_json
from agegender.recordio.walk import Stretch, Walk, walk_records

# So many records of one kind of problem are named, the rest is counted.
NAMED = 20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: ``reason``, with the record's key and its byte offset where they are known."""

    reason: str
    key: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        key = "" if self.key is None else f"record key {self.key} "
        place = "" if self.offset is None else f"at byte {self.offset}"
        where = (key + place).strip()
        return f"{where}: {self.reason}" if where else self.reason


@dataclass
class Report:
    """What ``verify`` found: the number of whole ``records``, the file's ``size`` in bytes, and the problems."""

    path: Path
    size: int
    records: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    path: Path | str, *, check: BodyCheck | None = jpeg_problem, label_order: str | None = None, digest: bool = True
) -> Report:
    """Walk a ``.rec`` and report everything that is wrong with it.

    Magics, lengths, part order and padding; a torn tail; that the ``.idx`` names exactly the records there are; the
    image headers; each body by ``check`` (None = not); labels against ``label_order``; the SHA-256 in the set's JSON
    (``digest``). Damage is reported, not raised; RecordError only when there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordError(missing_file(path))
    heads = scan_heads(path)
    report = Report(path, heads.file_size)
    with mapped(path, heads.file_size) as data:
        walk = walk_records(heads, data)
        report.records = len(walk.starts)
        index, index_problem = _try_index(path)
        keys = record_keys(data, walk, index)
        report.problems += [damage_problem(stretch, index) for stretch in walk.damaged]
        report.problems += _header_problems(walk, keys)
        report.problems += _content_problems(data, walk, keys, check=check, label_order=label_order)
        report.problems += [index_problem] if index_problem else []
        report.problems += _index_problems(index, walk, path) if index else []
    if digest:
        report.problems += _digest_problems(path)
    return report


def rebuild_index(path: Path | str) -> int:
    """Write the ``.idx`` of a ``.rec`` from a scan of it and return the number of records.

    The keys are the ids in the image headers where every record has its own, else 0..n-1. Raises RecordError when the
    file is damaged: ``repair`` then writes what is left of it, with an index.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordError(missing_file(path))
    keys, offsets = scan_index(path)
    write_index(index_path(path), keys, offsets=offsets)
    return len(keys)


def record_keys(data: mmap.mmap | bytes, walk: Walk, index: Index | None) -> NDArray[np.int64]:
    """Return a key per whole record, (n,) int64: the index's where it names them all, else from the headers."""
    if index is not None and len(index[0]):
        order = np.argsort(index[1], kind="stable")
        places = np.searchsorted(index[1], walk.starts, sorter=order)
        found = order[np.minimum(places, len(order) - 1)]
        keys: NDArray[np.int64] = index[0][found]
        if (index[1][found] == walk.starts).all() and len(np.unique(keys)) == len(keys):
            return keys
    return header_keys(data, walk.starts)


def damage_problem(stretch: Stretch, index: Index | None) -> Problem:
    """Describe a damaged stretch, with the keys that the index has in it."""
    size = f" ({stretch.end - stretch.begin} bytes hold no whole record)"
    if index is None:
        return Problem(stretch.reason + size, offset=stretch.begin)
    inside = np.flatnonzero((index[1] >= stretch.begin) & (index[1] < stretch.end))
    keys = index[0][inside].tolist()
    others = f"; with keys {', '.join(map(str, keys[1:NAMED]))}" if len(keys) > 1 else ""
    others += f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return Problem(stretch.reason + size + others, key=keys[0] if keys else None, offset=stretch.begin)


def _header_problems(walk: Walk, keys: NDArray[np.int64]) -> list[Problem]:
    problems = []
    for offset in sorted(walk.mended | walk.unsplit):
        key = int(keys[np.searchsorted(walk.starts, offset)])
        reason = "its magic is damaged, the rest is whole"
        if offset in walk.unsplit:
            reason = "its payload has an aligned magic that is not split: MXNet's ImageRecordIter would cut it there"
        problems.append(Problem(reason, key=key, offset=offset))
    return problems


def _content_problems(
    data: mmap.mmap | bytes,
    walk: Walk,
    keys: NDArray[np.int64],
    *,
    check: BodyCheck | None,
    label_order: str | None,
) -> list[Problem]:
    problems = []
    bounds = find_range(keys, lambda record: walk.payload(data, record))
    for record, (key, start, end) in enumerate(
        zip(keys.tolist(), walk.starts.tolist(), walk.ends.tolist(), strict=True)
    ):
        payload = walk.payload(data, record)
        # The range header and the identities have ranges for labels and no body.
        image = bounds is None or 1 <= key < bounds[0]
        problem = payload_problem(payload, check if image else None, label_order=label_order if image else None)
        if problem is None and any(data[end - (-len(payload) % 4) : end]):
            problem = "its padding is not zero"
        if problem is not None:
            problems.append(Problem(problem, key=key, offset=start))
    return problems


def _try_index(path: Path) -> tuple[Index | None, Problem | None]:
    beside = index_path(path)
    if not beside.is_file():
        return None, Problem(f"{beside.name} is missing; tools/rec.py index writes it anew")
    try:
        return read_index(beside), None
    except RecordError as error:
        return None, Problem(str(error))


def _index_problems(index: Index, walk: Walk, path: Path) -> list[Problem]:
    """Compare the index with the records there are. Entries within damaged stretches are named with those."""
    named = np.isin(walk.starts, index[1])
    if not walk.damaged and 2 * int(named.sum()) < len(walk.starts):
        # Nothing is gained by naming each record: the index is another file's.
        text = f"the .idx is not this file's: it names {named.sum():,} of the {len(named):,} records, all of them whole"
        return [Problem(f"{text}; tools/rec.py index {path} writes the right one")]
    keys, offsets = index
    wrong = ~np.isin(offsets, walk.starts)
    for stretch in walk.damaged:
        wrong &= (offsets < stretch.begin) | (offsets >= stretch.end)
    entries = np.flatnonzero(wrong)
    unnamed = walk.starts[~named]
    problems = [
        Problem("the .idx names it, but no record starts there", key=int(keys[entry]), offset=int(offsets[entry]))
        for entry in entries[:NAMED]
    ]
    problems += [Problem("the .idx does not name this record", offset=int(offset)) for offset in unnamed[:NAMED]]
    left = max(0, len(entries) - NAMED) + max(0, len(unnamed) - NAMED)
    if left:
        problems.append(Problem(f"{left} more differences between the .idx and the records"))
    ordered = np.sort(keys)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    problems += [Problem(f"the .idx has the key {key} more than once") for key in twice[:NAMED]]
    return problems


def _digest_problems(path: Path) -> list[Problem]:
    """Compare the file with the SHA-256 in the JSON of its set, where that has one."""
    name = set_json(path)
    try:
        expected = json.loads(name.read_text(encoding="utf-8"))["sha256"][path.name]
    except (FileNotFoundError, KeyError, TypeError):
        return []  # sets of other writers have no such file, or one of another kind
    except ValueError as error:
        return [Problem(f"{name.name} is no JSON: {error}")]
    if expected != sha256_file(path):
        return [Problem(f"its SHA-256 is not the one in {name.name}: some bytes have changed")]
    return []
