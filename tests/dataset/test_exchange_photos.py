"""Loose photos in other containers, and crops of another template: faces are found in them and warped."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from agegender.app.pack import open_detector
from agegender.dataset.config import PackConfig
from agegender.dataset.crop import crop_face
from agegender.dataset.exchange.entry import Entry
from agegender.dataset.exchange.hdf5 import Hdf5File
from agegender.dataset.exchange.set_import import import_set
from agegender.dataset.exchange.webdataset_shards import WebDatasetShards, write_webdataset
from agegender.dataset.face_record import FaceSample
from agegender.dataset.plan import crop_settings
from agegender.dataset.problems import Problems
from agegender.errors import DataError, RecordError, UsageError
from agegender.face import encode_jpeg, warp
from agegender.face.templates import get_template
from agegender.recordio import open_records, unpack

GRAY = np.full((200, 240, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    from skimage.data import astronaut

    return np.asarray(astronaut())


def _skipped(folder: Path) -> list[tuple[str, str, str]]:
    with open(folder / "skipped.csv", newline="") as file:
        return [(row["path"], row["source"], row["reason"]) for row in csv.DictReader(file)]


def _bodies(path: Path) -> list[bytes]:
    with open_records(path) as records:
        return [bytes(unpack(payload)[1]) for payload in records]


def test_faces_of_loose_photos_are_those_of_packing(tmp_path: Path, portrait: np.ndarray) -> None:
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    photos = [encode_jpeg(image, 95) for image in (portrait, GRAY, mirrored)]
    entries = [Entry(f"p{number}", number % 2, 30 + number, photo) for number, photo in enumerate(photos)]
    shards = WebDatasetShards(write_webdataset(tmp_path, "a", entries, per_shard=2))
    config = PackConfig(output=str(tmp_path / "set"), image_size=64, val_ratio=0.0, workers=1)
    problems = Problems()
    counts = import_set(shards, config, source="photos", template=None, make_detector=open_detector, problems=problems)
    assert counts == {"train": 2}
    assert problems.counts() == {"no face found": 1}
    assert _skipped(tmp_path / "set") == [("photos/p1", "photos", "no face found")]
    settings, expected = crop_settings(config), []
    for number in (0, 2):
        (tmp_path / f"{number}.jpg").write_bytes(photos[number])
        sample = FaceSample(tmp_path / f"{number}.jpg", 0, 30, "x")
        expected.append(crop_face(sample, number, settings=settings, detector=open_detector()))
    assert _bodies(tmp_path / "set" / "train.rec") == [crop.body for crop in expected]
    assert open_records(tmp_path / "set" / "train.rec").labels().tolist() == [[0, 30], [0, 32]]
    with open(tmp_path / "set" / "train.csv", newline="") as file:
        boxes = [(row["path"], row["box"]) for row in csv.DictReader(file)]
    said = [" ".join(f"{value:.1f}" for value in crop.box) for crop in expected]
    assert boxes == list(zip(("photos/p0", "photos/p2"), said, strict=True))
    about = json.loads((tmp_path / "set" / "train.json").read_text())
    assert (about["template"]["name"], about["records"], about["template"]["size"]) == ("utkface", 2, [64, 64])


def test_crops_of_another_template_are_warped(tmp_path: Path, portrait: np.ndarray) -> None:
    import h5py

    (face,) = open_detector().detect(portrait, min_face=100)
    crop = warp(portrait, face.landmarks, get_template("arcface"), size=112)
    flat = np.full((112, 112, 3), 120, np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["ages"], file["genders"] = np.stack([flat, crop]), [20, 45], [1, 0]
    config = PackConfig(output=str(tmp_path / "set"), template="utkface", val_ratio=0.0, workers=1)
    counts = import_set(
        Hdf5File(tmp_path / "a.h5"), config, source="a", template="arcface", make_detector=open_detector
    )
    assert counts == {"train": 1}
    assert _skipped(tmp_path / "set") == [("a/00000000", "a", "other template")]
    assert open_records(tmp_path / "set" / "train.rec").labels().tolist() == [[0, 45]]
    # The same as warping the portrait itself, as far as two resamplings and the detector allow.
    (body,) = _bodies(tmp_path / "set" / "train.rec")
    direct = warp(portrait, face.landmarks, get_template("utkface"), size=112)
    import simplejpeg

    middle = np.s_[30:82, 30:82]
    difference = simplejpeg.decode_jpeg(body)[middle].astype(int) - direct[middle]
    assert np.abs(difference).mean() < 20
    assert np.abs(simplejpeg.decode_jpeg(body)[middle].astype(int) - crop[middle]).mean() > 30


def test_no_detector_no_loose_photos(tmp_path: Path) -> None:
    shards = WebDatasetShards(write_webdataset(tmp_path, "a", [Entry("p", 0, 30, encode_jpeg(GRAY))], per_shard=1))
    config = PackConfig(output=str(tmp_path / "set"))
    with pytest.raises(UsageError, match="a: the images are not in the template 'utkface'; a detector is needed"):
        import_set(shards, config, source="a", template=None)
    with pytest.raises(UsageError, match="'utkfac'"):
        import_set(shards, config, source="a", template="utkfac")
    assert not (tmp_path / "set").exists()


def test_not_one_face_and_no_image(tmp_path: Path) -> None:
    config = PackConfig(output=str(tmp_path / "set"), workers=1)
    for body, error, message in (
        (encode_jpeg(GRAY), DataError, "a: in none of the 1 images a face was found"),
        (b"no image", RecordError, "a/p: unreadable image"),
    ):
        shards = WebDatasetShards(write_webdataset(tmp_path, "a", [Entry("p", 0, 30, body)], per_shard=1))
        with pytest.raises(error, match=message):
            import_set(shards, config, source="a", template=None, make_detector=open_detector)
        assert list((tmp_path / "set").iterdir()) == []
