"""MXNet's NDArray list (``.params``): every version of it is read, version 2 is written, without MXNet.

Little-endian throughout. A list is ``<QQQ`` (magic, reserved, number of arrays), the arrays, ``<Q`` number of names,
and each name as ``<Q`` length + UTF-8. An array begins with its version: 0xf993fac9 (1.0 to 1.9) and 0xf993faca
(NumPy shapes) have ``<i`` storage type, ``<i`` ndim, ``<q`` per dimension; 0xf993fac8 (0.11) has ndim and dimensions
likewise, but no storage type; before that there is no magic: the first ``<I`` is ndim and each dimension is ``<I``.
Then ``<ii`` device, ``<i`` type flag, and the values in C order. An array without dimensions ends after them.
"""

from __future__ import annotations

import logging
import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from agegender.errors import CheckpointError
from agegender.files import atomic_path

_log = logging.getLogger(__name__)

LIST_MAGIC = 0x112
V1_MAGIC = 0xF993FAC8
V2_MAGIC = 0xF993FAC9
V3_MAGIC = 0xF993FACA
DENSE = 0
_STORAGE_NAMES = {1: "row_sparse", 2: "csr"}
# mshadow's type flags.
DTYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("<f8"),
    2: np.dtype("<f2"),
    3: np.dtype("u1"),
    4: np.dtype("<i4"),
    5: np.dtype("i1"),
    6: np.dtype("<i8"),
    7: np.dtype("?"),
}
_FLAGS = {dtype: flag for flag, dtype in DTYPES.items()}
_CPU = (1, 0)
# NumPy's own limit; no network has more than 5.
_MAX_NDIM = 32


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where an array's values lie in the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int


