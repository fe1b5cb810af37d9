"""Bins, deviations, people, groups, folds, sources, paths and the synthetic mark, out of a set and into one again."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.dataset.config import PackConfig
from agegender.dataset.exchange.entry import Container, Entry, entry_of
from agegender.dataset.exchange.hdf5 import Hdf5File
from agegender.dataset.exchange.hdf5_writer import write_hdf5
from agegender.dataset.exchange.insightface_rec import RecFile, write_insightface
from agegender.dataset.exchange.packed_set import PackedSet
from agegender.dataset.exchange.set_import import import_set
from agegender.dataset.exchange.webdataset_shards import WebDatasetShards, write_webdataset
from agegender.dataset.face_record import FaceSample
from agegender.dataset.pack import pack
from agegender.dataset.problems import Problems
from agegender.dataset.sources import synthetic_source
from agegender.errors import DataError, RecordError
from agegender.face import encode_jpeg
from agegender.labels import BIN_LABELS
from agegender.recordio import Header, RecordWriter, open_records
from agegender.recordio import pack as pack_record

DrawFiles = Callable[..., list[FaceSample]]
KINDS = ("hdf5", "webdataset", "insightface")
SIZE = 48


def _through(kind: str, packed: PackedSet, folder: Path) -> Container:
    """Export a set and open what came out."""
    folder.mkdir()
    if kind == "hdf5":
        write_hdf5(folder / "a.h5", packed.read(images=True), count=packed.count, jpeg=True)
        return Hdf5File(folder / "a.h5")
    if kind == "webdataset":
        return WebDatasetShards(write_webdataset(folder, "a", packed.read(images=True), per_shard=5))
    write_insightface(folder / "a.rec", packed.read(images=True), count=packed.count, order=packed.labels)
    return RecFile(folder / "a.rec", order=packed.labels)


def _import(container: Container, output: Path, **options: Any) -> dict[str, int]:
    values: dict[str, Any] = {"val_ratio": 0.0, **options.pop("config", {})}
    config = PackConfig(output=str(output), image_size=SIZE, **values)
    return import_set(container, config, source="faces", template="utkface", **options)


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def adience(draw_files: DrawFiles, tmp_path: Path) -> Path:
    """A packed set of ten faces that has all there is to know, of some faces at least."""
    faces = draw_files(10, size=SIZE, source="Adience")
    known = [
        replace(face, subject=f"{number % 4}@N00", group="é" * (number % 3), fold=str(number % 5))
        for number, face in enumerate(faces)
    ]
    known[0] = replace(known[0], age=28, low=25, high=32)
    known[1] = replace(known[1], age=30, std=4.5)
    known[2] = replace(known[2], age=-1, gender=-1)
    pack(known, PackConfig(output=str(tmp_path / "set"), image_size=SIZE, val_ratio=0.0, workers=1))
    return tmp_path / "set" / "train.rec"


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_comes_back_the_same(adience: Path, tmp_path: Path, kind: str) -> None:
    assert PackedSet(adience).labels == BIN_LABELS
    container = _through(kind, PackedSet(adience), tmp_path / "out")
    assert _import(container, tmp_path / "in", split_as="train") == {"train": 10}
    before, after = open_records(adience), open_records(tmp_path / "in" / "train.rec")
    assert np.array_equal(before.labels(5), after.labels(5))
    assert before.labels(5)[:, 2].max() == 25
    assert before.labels(5)[:, 4].max() == 4.5
    assert json.loads((tmp_path / "in" / "train.json").read_text())["labels"] == BIN_LABELS
    if kind == "insightface":  # numbers alone
        assert {row["source"] for row in _rows(tmp_path / "in" / "train.csv")} == {"faces"}
        assert _rows(tmp_path / "in" / "train.csv")[0]["path"] == "faces/00000001"
    else:
        assert (tmp_path / "in" / "train.rec").read_bytes() == adience.read_bytes()
        assert _rows(tmp_path / "in" / "train.csv") == _rows(adience.with_suffix(".csv"))


def test_what_is_in_the_files(adience: Path, tmp_path: Path) -> None:
    import h5py

    faces = list(PackedSet(adience).read(images=True))
    write_hdf5(tmp_path / "a.h5", faces, count=10)
    with h5py.File(tmp_path / "a.h5") as file:
        names = {
            "images",
            "ages",
            "genders",
            "lows",
            "highs",
            "stds",
            "subjects",
            "groups",
            "folds",
            "sources",
            "paths",
        }
        assert set(file) == names
        assert file["stds"][()].tolist() == [face.std for face in faces]
        assert file["lows"][()].tolist() == [face.low for face in faces]
        assert file["groups"].asstr()[()].tolist() == [face.group for face in faces]
        assert dict(file.attrs) == {}
    write_hdf5(tmp_path / "b.h5", [Entry("a", 0, 1, faces[0].data)], count=1)
    with h5py.File(tmp_path / "b.h5") as file:
        assert set(file) == {"images", "ages", "genders"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_person_stays_on_one_side(draw_files: DrawFiles, tmp_path: Path, kind: str) -> None:
    faces = [replace(face, subject=f"p{number % 10}") for number, face in enumerate(draw_files(40, size=SIZE))]
    pack(faces, PackConfig(output=str(tmp_path / "set"), image_size=SIZE, val_ratio=0.0, workers=1))
    container = _through(kind, PackedSet(tmp_path / "set" / "train.rec"), tmp_path / "out")
    counts = _import(container, tmp_path / "in", config={"val_ratio": 0.2, "test_ratio": 0.2})
    assert sum(counts.values()) == 40
    assert len(counts) == 3
    sides = [{row["subject"] for row in _rows(tmp_path / "in" / f"{side}.csv")} for side in counts]
    if kind == "insightface":
        assert sides == [{""}] * 3  # its records name nobody
    else:
        assert sum(map(len, sides)) == len(set.union(*sides)) == 10


@pytest.mark.parametrize("kind", KINDS)
def test_the_synthetic_mark_is_kept(tmp_path: Path, kind: str) -> None:
    faces = synthetic_source(6, size=SIZE).samples(tmp_path, Problems())
    pack(faces, PackConfig(output=str(tmp_path / "set"), image_size=SIZE, val_ratio=0.0, workers=1))
    packed = PackedSet(tmp_path / "set" / "train.rec")
    assert packed.synthetic
    container = _through(kind, packed, tmp_path / "out")
    said = []
    for name, options in (("a", {}), ("b", {"name": "other"}), ("c", {"synthetic": True})):
        _import(container, tmp_path / name, split_as="train", **options)
        said.append(json.loads((tmp_path / name / "train.json").read_text())["synthetic"])
    # insightface's records have no place for it: there it takes the argument.
    assert said == ([False, False, True] if kind == "insightface" else [True, True, True])
    assert PackedSet(tmp_path / "c" / "train.rec").synthetic


def test_photographs_are_not_marked(adience: Path, tmp_path: Path) -> None:
    for kind in KINDS:
        _import(_through(kind, PackedSet(adience), tmp_path / kind), tmp_path / f"{kind}-in")
        assert json.loads((tmp_path / f"{kind}-in" / "train.json").read_text())["synthetic"] is False


def test_a_name_replaces_the_source(adience: Path, tmp_path: Path) -> None:
    container = _through("webdataset", PackedSet(adience), tmp_path / "out")
    _import(container, tmp_path / "in", name="mine")
    assert {row["source"] for row in _rows(tmp_path / "in" / "train.csv")} == {"mine"}
    assert json.loads((tmp_path / "in" / "train.json").read_text())["sources"] == {"mine": 10}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"age": 30, "low": 20}, "low 20 and high -1 make no bin"),
        ({"age": 30, "low": 40, "high": 20}, "low 40 is above high 20"),
        ({"age": 30, "std": -2.0}, r"std -2\.0 is not above 0"),
        ({"age": 30, "std": float("inf")}, "std inf is not above 0"),
        ({"age": 30, "subject": ["a"]}, r"subject \['a'\] is no text"),
        ({"age": 30, "path": "a\0b"}, "path 'a.x00b'... is no name: 3 characters"),
        ({"age": 30, "path": "a" * 5000}, r"path .a{20}.\.\.\. is no name: 5000 characters"),
        ({"age": 30, "synthetic": "no"}, "synthetic 'no' is neither true nor false"),
        ({"age": True}, "True is no number"),
    ],
)
def test_impossible_labels(labels: dict[str, object], message: str) -> None:
    with pytest.raises(RecordError, match=f"^a.tar: {message}"):
        entry_of("a.tar", "x", labels, coding="female,male", data=None)


def test_an_age_that_is_not_known_is_the_middle_of_its_bin() -> None:
    entry = entry_of(
        "a", "x", {"low": 25.0, "high": 32, "std": float("nan"), "subject": 7}, coding="male,female", data=b""
    )
    assert entry == Entry("x", -1, 28, b"", low=25, high=32, subject="7")


def test_the_table_of_another_set_is_noticed(adience: Path) -> None:
    table = adience.with_suffix(".csv")
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    for changed, found in ((lines[:3] + lines[4:], "'3' where record 2"), (lines[:-1], "None where record 9")):
        table.write_text("".join(changed), encoding="utf-8")
        with pytest.raises(RecordError, match=rf"^{table}: has {found} comes; is it another set's\?"):
            list(PackedSet(adience).read(images=False))


def test_a_json_that_is_none(adience: Path) -> None:
    for text, message in (
        ("{", "not readable"),
        ("[]", "no JSON object"),
        ('{"labels": "x"}', "labels 'x' are none of"),
    ):
        adience.with_suffix(".json").write_text(text)
        with pytest.raises(DataError, match=message):
            PackedSet(adience)


def test_importing_keeps_no_images(tmp_path: Path) -> None:
    body = encode_jpeg(np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8), 95)

    def imported(name: str, count: int) -> int:
        entries = (Entry(f"{number:08d}", 0, 30, body) for number in range(count))
        shards = WebDatasetShards(write_webdataset(tmp_path, name, entries, per_shard=1000))
        tracemalloc.start()
        try:
            import_set(shards, PackConfig(output=str(tmp_path / name)), source="faces", template="utkface")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    imported("first", 10)  # what is imported on first use counts once
    # Up to eight buffers of a file may wait for a slow disk: 10 MB, where the images are 31 MB.
    assert imported("many", 1000) < 16_000_000
    assert (tmp_path / "many" / "train.rec").stat().st_size > 20_000_000


def test_records_memory_stays_flat(tmp_path: Path) -> None:
    body = encode_jpeg(np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8), 95)
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key in range(1000):
            writer.write(key, pack_record(Header(np.array([1, 30], np.float32), key), body))
    rows = "".join(f"{key},folder/{key:08d}.jpg,x,,,,\n" for key in range(1000))
    (tmp_path / "a.csv").write_text("key,path,source,subject,group,box,score\n" + rows)
    packed = PackedSet(tmp_path / "a.rec")
    tracemalloc.start()
    try:
        write_insightface(tmp_path / "b.rec", packed.read(images=True), count=packed.count)
        assert sum(1 for _ in RecFile(tmp_path / "b.rec").read(images=True)) == 1000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "b.rec").stat().st_size > 14_000_000
    assert peak < 8_000_000  # the buffers of the files
