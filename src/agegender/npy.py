"""NumPy's .npy format, read by hand: what others send or packed is checked before anything is allocated for it.

Nothing is ever unpickled. Source: ``numpy/lib/format.py``, versions 1 to 3.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import DataError

NPY_MAGIC = b"\x93NUMPY"
# dtype names of plain numbers, little or big end first; an object array would be a pickle.
_PLAIN = {f"{end}{kind}" for end in "<>=|" for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4")}
_LONGEST_HEADER = 10_000
_ALIGNED = 64

Payload = bytes | memoryview


def read_npy(data: Payload) -> npt.NDArray[Any]:
    """Return the array of one or two dimensions of plain numbers in ``data``, a view of it.

    Raises DataError for anything else, and where the length is not what the header says.
    """
    if bytes(data[: len(NPY_MAGIC)]) != NPY_MAGIC:
        raise DataError("it is no .npy file")
    version = bytes(data[6:7])
    start = 12 if version in (b"\x02", b"\x03") else 10
    length = int.from_bytes(data[8:start], "little")
    if version not in (b"\x01", b"\x02", b"\x03") or not 0 < length <= min(_LONGEST_HEADER, len(data) - start):
        raise DataError("the .npy file has no header that can be read")
    try:
        header = ast.literal_eval(bytes(data[start : start + length]).decode("latin-1").strip())
        kind, shape, columns_first = header["descr"], header["shape"], header["fortran_order"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        raise DataError("the .npy file has no header that can be read") from None
    if not isinstance(kind, str) or kind not in _PLAIN:
        raise DataError(
            "the .npy file holds no plain numbers (float16 to float64 or whole numbers); objects are never read"
        )
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape) or len(shape) > 2:
        raise DataError("the .npy file holds no array of one or two dimensions")
    dtype = np.dtype(kind)
    count = int(np.prod([int(side) for side in shape], dtype=object))
    if count * dtype.itemsize != len(data) - start - length:
        raise DataError(f"the .npy file should hold {count} numbers and has another length")
    flat = np.frombuffer(data, dtype, count, offset=start + length)
    return flat.reshape(shape, order="F" if columns_first is True else "C")


def as_vectors(values: npt.NDArray[Any], width: int) -> npt.NDArray[np.float32]:
    """Return ``values`` (n, width), or (width,) of one, as (n, width) float32.

    Raises DataError for another shape and for numbers that are not finite.
    """
    rows = values[None] if values.ndim == 1 else values
    if rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise DataError(f"the embeddings have shape {list(values.shape)}, not [n, {width}]")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"embedding {row} holds a number that is not finite in float32")
    return vectors


@lru_cache(maxsize=64)
def vector_header(width: int) -> bytes:
    """Return the header (version 1.0) of a .npy file of ``width`` float32 numbers, as ``np.save`` writes it."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({width},), }}"
    spaces = -(len(NPY_MAGIC) + 4 + len(text) + 1) % _ALIGNED
    text += " " * spaces + "\n"
    return NPY_MAGIC + b"\x01\x00" + len(text).to_bytes(2, "little") + text.encode("ascii")


def pack_vector(vector: npt.NDArray[Any]) -> bytes:
    """Return ``vector`` (width,) as a .npy file of float32: the body of an embedding's record."""
    return vector_header(len(vector)) + np.ascontiguousarray(vector, "<f4").tobytes()


def read_vector(body: Payload, width: int | None = None) -> npt.NDArray[np.float32]:
    """Return the embedding (width,) float32 in a record's body; None for any width.

    Raises DataError where it is none, is not finite, or has another length.
    """
    header = b"" if width is None else vector_header(width)
    if width is not None and len(body) == len(header) + 4 * width and body[: len(header)] == header:
        vector = np.frombuffer(body, "<f4", width, offset=len(header)).astype(np.float32, copy=False)
    else:
        array = read_npy(body)
        if array.ndim != 1 or not array.size or width not in (None, len(array)):
            wanted = "of some numbers" if width is None else f"of {width} numbers"
            raise DataError(f"it holds an array of shape {array.shape}, not one embedding {wanted}")
        with np.errstate(over="ignore"):
            vector = array.astype(np.float32)
    if not np.isfinite(vector).all():
        raise DataError("the embedding has a number that is not finite")
    return vector
