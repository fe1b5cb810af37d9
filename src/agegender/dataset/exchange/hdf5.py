"""Reading HDF5 files with the datasets ``images``, ``ages`` and ``genders``, and further ones where there are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agegender.dataset.exchange.entry import CODINGS, MAX_BYTES, NUMBERS, TEXTS, Entry, entry_of
from agegender.errors import RecordError

NAMES = ("images", "ages", "genders")
# The field of Entry that a dataset holds.
COLUMNS = {f"{field}s": field for field in ("age", "gender", *NUMBERS, *TEXTS)}
SYNTHETIC = "synthetic"
# What is read at a time: whole chunks, a chunk at least, of faces of a fixed size never more than a face may have.
BLOCK_BYTES, BLOCK_OF_VARIABLE = 1 << 20, 16
MAX_CHUNK = 1 << 30


class Hdf5File:
    """Faces of ``path``: images uint8 (N, H, W, 3), ``bgr`` or RGB, or JPEGs as uint8 of variable length."""

    def __init__(self, path: Path, *, coding: str = CODINGS[0], bgr: bool = False) -> None:
        self.path, self._coding, self._bgr = path, coding, bgr

    def read(self, *, images: bool) -> Iterator[Entry]:
        """Yield the faces. Raises RecordError naming dataset or row and what is wrong with it."""
        import h5py

        try:
            file = h5py.File(self.path, "r")
        except OSError as error:
            raise RecordError(f"{self.path}: no HDF5 file that can be read ({error})") from error
        with file:
            pixels = self._dataset(file, NAMES[0])
            wanted = [name for name in COLUMNS if name in NAMES or file.get(name, getlink=True) is not None]
            columns = {name: self._dataset(file, name) for name in wanted}
            self._check_images(pixels)
            for name, column in columns.items():
                self._check_column(name, column, len(pixels))
            drawn = bool(np.any(file.attrs.get(SYNTHETIC, False)))
            fields = [COLUMNS[name] for name in columns]
            values = zip(*(self._values(column) for column in columns.values()), strict=True)
            rows = self._values(pixels) if images else iter(())
            for row, labels in enumerate(values):
                where = f"{self.path}: row {row}"
                data = self._image(next(rows), where) if images else None
                known = {field: _plain(value, where) for field, value in zip(fields, labels, strict=True)}
                yield entry_of(where, f"{row:08d}", {**known, SYNTHETIC: drawn}, coding=self._coding, data=data)

    def _dataset(self, file: Any, name: str) -> Any:
        import h5py

        link = file.get(name, getlink=True)
        if link is None:
            raise RecordError(f"{self.path}: has no dataset {name!r}; {', '.join(NAMES)} are needed")
        found = file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
            raise RecordError(f"{self.path}: {name!r} is no plain dataset of this file (a link, a group or virtual)")
        if found.chunks and math.prod(found.chunks) * found.dtype.itemsize > MAX_CHUNK:
            raise RecordError(f"{self.path}: {name!r} has chunks of {found.chunks}, over 1 GiB; h5repack makes less")
        return found

    def _check_images(self, pixels: Any) -> None:
        import h5py

        plain = pixels.dtype == np.uint8 and pixels.ndim == 4 and pixels.shape[3] == 3
        if not plain and not (pixels.ndim == 1 and h5py.check_vlen_dtype(pixels.dtype) == np.uint8):
            raise RecordError(
                f"{self.path}: images are {pixels.dtype} {pixels.shape}, not uint8 (N, H, W, 3) or JPEGs of uint8"
            )
        if plain and math.prod(pixels.shape[1:]) > MAX_BYTES:
            raise RecordError(f"{self.path}: images of shape {pixels.shape[1:]} are too large for faces")

    def _check_column(self, name: str, column: Any, count: int) -> None:
        import h5py

        text = COLUMNS[name] in TEXTS and h5py.check_string_dtype(column.dtype) is not None
        number = column.dtype.kind in ("iu" if COLUMNS[name] in TEXTS else "iuf")
        if not (text or number) or column.shape != (count,):
            what = "text" if COLUMNS[name] in TEXTS else "numbers"
            raise RecordError(f"{self.path}: {name} are {column.dtype} {column.shape}, not {what} of shape {(count,)}")

    def _values(self, dataset: Any) -> Iterator[Any]:
        """Yield the rows. One by one they would cost a call each, and a compressed chunk be unpacked for each face."""
        rows = _rows_at_once(dataset)
        for first in range(0, len(dataset), rows):
            try:
                block = dataset[first : first + rows]
            except (OSError, RuntimeError) as error:
                last = min(first + rows, len(dataset)) - 1
                where = f"{self.path}: rows {first} to {last} of {dataset.name[1:]}"
                raise RecordError(f"{where} can't be read ({error})") from error
            yield from block

    def _image(self, value: Any, where: str) -> Any:
        if value.ndim == 1:
            if not 0 < value.size <= MAX_BYTES:
                raise RecordError(f"{where}: its image has {value.size} bytes")
            return value.tobytes()
        # A copy: who keeps the face is not to keep the block.
        return np.array(value[..., ::-1] if self._bgr else value, order="C")


def _rows_at_once(dataset: Any) -> int:
    if dataset.dtype.kind == "O" and dataset.name[1:] == NAMES[0]:
        return BLOCK_OF_VARIABLE
    row = max(1, math.prod(dataset.shape[1:]) * dataset.dtype.itemsize)
    chunk = dataset.chunks[0] if dataset.chunks else 1
    rows: int = min(chunk * max(1, BLOCK_BYTES // (row * chunk)), max(1, MAX_BYTES // row))
    return rows


def _plain(value: Any, where: str) -> object:
    """Return a number or a text as Python's own. Raises RecordError for a text that is not UTF-8."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise RecordError(f"{where}: {value[:20]!r} is no UTF-8 text") from error
    return value.item() if isinstance(value, np.generic) else value