def load_params(path: Path | str) -> dict[str, npt.NDArray[Any]]:
    """Read every array of an NDArray list, by name (``arg:fc1_weight``, ``aux:bn0_moving_mean``), in file order.

    Float16/32/64, int8/32/64, uint8 and bool keep their type. The headers are checked against the file's size before
    any memory is taken. Raises CheckpointError for a missing, damaged or unnamed list and for sparse arrays.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            reader = _Reader(file, path)
            entries, names = reader.scan()
            return {name: reader.values(entry, name) for name, entry in zip(names, entries, strict=True)}
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder, not a .params file") from None


def save_params(path: Path | str, params: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays by name, byte for byte as ``mx.nd.save`` does for a dict on the CPU, and atomically.

    A scalar is written with shape (1,): MXNet has no other form for it in this version of the format.
    Raises CheckpointError for a type that the format does not know.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<QQQ", LIST_MAGIC, 0, len(params)))
        for name, array in params.items():
            _write_array(file, name, array)
        file.write(struct.pack("<Q", len(params)))
        for name in params:
            encoded = name.encode()
            file.write(struct.pack("<Q", len(encoded)) + encoded)


def params_size(shapes: Mapping[str, Sequence[int]]) -> int:
    """Return how many bytes ``save_params`` writes for float32 arrays of these names and shapes."""
    total = struct.calcsize("<QQQ") + struct.calcsize("<Q")
    for name, shape in shapes.items():
        header = struct.calcsize("<Iii") + struct.calcsize(f"<{len(shape)}q") + struct.calcsize("<iii")
        total += header + 4 * math.prod(shape) + struct.calcsize("<Q") + len(name.encode())
    return total


def _write_array(file: BinaryIO, name: str, array: npt.NDArray[Any]) -> None:
    values = np.ascontiguousarray(array)
    flag = _FLAGS.get(values.dtype.newbyteorder("<"))
    if flag is None:
        known = ", ".join(str(dtype) for dtype in _FLAGS)
        raise CheckpointError(f"{name}: a .params file has no type {values.dtype} ({known})")
    values = values.astype(DTYPES[flag], copy=False)
    file.write(struct.pack("<Iii", V2_MAGIC, DENSE, values.ndim))
    file.write(struct.pack(f"<{values.ndim}q", *values.shape))
    file.write(struct.pack("<iii", *_CPU, flag))
    if values.size:
        file.write(values.data)


class _Reader:
    """Walks over one file; every size it meets is checked against what is left of the file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = os.fstat(file.fileno()).st_size

    def scan(self) -> tuple[list[_Entry], list[str]]:
        """Return where each array lies, and the names, without reading values."""
        if self._size < 24:
            raise self._error(f"it has {self._size} bytes, too few for a list of arrays")
        magic, _, count = self._unpack("<QQQ", what="the header")
        if magic != LIST_MAGIC:
            raise self._error(f"it begins with {magic:#x}, not with {LIST_MAGIC:#x}: not a list of MXNet arrays")
        # An array takes at least 8 bytes, so that a damaged count is seen before anything is built from it.
        if count > self._left() // 8:
            raise self._error(f"{count} arrays can't fit into {self._size} bytes")
        entries = [self._entry(number) for number in range(count)]
        return entries, self._names(count)

    def values(self, entry: _Entry, name: str) -> npt.NDArray[Any]:
        """Read one array into its own memory."""
        try:
            array = np.empty(entry.shape, entry.dtype)
        except (ValueError, MemoryError) as error:
            raise self._error(f"{name} has shape {entry.shape}: {error}") from error
        if array.size:
            self._file.seek(entry.offset)
            # One buffer, filled in place: a checkpoint never lies in memory twice.
            if self._file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
                raise self._error(f"it ends within {name}")
        return array

    def _entry(self, number: int) -> _Entry:
        what = f"array {number}"
        (magic,) = self._unpack("<I", what=what)
        if magic in (V2_MAGIC, V3_MAGIC):
            (storage,) = self._unpack("<i", what=what)
            if storage != DENSE:
                kind = _STORAGE_NAMES.get(storage, f"storage type {storage}")
                raise self._error(f"{what} is not dense ({kind}); save it with tostype('default')")
        if magic in (V1_MAGIC, V2_MAGIC, V3_MAGIC):
            (ndim,) = self._unpack("<i", what=what)
            shape = self._shape(ndim, "q", what=what)
        else:
            shape = self._shape(magic, "I", what=what)
        if not shape and magic != V3_MAGIC:
            raise self._error(f"{what} is an empty place without shape and values")
        _, _, flag = self._unpack("<iii", what=what)
        dtype = DTYPES.get(flag)
        if dtype is None:
            raise self._error(f"{what} has type flag {flag} (0..{max(DTYPES)} are known)")
        offset = self._file.tell()
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes > self._left():
            raise self._error(f"{what} of shape {shape} needs {nbytes} bytes, {self._left()} are left: cut off?")
        self._file.seek(nbytes, os.SEEK_CUR)
        return _Entry(dtype, shape, offset)

    def _shape(self, ndim: int, letter: str, *, what: str) -> tuple[int, ...]:
        if not 0 <= ndim <= _MAX_NDIM:
            raise self._error(f"{what} has {ndim} dimensions (0..{_MAX_NDIM})")
        shape = self._unpack(f"<{ndim}{letter}", what=what)
        if any(side < 0 for side in shape):
            raise self._error(f"{what} has the shape {shape}")
        return shape

    def _names(self, count: int) -> list[str]:
        (named,) = self._unpack("<Q", what="the names")
        if named != count:
            raise self._error(f"it has {count} arrays and {named} names; only named lists are checkpoints")
        names: list[str] = []
        for number in range(count):
            (length,) = self._unpack("<Q", what=f"name {number}")
            if length > self._left():
                raise self._error(f"name {number} needs {length} bytes, {self._left()} are left: cut off?")
            try:
                names.append(self._file.read(length).decode())
            except UnicodeDecodeError as error:
                raise self._error(f"name {number} is not UTF-8") from error
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise self._error(f"the name {twice!r} stands there twice")
        if self._left():
            _log.warning("%s: %d bytes after the list are ignored", self._path, self._left())
        return names

    def _unpack(self, layout: str, *, what: str) -> tuple[Any, ...]:
        size = struct.calcsize(layout)
        data = self._file.read(size)
        if len(data) != size:
            raise self._error(f"it ends within {what}")
        return struct.unpack(layout, data)

    def _left(self) -> int:
        return self._size - self._file.tell()

    def _error(self, problem: str) -> CheckpointError:
        return CheckpointError(f"{self._path} is damaged or no .params file: {problem}")
