"""Embeddings that clients send, as JSON or .npy, and what is told of them."""

from __future__ import annotations

import ast
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.deploy.predict import GENDERS
from agegender.readout import Reading
from agegender.service.refusal import RefusedError

Floats = npt.NDArray[np.float32]
_NPY = b"\x93NUMPY"
# dtype names of plain numbers, little or big end first; an object array would be a pickle.
_PLAIN = {f"{end}{kind}" for end in "<>=|" for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4")}


def parse_vectors(data: bytes, *, width: int, most: int) -> Floats:
    """Return the embeddings in ``data``, (n, width) float32.

    JSON is ``{"embeddings": [[...], ...]}``, a list of lists, or one list; .npy an array (n, width) or (width,) of
    plain numbers. Nothing is unpickled. Raises RefusedError: 422 for anything else and for numbers that are not finite,
    413 for more than ``most``.
    """
    values = _from_npy(data) if data[: len(_NPY)] == _NPY else _from_json(data)
    rows = values[None] if values.ndim == 1 else values
    if rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise _bad(f"the embeddings have shape {list(values.shape)}, not [n, {width}]")
    if len(rows) > most:
        raise RefusedError(413, "too_many_vectors", f"{len(rows)} embeddings in one request; at most {most} are taken")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise _bad(f"embedding {row} holds a number that is not finite in float32")
    return vectors


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
        "gender_entropy": None if genders is None else round(entropy(genders), 4),
        "age_entropy": None if mass is None else round(entropy(mass), 4),
    }
    if distribution:
        value["age_distribution"] = None if mass is None else [round(float(share), 6) for share in mass]
    return value


def entropy(probabilities: npt.ArrayLike) -> float:
    """Return Shannon's entropy in bits of ``probabilities`` (k,), which sum to 1."""
    mass = np.asarray(probabilities, np.float64)
    some = mass[mass > 0]
    return max(0.0, float(-(some * np.log2(some)).sum()))


def _from_json(data: bytes) -> npt.NDArray[Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise _bad("the body is neither JSON nor .npy") from None
    if isinstance(value, dict):
        if set(value) != {"embeddings"}:
            raise _bad('a JSON object has the one member "embeddings"')
        value = value["embeddings"]
    if not isinstance(value, list):
        raise _bad("the embeddings are no list of lists of numbers")
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        raise _bad("the embeddings are no list of lists of numbers, all of one length") from None
    if array.dtype.kind not in "fiu":
        raise _bad("the embeddings are no list of lists of numbers, all of one length")
    return array


def _from_npy(data: bytes) -> npt.NDArray[Any]:
    """Read the format by hand (numpy/lib/format.py): nothing is allocated for a shape that the file doesn't hold."""
    long = data[6:7] in (b"\x02", b"\x03")
    start = 12 if long else 10
    length = int.from_bytes(data[8:start], "little")
    if data[6:7] not in (b"\x01", b"\x02", b"\x03") or not 0 < length <= min(10_000, len(data) - start):
        raise _bad("the .npy file has no header that can be read")
    try:
        header = ast.literal_eval(data[start : start + length].decode("latin-1").strip())
        kind, shape, columns_first = header["descr"], header["shape"], header["fortran_order"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        raise _bad("the .npy file has no header that can be read") from None
    if not isinstance(kind, str) or kind not in _PLAIN:
        raise _bad("the .npy file holds no plain numbers (float16 to float64 or whole numbers); objects are never read")
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape) or len(shape) > 2:
        raise _bad("the .npy file holds no array of one or two dimensions")
    dtype = np.dtype(kind)
    count = int(np.prod([int(side) for side in shape], dtype=object))
    if count * dtype.itemsize != len(data) - start - length:
        raise _bad(f"the .npy file should hold {count} numbers and has another length")
    flat = np.frombuffer(data, dtype, count, offset=start + length)
    return flat.reshape(shape, order="F" if columns_first is True else "C")


def _bad(message: str) -> RefusedError:
    return RefusedError(422, "bad_embeddings", message)
