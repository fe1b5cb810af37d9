"""HDF5, WebDataset and insightface's records, against h5py, webdataset and MXNet themselves."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agegender.dataset.config import PackConfig
from agegender.dataset.exchange.entry import Container, Entry
from agegender.dataset.exchange.hdf5 import Hdf5File
from agegender.dataset.exchange.hdf5_writer import write_hdf5
from agegender.dataset.exchange.insightface_rec import RecFile, write_insightface
from agegender.dataset.exchange.set_import import import_set
from agegender.dataset.exchange.webdataset_shards import WebDatasetShards, write_webdataset
from agegender.errors import AgeGenderError, RecordError, UsageError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.files import sha256_file
from agegender.recordio import open_records, unpack


def _entries(count: int = 12) -> list[Entry]:
    rng = np.random.default_rng(0)
    images = [np.full((32, 32, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(count)]
    return [
        Entry(f"{number:08d}", (-1, 0, 1)[number % 3], number - 1, simplejpeg.encode_jpeg(image, quality=95))
        for number, image in enumerate(images)
    ]


def _tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> WebDatasetShards:
    with tarfile.open(path, "w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return WebDatasetShards([path])


def test_h5py_reads_ours(tmp_path: Path) -> None:
    import h5py

    faces = _entries()
    write_hdf5(tmp_path / "faces.h5", faces, count=12)
    with h5py.File(tmp_path / "faces.h5") as file:
        assert file["images"].shape == (12, 32, 32, 3)
        assert file["images"].chunks == (1, 32, 32, 3)
        for row, face in enumerate(faces):
            assert isinstance(face.data, bytes)
            np.testing.assert_allclose(file["images"][row], simplejpeg.decode_jpeg(face.data), atol=2)
        assert file["ages"][()].tolist() == [face.age for face in faces]
        assert file["genders"][()].tolist() == [face.gender for face in faces]


def test_we_read_h5py(tmp_path: Path) -> None:
    import h5py

    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["ages"], file["genders"] = pixels, [20.5, np.nan, -1], [0.0, 1.0, np.nan]
    faces = list(Hdf5File(tmp_path / "a.h5", coding="male,female", bgr=True).read(images=True))
    assert [(face.gender, face.age) for face in faces] == [(1, 20), (0, -1), (-1, -1)]
    assert np.array_equal(np.stack([np.asarray(face.data) for face in faces]), pixels[..., ::-1])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8), np.uint8), r"images are uint8 \(2, 8, 8\)"),
        (np.zeros((2, 8, 8, 3), np.float32), "images are float32"),
        (np.zeros((3, 8, 8, 3), np.uint8), r"ages are int64 \(2,\), not numbers of shape \(3,\)"),
    ],
)
def test_wrong_hdf5(tmp_path: Path, images: np.ndarray, message: str) -> None:
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["ages"], file["genders"] = images, [1, 2], [0, 1]
    with pytest.raises(RecordError, match=message):
        list(Hdf5File(tmp_path / "a.h5").read(images=True))


def test_hdf5_link_is_refused(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = h5py.ExternalLink("/etc/passwd", "x")
    with pytest.raises(RecordError, match="'images' is no plain dataset"):
        list(Hdf5File(tmp_path / "a.h5").read(images=False))


def test_webdataset_reads_ours(tmp_path: Path) -> None:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    faces = _entries()
    paths = write_webdataset(tmp_path, "faces", faces, per_shard=5)
    assert [path.name for path in paths] == [f"faces-00000{number}.tar" for number in range(3)]
    found = []
    for path in paths:
        with open(path, "rb") as stream:
            found += list(group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}])))
    assert [each["__key__"] for each in found] == [face.name for face in faces]
    assert [each["jpg"] for each in found] == [face.data for face in faces]
    assert [json.loads(each["json"]) for each in found] == [{"age": f.age, "gender": f.gender} for f in faces]


def test_we_read_webdataset(tmp_path: Path) -> None:
    import webdataset

    faces = _entries()
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for f in faces:
            labels = {"age": str(f.age).encode(), "gender": str(f.gender).encode()}
            writer.write({"__key__": f.name, "jpg": f.data, **labels})
    assert list(WebDatasetShards([tmp_path / "a.tar"]).read(images=True)) == faces


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "x/../../a.jpg"])
def test_names_that_lead_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordError, match="is refused: a link, a device or a name that leads outside"):
        list(_tar(tmp_path / "a.tar", [(tarfile.TarInfo(name), b"x")]).read(images=True))


def test_links_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("a.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(RecordError, match=r"'a\.jpg' is refused: a link"):
        list(_tar(tmp_path / "a.tar", [(link, b"")]).read(images=True))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000), text=st.binary(max_size=30))
def test_any_bytes_end_in_one_error(tmp_path: Path, data: bytes, text: bytes) -> None:
    (tmp_path / "b.tar").write_bytes(data + bytes(1024))
    labelled = _tar(tmp_path / "a.tar", [(tarfile.TarInfo("a.jpg"), b"x"), (tarfile.TarInfo("a.json"), text)])
    for shards in (WebDatasetShards([tmp_path / "b.tar"]), labelled):
        try:
            assert all(-1 <= face.age <= 100 and face.gender in (-1, 0, 1) for face in shards.read(images=True))
        except RecordError as error:
            assert str(tmp_path) in str(error)


def test_mxnet_reads_ours(tmp_path: Path) -> None:
    try:
        recordio = load_mxnet().recordio
    except AgeGenderError as error:
        pytest.skip(str(error))
    faces = _entries()
    write_insightface(tmp_path / "a.rec", faces, count=12, order="age,gender")
    reader = recordio.MXIndexedRecordIO(str(tmp_path / "a.idx"), str(tmp_path / "a.rec"), "r")
    header, _ = recordio.unpack(reader.read_idx(0))
    assert header.flag == 2
    assert header.label.tolist() == [13, 13]
    for key, face in zip(range(1, int(header.label[0])), faces, strict=True):
        header, body = recordio.unpack(reader.read_idx(key))
        assert (header.label.tolist(), body) == ([face.age, face.gender], face.data)
    reader.close()
    found = list(RecFile(tmp_path / "a.rec", order="age,gender").read(images=True))
    assert [(f.gender, f.age, f.data) for f in found] == [(f.gender, f.age, f.data) for f in faces]


def test_import_passes_jpegs_through(tmp_path: Path) -> None:
    faces = _entries()
    paths = write_webdataset(tmp_path, "faces", faces, per_shard=12)
    write_hdf5(tmp_path / "a.h5", faces, count=12, jpeg=True)
    containers: list[Container] = [WebDatasetShards(paths), Hdf5File(tmp_path / "a.h5")]
    for number, container in enumerate(containers):
        config = PackConfig(output=str(tmp_path / f"o{number}"), image_size=32, val_ratio=0.25)
        assert import_set(container, config, source="x", template="utkface") == {"train": 9, "val": 3}
        bodies = []
        for name in ("train", "val"):
            path = tmp_path / f"o{number}" / f"{name}.rec"
            about = json.loads(path.with_suffix(".json").read_text())
            assert about["sha256"][path.name] == sha256_file(path)
            with open_records(path) as records:
                bodies += [bytes(unpack(payload)[1]) for payload in records]
        assert sorted(bodies) == sorted(face.data for face in faces if isinstance(face.data, bytes))


def test_damage_leaves_nothing(tmp_path: Path) -> None:
    faces = [*_entries(3), Entry("bad", 0, 1, b"no image")]
    paths = write_webdataset(tmp_path, "f", faces, per_shard=9)
    with pytest.raises(RecordError, match="x/bad: unreadable image"):
        import_set(
            WebDatasetShards(paths),
            PackConfig(output=str(tmp_path / "o"), image_size=32),
            source="x",
            template="utkface",
        )
    assert list((tmp_path / "o").iterdir()) == []


def test_an_interrupted_packing_run_is_left_alone(tmp_path: Path) -> None:
    paths = write_webdataset(tmp_path, "f", _entries(3), per_shard=9)
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "journal.jsonl").write_text('{"version": 1}\n')
    with pytest.raises(UsageError, match="left of an interrupted run"):
        import_set(
            WebDatasetShards(paths), PackConfig(output=str(tmp_path), image_size=32), source="x", template="utkface"
        )
    assert (tmp_path / ".partial" / "journal.jsonl").read_text() == '{"version": 1}\n'


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    def stopped() -> Iterator[Entry]:
        yield from _entries(3)
        raise KeyboardInterrupt

    for write in (
        lambda: write_webdataset(tmp_path, "f", stopped(), per_shard=2),
        lambda: write_hdf5(tmp_path / "a.h5", stopped(), count=9),
        lambda: write_insightface(tmp_path / "a.rec", stopped(), count=9),
    ):
        with pytest.raises(KeyboardInterrupt):
            write()
        assert list(tmp_path.iterdir()) == []
