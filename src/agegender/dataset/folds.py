"""Cross-validation: which fold a packed face belongs to, and a record file for each fold."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agegender.dataset.face_record import FaceSample
from agegender.dataset.manifest import CSV_COLUMNS, FOLD
from agegender.dataset.split import split, stratum, unit_key
from agegender.errors import DataError, UsageError
from agegender.labels import BIN_WIDTH, LABELS, UNKNOWN
from agegender.recordio import Header, RecordSet, RecordWriter, pack, unpack
from agegender.recordio.shards import set_json

# A fold is two files: what other folds' networks learn from, and what their epoch is chosen on.
PARTS = ("fit", "val")


@dataclass(frozen=True, kw_only=True)
class PackedFaces:
    """The faces of packed sets, in order: ``rows`` are those of ``train.csv``, ``samples`` what is known of them."""

    records: tuple[RecordSet, ...]
    samples: list[FaceSample]
    rows: list[dict[str, str]]

    def payload(self, face: int) -> bytes | memoryview:
        """Return the record of a face."""
        for records in self.records:
            if face < len(records):
                return records.read(face)
            face -= len(records)
        raise IndexError(face)


@dataclass(frozen=True, kw_only=True)
class Folds:
    """``of`` (n,) is the fold of each face, -1 for one that takes part in none; ``names`` has a name per fold."""

    of: npt.NDArray[np.int64]
    names: tuple[str, ...]
    rule: str


def read_faces(sets: Sequence[RecordSet], *, label_order: str = LABELS) -> PackedFaces:
    """Read what ``sets`` and the tables of origins beside them know of every face.

    Raises DataError where a set has no such table, or another one than its records.
    """
    samples: list[FaceSample] = []
    rows: list[dict[str, str]] = []
    for records in sets:
        labels = records.labels(BIN_WIDTH)
        if label_order == "age,gender":
            labels = labels[:, [1, 0, 2, 3, 4]]
        own = _origins(records)
        rows += own
        samples += [_sample(row, *map(float, label)) for row, label in zip(own, labels)]
    return PackedFaces(records=tuple(sets), samples=samples, rows=rows)


def own_folds(samples: Sequence[FaceSample]) -> Folds | None:
    """Return the folds that the sets themselves came with, None where they have none.

    Faces without a fold take part in none. Raises DataError where the same person is in two: what one fold is tested
    on would have been learned from.
    """
    names = sorted({sample.fold for sample in samples if sample.fold}, key=_natural)
    if len(names) < 2:
        return None
    number = {name: place for place, name in enumerate(names)}
    home: dict[str, str] = {}
    for sample in samples:
        if sample.subject and sample.fold and home.setdefault(sample.subject, sample.fold) != sample.fold:
            raise DataError(f"subject {sample.subject!r} is in fold {home[sample.subject]!r} and in {sample.fold!r}")
    of = np.array([number.get(sample.fold, UNKNOWN) for sample in samples], np.int64)
    return Folds(of=of, names=tuple(names), rule=f"the set's own {len(names)} folds")


def make_folds(samples: Sequence[FaceSample], count: int, *, seed: int) -> Folds:
    """Divide faces into ``count`` folds: all of a subject (or a photo) into one, of each stratum about the same share.

    The strata are those of packing: source, decade of age, gender. The same faces and seed give the same folds on every
    machine. Raises UsageError for less than 2 folds, or more than there are subjects and photos.
    """
    units: dict[str, list[int]] = defaultdict(list)
    for face, sample in enumerate(samples):
        units[unit_key(sample)].append(face)
    if not 2 <= count <= len(units):
        raise UsageError(f"--folds {count} is not within 2..{len(units)} (the subjects and photos that there are)")
    strata: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for key, faces in units.items():
        strata[stratum([samples[face] for face in faces])].append(key)
    of = np.full(len(samples), UNKNOWN, np.int64)
    dealt = 0
    for name in sorted(strata):
        # Dealt like cards, one stratum going on where the last one ended: no fold gets all the small rests.
        for key in sorted(strata[name], key=lambda key: hashlib.sha256(f"{seed}/fold/{key}".encode()).digest()):
            of[units[key]] = dealt % count
            dealt += 1
    known = any(sample.subject for sample in samples)
    rule = f"{count} folds made with seed {seed}, " + (
        "a subject is in one fold only" if known else "image by image: a subject may be in several folds"
    )
    return Folds(of=of, names=tuple(map(str, range(count))), rule=rule)


def write_folds(faces: PackedFaces, folds: Folds, folder: Path, *, val_ratio: float, seed: int) -> dict[str, list[int]]:
    """Write ``fold-0-fit.rec`` and ``fold-0-val.rec`` with their indices, and so on; return the faces of each by stem.

    The images pass through unchanged; a record's key is the face's place among all. ``val_ratio`` of each fold goes to
    its ``val``, subjects and strata kept as in packing. Raises UsageError where a fold has less than two units.
    """
    places = {id(sample): face for face, sample in enumerate(faces.samples)}
    found: dict[str, list[int]] = {}
    for fold, name in enumerate(folds.names):
        members = [faces.samples[face] for face in np.flatnonzero(folds.of == fold).tolist()]
        sides = split(members, val_ratio=val_ratio, test_ratio=0.0, seed=seed)
        for part, side in zip(PARTS, ("train", "val")):
            found[f"fold-{fold}-{part}"] = sorted(places[id(sample)] for sample in sides[side])
            if not sides[side]:
                raise UsageError(f"fold {name!r} has {len(members)} faces, too few to set {val_ratio:g} of them aside")
    folder.mkdir(parents=True, exist_ok=True)
    for stem, chosen in found.items():
        with ExitStack() as stack:
            writer = stack.enter_context(RecordWriter(folder / f"{stem}.rec"))
            for face in chosen:
                header, body = unpack(faces.payload(face))
                writer.write(face, pack(Header(header.label, face, header.id2), body))
    return found


def table_of(faces: PackedFaces, chosen: Sequence[int]) -> list[list[str]]:
    """Return the rows of ``train.csv`` for ``chosen`` faces, its heading first; keys are places among all."""
    return [[*CSV_COLUMNS, FOLD], *([str(face), *_values(faces.rows[face])] for face in chosen)]


def _values(row: Mapping[str, str]) -> list[str]:
    return [row.get(column, "") for column in (*CSV_COLUMNS[1:], FOLD)]


def _origins(records: RecordSet) -> list[dict[str, str]]:
    path = set_json(records.path).with_suffix(".csv")
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = {row.get("key", ""): row for row in csv.DictReader(file)}
    except FileNotFoundError:
        raise DataError(f"{path} is not there: folds need to know which photo and subject each record is of") from None
    ordered = [rows.get(str(key)) for key in records.keys.tolist()]
    if None in ordered:
        raise DataError(f"{path} has no row for record {records.keys[ordered.index(None)]} of {records.path.name}")
    return [row for row in ordered if row is not None]


def _sample(row: Mapping[str, str], gender: float, age: float, low: float, high: float, std: float) -> FaceSample:
    box = tuple(map(float, row.get("box", "").split())) or None
    return FaceSample(
        Path(row.get("path", "")), int(gender), int(age), row.get("source", ""), row.get("subject", ""),
        row.get("group", ""), low=int(low), high=int(high), std=std, fold=row.get(FOLD) or "", box=box,
    )  # fmt: skip


def _natural(name: str) -> tuple[object, ...]:
    """Sort fold 10 after fold 9."""
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name))
