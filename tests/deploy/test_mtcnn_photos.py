"""MTCNN on real photographs: hand-drawn boxes (PASCAL VOC 2011) and hand-set landmarks (LFW)."""

from __future__ import annotations

import csv
import io
import time
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import numpy as np
import pytest

from agegender.deploy.mtcnn import MTCNN, open_mtcnn
from agegender.face.detector import largest_central
from agegender.face.photo import read_photo

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def detector() -> MTCNN:
    return open_mtcnn()


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = np.maximum(sides, 0).prod()
    return float(shared / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared))


def drawn_boxes(folder: Path) -> dict[str, list[np.ndarray]]:
    boxes: dict[str, list[np.ndarray]] = {}
    for name in ("training.xml", "testing.xml"):
        for image in ElementTree.parse(folder / name).getroot().iter("image"):
            for box in image.iter("box"):
                left, top, width, height = (float(box.get(key, "nan")) for key in ("left", "top", "width", "height"))
                boxes.setdefault(image.get("file", ""), []).append(np.array([left, top, left + width, top + height]))
    return boxes


def test_all_faces_of_the_group_photos_and_no_others(photographs: Path, detector: MTCNN) -> None:
    folder = photographs / "group_photos"
    total = found = beside = 0
    for name, boxes in drawn_boxes(folder).items():
        image = read_photo(folder / name)
        start = time.perf_counter()
        detections = [detection.box for detection in detector.detect(image)]
        seconds = time.perf_counter() - start
        best = [max((overlap(box, detection) for detection in detections), default=0.0) for box in boxes]
        hits = sum(share >= 0.5 for share in best)
        extra = sum(max(overlap(box, detection) for box in boxes) < 0.5 for detection in detections)
        size = "x".join(map(str, image.shape[1::-1]))
        print(f"{name} {size}: {hits}/{len(boxes)}, {extra} beside, IoU >= {min(best):.2f}, {seconds * 1e3:.0f} ms")
        total, found, beside = total + len(boxes), found + hits, beside + extra
    print(f"found {found} of {total}, {beside} boxes beside them")
    assert (total, found, beside) == (43, 43, 0)


def test_the_boxes_are_those_of_mxnet(photographs: Path, detector: MTCNN) -> None:
    reference = open_mtcnn(engine="mxnet")
    for name in list(drawn_boxes(photographs / "group_photos"))[:3]:
        image = read_photo(photographs / "group_photos" / name)
        ours, theirs = detector.detect(image), reference.detect(image)
        assert len(ours) == len(theirs) > 0
        for mine, their in zip(ours, theirs, strict=True):
            assert np.abs(mine.box - their.box).max() < 0.01
            assert np.abs(mine.landmarks - their.landmarks).max() < 0.01
            assert mine.score == pytest.approx(their.score, abs=1e-5)


def test_dogs_are_no_people(photographs: Path, detector: MTCNN) -> None:
    assert detector.detect(read_photo(photographs / "group_photos" / "dogs.jpg")) == []


def test_a_crowd(photographs: Path, detector: MTCNN) -> None:
    # 24 men, counted by eye; a blurred shape among the bystanders behind one may be taken for a face.
    found = detector.detect(read_photo(photographs / "group_photos" / "bald_guys.jpg"), min_face=40)
    assert 24 <= len(found) <= 25
    assert sum(detection.score > 0.99 for detection in found) == 24


def test_landmarks_agree_with_hands(photographs: Path, detector: MTCNN) -> None:
    text = (photographs / "lfw_faces.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(io.StringIO(text)))[1:][::28]
    errors = []
    with zipfile.ZipFile(photographs / "lfw_faces.zip") as archive:
        members = {Path(name).name: name for name in archive.namelist()}
        for name, _, *numbers in rows:
            image = read_photo(archive.read(members[name]), name=name)
            face = largest_central(detector.detect(image), image.shape)
            if face is not None:
                points = np.array(numbers, float).reshape(5, 2)
                between_eyes = np.linalg.norm(points[0] - points[1])
                errors.append(np.linalg.norm(face.landmarks - points, axis=1) / between_eyes)
    mean = np.mean(errors, axis=0)
    print(f"found {len(errors)} of {len(rows)}; error per point, in distances between the eyes: {mean.round(3)}")
    assert len(errors) >= 0.97 * len(rows)
    assert (mean < 0.12).all()
