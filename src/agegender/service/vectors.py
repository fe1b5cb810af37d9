"""Embeddings that clients send, as JSON or .npy, and what is told of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.deploy.predict import GENDERS
from agegender.doubt import entropy
from agegender.errors import DataError
from agegender.npy import NPY_MAGIC, as_vectors, read_npy
from agegender.readout import Reading
from agegender.service.refusal import RefusedError

Floats = npt.NDArray[np.float32]


def parse_vectors(data: bytes, *, width: int, most: int) -> Floats:
    """Return the embeddings in ``data``, (n, width) float32.

    JSON is ``{"embeddings": [[...], ...]}``, a list of lists, or one list; .npy an array (n, width) or (width,) of
    plain numbers. Nothing is unpickled. Raises RefusedError: 422 for anything else and for numbers that are not finite,
    413 for more than ``most``.
    """
    values = _from_npy(data) if data[: len(NPY_MAGIC)] == NPY_MAGIC else _from_json(data)
    if values.ndim == 2 and values.shape[1] == width and len(values) > most:
        count = len(values)
        raise RefusedError(413, "too_many_vectors", f"{count} embeddings in one request; at most {most} are taken")
    try:
        return as_vectors(values, width)
    except DataError as error:
        raise _bad(str(error)) from None


def describe(reading: Reading, row: int, *, distribution: bool, min_confidence: float) -> dict[str, Any]:
    """Return what ``reading`` tells of one row, JSON-able; entropies in bits, 0 for what is certain."""
    genders = None if reading.gender is None else reading.gender[row]
    likelier = None if genders is None else int(genders.argmax())
    sure = genders is not None and float(genders.max()) >= min_confidence
    mass = None if reading.distribution is None else reading.distribution[row]
    ends = None if reading.interval is None else reading.interval[row]
    value: dict[str, Any] = {
        "gender": GENDERS[likelier] if sure and likelier is not None else None,
        "gender_probability": None if genders is None else round(float(genders.max()), 4),
        "age": None if reading.age is None else round(float(reading.age[row]), 1),
        "age_interval": None if ends is None else [round(float(end), 1) for end in ends],
        "gender_entropy": None if genders is None else round(float(entropy(genders)), 4),
        "age_entropy": None if mass is None else round(float(entropy(mass)), 4),
    }
    if distribution:
        value["age_distribution"] = None if mass is None else [round(float(share), 6) for share in mass]
    return value


def _from_json(data: bytes) -> npt.NDArray[Any]:
    try:
        text = data.decode(json.detect_encoding(data))
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise _bad("the body is neither JSON nor .npy") from None
    if isinstance(value, dict):
        if set(value) != {"embeddings"}:
            raise _bad('a JSON object has the one member "embeddings"')
        value = value["embeddings"]
    if not isinstance(value, list):
        raise _bad("the embeddings are no list of lists of numbers")
    # NumPy takes them for 1 and 0 where there are numbers beside them; nothing that is allowed holds these letters.
    if "true" in text or "false" in text:
        raise _bad("the embeddings are no list of lists of numbers, all of one length")
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        raise _bad("the embeddings are no list of lists of numbers, all of one length") from None
    if array.dtype.kind not in "fiu":
        raise _bad("the embeddings are no list of lists of numbers, all of one length")
    return array


def _from_npy(data: bytes) -> npt.NDArray[Any]:
    try:
        return read_npy(data)
    except DataError as error:
        raise _bad(str(error)) from None


def _bad(message: str) -> RefusedError:
    return RefusedError(422, "bad_embeddings", message)
