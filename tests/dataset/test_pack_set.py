"""A whole set: what is in the files, and that the same input gives the same bytes."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import agegender
from agegender.dataset import Problems
from agegender.dataset.config import PackConfig
from agegender.dataset.face_record import FaceSample
from agegender.dataset.gather import choose_sources, gather_faces
from agegender.dataset.pack import pack
from agegender.dataset.report import PackReport, table
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.errors import DataError, UsageError
from agegender.face import encode_jpeg
from agegender.pipeline import read_set_info
from agegender.recordio import open_records, unpack, verify

DrawFiles = Callable[..., list[FaceSample]]


def packed(samples: list[FaceSample], output: Path, **options: Any) -> PackReport:
    problems = options.pop("problems", None)
    values: dict[str, Any] = {"image_size": 48, "val_ratio": 0.25, "workers": 2, **options}
    return pack(samples, PackConfig(output=str(output), **values), problems=problems)


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of every file of a set."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_records_hold_labels_and_the_files_themselves(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(20)
    report = packed(faces, tmp_path / "set", val_ratio=0.0)
    assert report.splits == {"train": 20}
    by_path = {face.path: face for face in faces}
    with open(tmp_path / "set" / "train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open_records(tmp_path / "set" / "train.rec") as records:
        assert records.keys.tolist() == list(range(20))
        for position, row in enumerate(rows):
            header, body = unpack(records.read(position))
            face = by_path[Path(row["path"])]
            assert (row["key"], row["source"], row["box"], row["score"]) == (str(position), "drawn", "", "")
            assert header.label.tolist() == [face.gender, face.age]
            assert header.id == position
            assert bytes(body) == face.path.read_bytes()
    assert verify(tmp_path / "set" / "train.rec").problems == []
    lines = (tmp_path / "set" / "train.lst").read_text().splitlines()
    first = by_path[Path(rows[0]["path"])]
    assert lines[0].split("\t") == ["0", str(first.gender), str(first.age), str(first.path)]


def test_mxnet_reads_the_set(draw_files: DrawFiles, tmp_path: Path) -> None:
    from agegender.executor.mxnet_runtime import load_mxnet

    mx = load_mxnet()
    packed(draw_files(8), tmp_path / "set", val_ratio=0.0)
    rec = str(tmp_path / "set" / "train.rec")
    iterator = mx.io.ImageRecordIter(
        path_imgrec=rec, path_imgidx=rec[:-3] + "idx", data_shape=(3, 48, 48), label_width=2, batch_size=8
    )
    batch = next(iterator)
    with open_records(rec) as records:
        assert batch.label[0].asnumpy().tolist() == records.labels(2).tolist()


def test_json_describes_the_set(draw_files: DrawFiles, tmp_path: Path) -> None:
    packed(draw_files(20), tmp_path / "set", seed=3)
    info = read_set_info(tmp_path / "set" / "train.rec")
    assert info is not None
    assert (info.records, info.split, info.labels, info.body, info.synthetic) == (
        15,
        "train",
        "gender,age",
        "jpeg",
        False,
    )
    assert (info.template["name"], info.template["size"]) == ("utkface", [48, 48])
    raw = info.raw
    assert raw["version"] == agegender.__version__
    assert raw["sources"] == {"drawn": 15}
    assert (raw["quality"], raw["seed"], raw["split_rule"]["val_ratio"]) == (95, 3, 0.25)
    files = contents(tmp_path / "set")
    assert raw["sha256"] == {name: files[name] for name in ("train.rec", "train.idx", "train.lst", "train.csv")}


def test_sides_are_disjoint_and_val_keeps_the_order(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(24)
    report = packed(faces, tmp_path / "set", test_ratio=0.25)
    assert report.splits == {"train": 12, "val": 6, "test": 6}
    names = {
        split: [line.split("\t")[3] for line in (tmp_path / "set" / f"{split}.lst").read_text().splitlines()]
        for split in report.splits
    }
    assert sorted(name for side in names.values() for name in side) == sorted(str(face.path) for face in faces)
    assert names["val"] == sorted(names["val"])
    assert names["train"] != sorted(names["train"])


@pytest.mark.parametrize("workers", [1, 5])
def test_same_bytes_at_any_number_of_workers_and_any_order(draw_files: DrawFiles, tmp_path: Path, workers: int) -> None:
    faces = draw_files(40, size=64)  # resized: decoded and encoded by the workers
    packed(faces, tmp_path / "two", shards=3)
    packed(faces[::-1], tmp_path / "other", shards=3, workers=workers)
    assert contents(tmp_path / "two") == contents(tmp_path / "other")


def test_seed_changes_the_set(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(20)
    for seed in (0, 1):
        packed(faces, tmp_path / str(seed), seed=seed)
    assert contents(tmp_path / "0")["train.rec"] != contents(tmp_path / "1")["train.rec"]


def test_shards_read_as_one(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(25)
    packed(faces, tmp_path / "one")
    packed(faces, tmp_path / "many", shards=4)
    names = sorted(path.name for path in (tmp_path / "many").glob("*.rec"))
    assert names == [*(f"train-{number:05d}-of-00004.rec" for number in range(4)), "val.rec"]
    with open_records(tmp_path / "one" / "train.rec") as one, open_records(tmp_path / "many" / "train.rec") as many:
        assert [bytes(payload) for payload in many] == [bytes(payload) for payload in one]
        assert many.keys.tolist() == one.keys.tolist()
    for name in ("train.lst", "train.csv", "val.rec"):
        assert contents(tmp_path / "one")[name] == contents(tmp_path / "many")[name]
    info = read_set_info(tmp_path / "many" / "train-00002-of-00004.rec")
    assert info is not None and set(names[:4]) <= set(info.sha256)


def test_synthetic_faces_are_named_so(tmp_path: Path) -> None:
    packed([synthetic_sample(index, size=48) for index in range(8)], tmp_path / "set")
    raw = json.loads((tmp_path / "set" / "train.json").read_text())
    assert raw["synthetic"] is True
    assert raw["sources"] == {"synthetic": 6}
    assert "synthetic/0/0000" in (tmp_path / "set" / "train.csv").read_text()


def test_new_set_replaces_the_old_one_and_its_leftovers(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(20)
    packed(faces, tmp_path / "set", shards=3, test_ratio=0.2)
    (tmp_path / "set" / "test-notes.csv").write_text("mine\n")
    packed(faces[:12], tmp_path / "set")
    names = {path.name for path in (tmp_path / "set").iterdir()}
    sets = {f"{split}.{kind}" for split in ("train", "val") for kind in ("rec", "idx", "lst", "csv", "json")}
    assert names == sets | {"skipped.csv", "test-notes.csv"}
    assert len(open_records(tmp_path / "set" / "train.rec")) == 9


def test_records_of_other_origin_are_not_removed(draw_files: DrawFiles, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "test.rec").write_bytes(b"someone else's")
    (tmp_path / "set" / "test.json").write_text("[]")
    packed(draw_files(8), tmp_path / "set")
    assert (tmp_path / "set" / "test.rec").read_bytes() == b"someone else's"


def test_skipped_faces_are_counted_and_listed(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(12)
    faces[3].path.write_bytes(b"no picture")
    twin = tmp_path / "faces" / "drawn" / "twin.jpg"
    twin.write_bytes(faces[0].path.read_bytes())
    faces.append(FaceSample(twin, faces[0].gender, faces[0].age, "drawn", template="utkface"))
    problems = Problems()
    problems.add(Path("somewhere.jpg"), "bad label", "age 200", source="drawn")
    report = packed(faces, tmp_path / "set", problems=problems)
    assert (report.packed, report.lost) == (11, 1)
    source = report.sources["drawn"]
    assert (source.found, source.packed) == (14, 11)
    assert source.skipped == {"unreadable image": 1, "duplicate": 1, "bad label": 1}
    with open(tmp_path / "set" / "skipped.csv", newline="") as file:
        rows = [(Path(row["path"]).name, row["source"], row["reason"]) for row in csv.DictReader(file)]
    assert sorted(rows) == [
        ("0003.jpg", "drawn", "unreadable image"),
        ("somewhere.jpg", "drawn", "bad label"),
        ("twin.jpg", "drawn", "duplicate"),
    ]
    assert table(report, columns=("source", "found", "packed"), total="total")[1:] == [
        ["drawn", "14", "11", "1", "1", "1"],
        ["total", "14", "11", "1", "1", "1"],
    ]


def test_lists_tell_each_face_and_its_side(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "UTKFace"
    folder.mkdir(parents=True)
    for age in range(10):
        image = synthetic_sample(age, size=48).image
        assert image is not None
        (folder / f"{age}_1_2_2017{age}.jpg.chip.jpg").write_bytes(encode_jpeg(image))
    config = PackConfig(
        sources=("UTKFace",), root=str(tmp_path / "data"), output=str(tmp_path / "data"), image_size=48, val_ratio=0.2
    )
    found = gather_faces(choose_sources(config), Path(config.root))
    report = pack(found.samples, config, problems=found.problems, listed=found.listed)
    assert "UTKFace_list.txt" in report.files
    with open(tmp_path / "data" / "UTKFace_list.txt", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[3]["path"] == "UTKFace/3_1_2_20173.jpg.chip.jpg"
    assert (rows[3]["gender"], rows[3]["age"], rows[3]["group"], rows[3]["template"]) == ("0", "3", "2", "utkface")
    assert [row["split"] for row in rows].count("val") == report.splits["val"] == 2
    assert "UTKFace/3_1_2_20173.jpg.chip.jpg" in (tmp_path / "data" / "train.csv").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "arkface"}, "unknown crop template 'arkface'; did you mean 'arcface'? (arcface, utkface)"),
        ({"image_size": 4}, "--image_size 4 is not within 16..4096"),
        ({"quality": 0}, "--quality 0 is not within 1..100"),
        ({"workers": 0}, "--workers 0 is not within 1..1024"),
        ({"shards": 9}, "--shards 9: there are only 6 faces to train on"),
        ({"border": "white"}, "--border 'white' is none of black, random"),
        ({"val_ratio": 1.5}, "val_ratio 1.5 is not within 0..1 (a share of the faces, such as 0.05)"),
        ({"template": "arcface"}, "some faces are not in the template 'arcface', and no face detector was given"),
    ],
)
def test_impossible_options(draw_files: DrawFiles, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        packed(draw_files(8), tmp_path / "set", **options)
    assert str(error.value) == message
    assert not list((tmp_path / "set").glob("*.rec")) if (tmp_path / "set").exists() else True


def test_nothing_packed_is_an_error(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(3)
    for number, face in enumerate(faces):
        face.path.write_bytes(b"no picture %d" % number)
    with pytest.raises(DataError) as error:
        packed(faces, tmp_path / "set")
    skipped = tmp_path / "set" / "skipped.csv"
    assert str(error.value) == f"there is no face to pack (3 unreadable image); {skipped} lists them"
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["skipped.csv"]
    with pytest.raises(DataError, match="the chosen datasets have no images"):
        packed([], tmp_path / "none")


def test_synthetic_is_not_mixed_with_photographs() -> None:
    with pytest.raises(UsageError, match="not to be mixed"):
        choose_sources(PackConfig(synthetic=5, sources=("UTKFace",)))


def test_progress_counts_every_face(draw_files: DrawFiles, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    config = PackConfig(output=str(tmp_path / "set"), image_size=48)
    pack(draw_files(10), config, progress=partial(_note, seen))
    assert seen[-1] == ("packing", 10, 10)


def _note(seen: list[tuple[str, int, int]], phase: str, done: int, total: int) -> None:
    seen.append((phase, done, total))
