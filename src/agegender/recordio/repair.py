"""Saving what is left of a damaged ``.rec`` into a new one."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO, cast

from agegender.errors import RecordError, UsageError
from agegender.files import atomic_path, sha256_file, write_json
from agegender.recordio.body import BodyCheck, payload_problem
from agegender.recordio.index import index_path, read_index
from agegender.recordio.range_header import find_range
from agegender.recordio.reader import mapped, missing_file
from agegender.recordio.scan import scan_heads
from agegender.recordio.verify import Problem, damage_problem, record_keys
from agegender.recordio.walk import walk_records
from agegender.recordio.writer import RecordWriter


@dataclass
class Repair:
    """What ``repair`` did: ``records`` written, and what was ``lost``, each with key (where known), offset, reason."""

    source: Path
    target: Path
    records: int = 0
    lost: list[Problem] = field(default_factory=list)


def repair(source: Path | str, target: Path | str, *, check: BodyCheck | None = None) -> Repair:
    """Write the whole records of ``source`` to the new file ``target`` with an index; ``source`` is not touched.

    Damaged stretches and a torn tail are left out, the way back is found at the next magic. ``check`` also leaves out
    records whose image header or body it finds wrong. Keys are kept. ``.csv``, ``.lst`` and ``.json`` beside the source
    are written beside the target for the records that are left. Raises UsageError when ``target`` exists, RecordError
    when ``source`` does not or no record can be saved.
    """
    source, target = Path(source), Path(target)
    if not source.is_file():
        raise RecordError(missing_file(source))
    for name in (target, index_path(target)):
        if name.exists():
            raise UsageError(f"{name} exists; repair writes a new file and leaves others alone")
    result = Repair(source, target)
    kept = _copy_records(result, check)
    _copy_sidecars(source, target, kept)
    return result


def _copy_records(result: Repair, check: BodyCheck | None) -> set[int]:
    """Write the whole records and return their keys."""
    heads = scan_heads(result.source)
    try:
        index = read_index(index_path(result.source))
    except (FileNotFoundError, RecordError):
        index = None  # lost or damaged: the keys come from the headers
    kept: set[int] = set()
    with mapped(result.source, heads.file_size) as data:
        walk = walk_records(heads, data)
        if not len(walk.starts):
            raise RecordError(f"{result.source} has no whole record: nothing to save")
        keys = record_keys(data, walk, index)
        result.lost += [damage_problem(stretch, index) for stretch in walk.damaged]
        bounds = find_range(keys, lambda record: walk.payload(data, record))
        with RecordWriter(result.target) as writer:
            for record, key in enumerate(keys.tolist()):
                payload = walk.payload(data, record)
                image = bounds is None or 1 <= key < bounds[0]
                problem = payload_problem(payload, check, label_order=None) if check and image else None
                if problem is None:
                    writer.write(key, payload)
                    kept.add(key)
                else:
                    result.lost.append(Problem(problem, key=key, offset=int(walk.starts[record])))
    result.records = len(kept)
    return kept


def _copy_sidecars(source: Path, target: Path, kept: set[int]) -> None:
    """Write the tables and the JSON of the source beside the target, cut to the records that are left."""
    table, lines = source.with_suffix(".csv"), source.with_suffix(".lst")
    if table.is_file():
        _copy_table(table, target.with_suffix(".csv"), kept=kept)
    if lines.is_file():
        _copy_lines(lines, target.with_suffix(".lst"), kept=kept)
    try:
        about = json.loads(source.with_suffix(".json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return  # sets of other writers have none
    if isinstance(about, dict):
        changed = {"records": len(kept), "sha256": {target.name: sha256_file(target)}, "repaired_from": source.name}
        write_json(target.with_suffix(".json"), about | changed)


def _copy_table(source: Path, target: Path, *, kept: set[int]) -> None:
    """Copy the rows of a CSV whose first cell is a key that is left; a header line has no number there."""
    with atomic_path(target) as temporary, _text(source, "r") as old, _text(temporary, "w") as new:
        writer = csv.writer(new, lineterminator="\n")
        for row in csv.reader(old):
            if row and (not row[0].isdecimal() or int(row[0]) in kept):
                writer.writerow(row)


def _copy_lines(source: Path, target: Path, *, kept: set[int]) -> None:
    """Copy the lines of an im2rec list whose first column is a key that is left."""
    with atomic_path(target) as temporary, _text(source, "r") as old, _text(temporary, "w") as new:
        for line in old:
            key = line.split("\t", 1)[0]
            if key.isdecimal() and int(key) in kept:
                new.write(line)


def _text(path: Path, mode: str) -> TextIO:
    # Paths need not be UTF-8: such bytes go through as they are.
    return cast(TextIO, open(path, mode, encoding="utf-8", errors="surrogateescape", newline=""))
