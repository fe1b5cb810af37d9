"""One face on its way between two containers, and what the numbers of other containers mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agegender.errors import LabelError, RecordError
from agegender.labels import FEMALE, MALE, UNKNOWN, clean_bin, clean_gender, clean_std

FEMALE_FIRST, MALE_FIRST = CODINGS = ("female,male", "male,female")
# What a container may know of a face beside its gender and age.
NUMBERS, TEXTS = ("low", "high", "std"), ("subject", "group", "fold", "source", "path")
# Nothing that is one face is larger, and no name longer; a damaged or hostile file may say so.
MAX_BYTES, MAX_TEXT = 64 << 20, 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """A face: its ``name`` in the container, gender 0 female, 1 male, -1 unknown, age 0..100, -1 unknown.

    ``data`` is an encoded image, or uint8 (h, w, 3) RGB; None where only labels were asked for. The others are those
    of ``FaceSample``, as text empty and as a number -1 where the container does not say; ``path`` is where the image
    came from, ``synthetic`` tells that it is drawn.
    """

    name: str
    gender: int
    age: int
    data: bytes | npt.NDArray[np.uint8] | None = None
    low: int = UNKNOWN
    high: int = UNKNOWN
    std: float = UNKNOWN
    subject: str = ""
    group: str = ""
    fold: str = ""
    source: str = ""
    path: str = ""
    synthetic: bool = False

    @property
    def further(self) -> dict[str, int | float | str]:
        """Return what is known beside gender and age, by the name of the field."""
        numbers = {name: getattr(self, name) for name in NUMBERS if getattr(self, name) >= 0}
        return numbers | {name: getattr(self, name) for name in TEXTS if getattr(self, name)}


class Container(Protocol):
    """A file of faces that can be read several times."""

    def read(self, *, images: bool) -> Iterator[Entry]:
        """Yield the faces in their order, without ``images`` perhaps only their labels."""


def entry_of(
    where: str,
    name: str,
    labels: Mapping[str, object],
    *,
    coding: str,
    data: bytes | npt.NDArray[np.uint8] | None,
) -> Entry:
    """Return the face of ``labels``, the fields of Entry by name; those that are missing or None are unknown.

    ``coding`` says what 0 and 1 are. Raises RecordError that begins with ``where`` for an impossible label.
    """
    try:
        gender = labels.get("gender")
        sex = clean_gender(_plain(gender))
        if not isinstance(gender, str) and sex != UNKNOWN and coding == MALE_FIRST:
            sex = MALE if sex == FEMALE else FEMALE
        age, low, high = clean_bin(*(_plain(labels.get(name)) for name in ("age", "low", "high")))
        std = _plain(labels.get("std"))
        std = clean_std(UNKNOWN if isinstance(std, float) and math.isnan(std) else std)
        texts = {name: _text(name, labels.get(name)) for name in TEXTS}
        synthetic = labels.get("synthetic") or False
        if not isinstance(synthetic, bool):
            raise LabelError(f"synthetic {synthetic!r} is neither true nor false")
        return Entry(name, sex, age, data, low=low, high=high, std=std, synthetic=synthetic, **texts)
    except LabelError as error:
        raise RecordError(f"{where}: {error}") from None


def _plain(value: object) -> str | float:
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise LabelError(f"{value!r} is no number")
    return value


def _text(name: str, value: object) -> str:
    """Return a name as text; people and groups are numbered in some sets."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise LabelError(f"{name} {value!r} is no text")
    text = str(value)
    if len(text) > MAX_TEXT or "\0" in text:
        raise LabelError(f"{name} {text[:20]!r}... is no name: {len(text)} characters, or a zero among them")
    return text
