"""Checks of what a record holds: its image header, its labels, its JPEG or embedding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agegender.errors import DataError, RecordError
from agegender.labels import MAX_AGE, UNKNOWN
from agegender.npy import read_vector
from agegender.recordio.layout import Payload, unpack

# Says what is wrong with a record's body, None when nothing is.
BodyCheck = Callable[[memoryview], str | None]

_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
# Some cameras and editors append a few bytes of their own behind the end marker.
_JPEG_TAIL = 512


def jpeg_problem(body: memoryview) -> str | None:
    """Look at the markers of a JPEG, without decoding it. A PNG, which im2rec can pack as well, is let pass."""
    if not len(body):
        return "its body is empty"
    if body[: len(_PNG_START)] == _PNG_START:
        return None
    if body[: len(_JPEG_START)] != _JPEG_START:
        return f"its body is no JPEG (it starts with {bytes(body[:4]).hex(' ')})"
    if _JPEG_END not in bytes(body[-_JPEG_TAIL:]):
        return "its JPEG has no end marker: cut off"
    return None


def vector_check(width: int | None) -> BodyCheck:
    """Return what looks at the embedding in a body, of ``width`` numbers; None for any number of them."""

    def check(body: memoryview) -> str | None:
        try:
            read_vector(body, width)
        except DataError as error:
            return f"its body is no embedding: {error}"
        return None

    return check


def payload_problem(payload: Payload, check: BodyCheck | None, *, label_order: str | None) -> str | None:
    """Say what is wrong with an image record: header, labels, then its body by ``check``; None when nothing is.

    ``label_order`` ("gender,age" or "age,gender") has the labels checked against our convention.
    """
    try:
        header, body = unpack(payload)
    except RecordError as error:
        return str(error)
    if not np.isfinite(header.label).all():
        return f"its labels {header.label.tolist()} are not finite"
    if label_order is not None:
        problem = _label_problem(header.label.tolist(), label_order)
        if problem:
            return problem
    return check(body) if check is not None else None


def _label_problem(label: list[float], order: str) -> str | None:
    named = dict(zip(order.split(","), label, strict=False))
    gender, age = named.get("gender", UNKNOWN), named.get("age", UNKNOWN)
    if gender not in (UNKNOWN, 0, 1):
        return f"its gender {gender:g} is none of 0 = female, 1 = male, -1 = unknown"
    if age != UNKNOWN and not 0 <= age <= MAX_AGE:
        return f"its age {age:g} is not within 0..{MAX_AGE} (-1 = unknown)"
    return None
