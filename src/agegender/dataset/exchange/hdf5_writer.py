"""Writing HDF5 files with the datasets ``images``, ``ages`` and ``genders``, and further ones where more is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agegender.dataset.exchange.entry import TEXTS, Entry
from agegender.dataset.exchange.hdf5 import COLUMNS, NAMES, SYNTHETIC
from agegender.errors import DataError
from agegender.face.photo import read_photo
from agegender.files import atomic_path
from agegender.labels import UNKNOWN

# What is kept of the labels before they are written.
_ROWS = 1024


def write_hdf5(path: Path, entries: Iterable[Entry], *, count: int, jpeg: bool = False) -> int:
    """Write ``count`` faces whose ``data`` are encoded images, and return their number.

    ``images`` become uint8 (N, H, W, 3) RGB in chunks of a face, with ``jpeg`` the encoded bytes as they are; ages and
    genders int64, -1 unknown. ``lows``, ``highs`` (int64), ``stds`` (float64), ``subjects`` and so on (UTF-8) are there
    where some face has one; the attribute ``synthetic`` where one is drawn. Raises DataError where the images differ in
    size.
    """
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        columns = _Columns(file, count)
        images: Any = file.create_dataset(NAMES[0], (count,), h5py.vlen_dtype(np.uint8)) if jpeg else None
        for row, entry in enumerate(entries):
            assert isinstance(entry.data, bytes)
            columns.add(entry)
            if entry.synthetic:
                file.attrs[SYNTHETIC] = True
            if jpeg:
                value = np.frombuffer(entry.data, np.uint8)
            else:
                value = read_photo(entry.data, name=entry.name)
                if images is None:
                    images = file.create_dataset(NAMES[0], (count, *value.shape), "u1", chunks=(1, *value.shape))
                if value.shape != images.shape[1:]:
                    raise DataError(f"{entry.name}: is {value.shape}, the first image {images.shape[1:]}; try --jpeg")
            images[row] = value
        columns.flush()
    return count


class _Columns:
    """The labels and names of faces, written many rows at a time: HDF5 takes longer over a call than over a value."""

    def __init__(self, file: Any, count: int) -> None:
        self._file, self._count, self._first = file, count, 0
        self._waiting: list[Entry] = []
        for name in NAMES[1:]:
            self._create(name)

    def add(self, entry: Entry) -> None:
        """Take the next row."""
        self._waiting.append(replace(entry, data=None))
        if len(self._waiting) == _ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows taken."""
        fields = {"age", "gender"}.union(*(entry.further for entry in self._waiting))
        end = self._first + len(self._waiting)
        for name, field in COLUMNS.items():
            if field in fields:
                values: list[Any] = [getattr(entry, field) for entry in self._waiting]
                if field in TEXTS:
                    # A file name that is no UTF-8 came in with surrogates.
                    values = [value.encode("utf-8", "replace") for value in values]
                column = self._file[name] if name in self._file else self._create(name)
                column[self._first : end] = values
        self._first, self._waiting = end, []

    def _create(self, name: str) -> Any:
        import h5py

        if COLUMNS[name] in TEXTS:
            return self._file.create_dataset(name, (self._count,), h5py.string_dtype())
        kind = "f8" if name == "stds" else "i8"
        return self._file.create_dataset(name, (self._count,), kind, fillvalue=UNKNOWN)
