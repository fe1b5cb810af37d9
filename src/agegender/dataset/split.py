"""Dividing faces into train, val and test: by seed and content, never by the order in which files were found."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from agegender.dataset.face_record import SPLITS, FaceSample
from agegender.errors import UsageError

# A subject whose faces carry several splits of their own takes its other faces to the last of these.
_PRECEDENCE = {split: rank for rank, split in enumerate(SPLITS)}
_AGE_BAND = 10


def split(
    samples: Iterable[FaceSample], *, val_ratio: float, test_ratio: float, seed: int
) -> dict[str, list[FaceSample]]:
    """Return the faces of "train", "val" and "test", each sorted.

    A face's own split wins; the rest of its subject goes to the same side. All others are units, a subject or a face
    without one, and of every stratum (source, decade of age, gender) the units with the smallest seeded hashes are
    taken for test and then for val: the shares hold in each stratum, and adding data moves few of the old faces.
    With a ratio above 0 and enough units, that side has at least one. Raises UsageError for impossible ratios.
    """
    _check(val_ratio, test_ratio)
    result: dict[str, list[FaceSample]] = {name: [] for name in SPLITS}
    ordered = sorted(samples, key=lambda sample: sample.sort_key)
    own = _own_splits(ordered)
    units: dict[str, list[FaceSample]] = defaultdict(list)
    for sample in ordered:
        side = sample.split or own.get(sample.subject, "")
        if side:
            result[side].append(sample)
        else:
            units[unit_key(sample)].append(sample)
    for name, ratio in (("test", test_ratio), ("val", val_ratio / (1.0 - test_ratio))):
        for key in _take(units, ratio, salt=f"{seed}/{name}"):
            result[name].extend(units.pop(key))
    result["train"].extend(sample for faces in units.values() for sample in faces)
    for faces in result.values():
        faces.sort(key=lambda sample: sample.sort_key)
    return result


def _check(val_ratio: float, test_ratio: float) -> None:
    for name, ratio in (("val_ratio", val_ratio), ("test_ratio", test_ratio)):
        if not 0.0 <= ratio < 1.0:
            raise UsageError(f"{name} {ratio} is not within 0..1 (a share of the faces, such as 0.05)")
    if val_ratio + test_ratio >= 1.0:
        raise UsageError(f"val_ratio {val_ratio} and test_ratio {test_ratio} leave nothing to train on")


def _own_splits(samples: Iterable[FaceSample]) -> dict[str, str]:
    """Return subject -> split for the subjects of which some face has a split of its own."""
    own: dict[str, str] = {}
    for sample in samples:
        if sample.subject and sample.split:
            own[sample.subject] = max(own.get(sample.subject, sample.split), sample.split, key=_PRECEDENCE.__getitem__)
    return own


def unit_key(sample: FaceSample) -> str:
    """Name what must stay together. No part of it depends on where the data root lies."""
    if sample.subject:
        return f"subject/{sample.subject}"
    if sample.box is not None:  # of several faces in a photo: they stay together
        return f"{sample.source}/{sample.path.parent.name}/{sample.path.name}"
    return f"{sample.source}/{sample.path.parent.name}/{sample.path.name}/{sample.gender}/{sample.age}"


def _take(units: dict[str, list[FaceSample]], ratio: float, *, salt: str) -> list[str]:
    """Choose about ``ratio`` of the units, the same share in every stratum."""
    if ratio <= 0.0 or len(units) < 2:
        return []
    ranked = {key: hashlib.sha256(f"{salt}/{key}".encode()).digest() for key in units}
    strata: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for key, faces in units.items():
        strata[stratum(faces)].append(key)
    chosen: list[str] = []
    carry = 0.0
    for name in sorted(strata):
        keys = sorted(strata[name], key=ranked.__getitem__)
        carry += ratio * len(keys)
        # The fraction goes on to the next stratum; the small term keeps 0.1 * 10 from ending below 1.
        count = min(math.floor(carry + 1e-9), len(keys))
        carry -= count
        chosen.extend(keys[:count])
    return chosen or [min(ranked, key=ranked.__getitem__)]


def stratum(faces: Sequence[FaceSample]) -> tuple[str, int, int]:
    """Return source, decade of the middle age and commonest gender of a unit."""
    ages = sorted(face.age for face in faces)
    gender = Counter(face.gender for face in faces).most_common(1)[0][0]
    return faces[0].source, ages[len(ages) // 2] // _AGE_BAND, gender
