"""HDF5 that is read in blocks, and what is refused in it; against h5py itself."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.dataset.exchange.entry import Entry
from agegender.dataset.exchange.hdf5 import Hdf5File
from agegender.dataset.exchange.hdf5_writer import write_hdf5
from agegender.errors import RecordError
from agegender.face import encode_jpeg

SHAPE = (3, 8, 8, 3)


def _write(path: Path, **datasets: Any) -> Path:
    """Write three faces, some of whose datasets are others."""
    import h5py

    values = {"images": np.zeros(SHAPE, np.uint8), "ages": [20, 30, 40], "genders": [0, 1, -1], **datasets}
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            if callable(value):
                value(file, name)
            else:
                file[name] = value
    return path


def _external(file: Any, name: str) -> None:
    file.create_dataset(name, SHAPE, "u1", external=[("/etc/hostname", 0, int(np.prod(SHAPE)))])


def _virtual(file: Any, name: str) -> None:
    import h5py

    layout = h5py.VirtualLayout(SHAPE, "u1")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", SHAPE)
    file.create_virtual_dataset(name, layout)


def _references(file: Any, name: str) -> None:
    import h5py

    file.create_dataset(name, (3,), h5py.ref_dtype)[:] = file.ref


def _soft_link(file: Any, name: str) -> None:
    import h5py

    file[name] = h5py.SoftLink("/nowhere")


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"images": _external}, "'images' is no plain dataset of this file"),
        ({"images": _virtual}, "'images' is no plain dataset of this file"),
        ({"images": _soft_link}, "'images' is no plain dataset of this file"),
        ({"images": lambda file, name: file.create_group(name)}, "'images' is no plain dataset of this file"),
        ({"images": _references}, r"images are object \(3,\), not uint8"),
        ({"ages": _references}, r"ages are object \(3,\), not numbers of shape \(3,\)"),
        ({"subjects": _references}, r"subjects are object \(3,\), not text of shape \(3,\)"),
        ({"subjects": _soft_link}, "'subjects' is no plain dataset of this file"),
        ({"subjects": [1.5, 2.5, 3.5]}, r"subjects are float64 \(3,\), not text"),
        ({"subjects": [b"a", b"\xff", b"c"]}, r"row 1: b'\\xff' is no UTF-8 text"),
        ({"lows": [20, 20]}, r"lows are int64 \(2,\), not numbers of shape \(3,\)"),
        ({"lows": [10, 31, 40], "highs": [20, 40, 50]}, r"row 1: age 30 is not in the bin 31\.\.40"),
        ({"lows": [10, 20, 40]}, r"row 0: low 10 and high -1 make no bin"),
        ({"ages": [20, 30, 121]}, r"row 2: age 121 is not within 0\.\.120"),
        ({"genders": [0, 2, 0]}, "row 1: gender 2 is none of"),
    ],
)
def test_what_is_refused(tmp_path: Path, datasets: dict[str, Any], message: str) -> None:
    path = _write(tmp_path / "a.h5", **datasets)
    with pytest.raises(RecordError, match=f"^{path}: {message}"):
        list(Hdf5File(path).read(images=True))


def test_chunks_over_a_gibibyte_are_refused(tmp_path: Path) -> None:
    def huge(file: Any, name: str) -> None:
        file.create_dataset(name, (30_000, 112, 112, 3), "u1", chunks=(30_000, 112, 112, 3))  # nothing is allocated

    with pytest.raises(RecordError, match=r"'images' has chunks of \(30000, 112, 112, 3\), over 1 GiB; h5repack"):
        list(Hdf5File(_write(tmp_path / "a.h5", images=huge)).read(images=False))


def test_no_length_of_a_cut_file_is_read(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.h5")
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(RecordError, match=f"^{path}: no HDF5 file that can be read"):
            list(Hdf5File(path).read(images=True))


def test_damage_within_a_chunk_names_the_rows(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    images = {"data": pixels, "chunks": (16, 8, 8, 3), "compression": "gzip", "fletcher32": True}
    path = _write(
        tmp_path / "a.h5",
        ages=[20] * 40,
        genders=[0] * 40,
        images=lambda file, name: file.create_dataset(name, **images),
    )
    import h5py

    with h5py.File(path) as file:
        offset = file["images"].id.get_chunk_info(1).byte_offset
    data = bytearray(path.read_bytes())
    data[offset + 50] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(RecordError, match=f"^{path}: rows 0 to 39 of images can't be read"):
        list(Hdf5File(path).read(images=True))
    assert len(list(Hdf5File(path).read(images=False))) == 40


@pytest.mark.parametrize("chunks", [None, (1, 8, 8, 3), (7, 8, 8, 3), (7, 3, 8, 1), (100, 8, 8, 3)])
def test_every_chunking_gives_the_same_rows(
    tmp_path: Path, chunks: tuple[int, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agegender.dataset.exchange.hdf5.BLOCK_BYTES", 9 * 192)  # several blocks, the last one short
    pixels = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 3), np.uint8)

    def write(file: Any, name: str) -> None:
        file.create_dataset(name, data=pixels, chunks=chunks)

    path = _write(tmp_path / "a.h5", images=write, ages=np.arange(100), genders=[1] * 100)
    faces = list(Hdf5File(path).read(images=True))
    assert [face.age for face in faces] == list(range(100))
    assert np.array_equal(np.stack([np.asarray(face.data) for face in faces]), pixels)


@pytest.mark.parametrize("jpeg", [False, True])
def test_memory_stays_flat(tmp_path: Path, jpeg: bool) -> None:
    body = encode_jpeg(np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8), 95)
    entries = (Entry(f"{number:08d}", 0, 30, body, path=f"{number}.jpg") for number in range(500))

    tracemalloc.start()
    try:
        write_hdf5(tmp_path / "a.h5", entries, count=500, jpeg=jpeg)
        assert sum(1 for _ in Hdf5File(tmp_path / "a.h5").read(images=True)) == 500
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "a.h5").stat().st_size > 7_000_000  # of pixels 18 MB
    assert peak < 5_000_000
