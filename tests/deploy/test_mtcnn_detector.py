"""MTCNN on photos that every clone has, and on photos at the edge of sense."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from agegender.deploy import mtcnn
from agegender.deploy.mtcnn import MTCNN, open_mtcnn
from agegender.errors import CheckpointError, UsageError
from agegender.face.detector import Detection
from agegender.face.photo import read_photo


@pytest.fixture(scope="module")
def detector() -> MTCNN:
    return open_mtcnn()


@pytest.fixture(scope="module")
def people(root: Path) -> np.ndarray:
    return read_photo(root / "test.jpg")


def assert_same(one: list[Detection], other: list[Detection]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.box, b.box, atol=0.05)
        np.testing.assert_allclose(a.landmarks, b.landmarks, atol=0.05)
        assert a.score == pytest.approx(b.score, abs=1e-4)


def test_two_people(detector: MTCNN, people: np.ndarray) -> None:
    found = detector.detect(people)
    assert len(found) == 2
    assert found[0].score >= found[1].score > 0.99
    for face in found:
        assert face.box.dtype == face.landmarks.dtype == np.float32
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        assert (face.landmarks > face.box[:2]).all()
        assert (face.landmarks < face.box[2:]).all()
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    # Where the eyes are in test.jpg, read off the picture.
    eyes = sorted((tuple(face.landmarks[:2].reshape(-1)) for face in found), key=lambda four: four[0])
    np.testing.assert_allclose(eyes, [(204, 101, 247, 104), (703, 163, 774, 161)], atol=4)


@pytest.mark.parametrize("engine", ["mxnet", "torch"])
def test_every_executor_finds_the_same(engine: str, detector: MTCNN, people: np.ndarray) -> None:
    assert_same(open_mtcnn(engine=engine).detect(people), detector.detect(people))


def test_tiles_and_chunks_change_nothing(detector: MTCNN, people: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = detector.detect(people)
    monkeypatch.setattr(mtcnn, "_LARGEST_TILE", 100)
    monkeypatch.setattr(mtcnn, "_CHUNKS", (3, 7))
    assert_same(detector.detect(people), expected)


def test_threads_change_nothing(people: np.ndarray) -> None:
    alone, together = open_mtcnn(engine="onnxruntime", threads=1), open_mtcnn(engine="onnxruntime", threads=3)
    assert_same(together.detect(people), alone.detect(people))


def test_an_error_in_a_thread_is_told(detector: MTCNN, people: np.ndarray) -> None:
    class Broken:
        def forward(self, data: np.ndarray) -> dict[str, np.ndarray]:
            raise CheckpointError("no such tile")

    with pytest.raises(CheckpointError, match="no such tile"):
        MTCNN(Broken(), Broken(), Broken(), workers=2).detect(people)


def test_no_workers(detector: MTCNN) -> None:
    with pytest.raises(UsageError, match="0 workers can't find faces: at least 1"):
        MTCNN(detector._pnet, detector._rnet, detector._onet, workers=0)


@pytest.mark.parametrize("length", [1, 12, 13, 42, 43, 394, 395, 2656, 9999])
def test_tiles_cover_all_windows(length: int) -> None:
    count, side = mtcnn._tiles(length)
    assert side % 32 == 0
    assert 32 <= side <= 384
    assert (count - 1) * side < max(length - 10, 1) <= count * side


def test_a_face_at_the_edge_is_found(detector: MTCNN, people: np.ndarray) -> None:
    found = detector.detect(np.ascontiguousarray(people[70:, 185:400]))
    assert len(found) == 1
    assert found[0].box[1] < 5


def test_smallest_face(detector: MTCNN, people: np.ndarray) -> None:
    assert len(detector.detect(people, min_face=60)) == 2
    assert len(detector.detect(people, min_face=240)) == 1
    assert detector.detect(people, min_face=600) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (12, 12, 3), (19, 500, 3), (20, 20, 3), (2000, 21, 3), (300, 401, 3)])
def test_nothing_in_nothing(detector: MTCNN, shape: tuple[int, ...]) -> None:
    assert detector.detect(np.full(shape, 128, np.uint8)) == []


def test_noise_has_no_face(detector: MTCNN) -> None:
    assert detector.detect(np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)) == []


def test_crops_reach_outside_in_black() -> None:
    image = np.full((10, 10, 3), 100, np.uint8)
    boxes = np.array([[-5, -5, 5, 5], [50, 50, 60, 60], [5, 5, 15, 15]], np.float32)
    across, beside, below, none = mtcnn._crops(image, boxes, side=10, count=4)
    assert (across[:5] == 0).all()
    assert (across[:, :5] == 0).all()
    assert (across[5:, 5:] == 100).all()
    assert (beside == 0).all()
    assert (below[:5, :5] == 100).all()
    assert (below[5:] == 0).all()
    assert (none == 0).all()


def test_crops_are_the_average_of_what_they_cover() -> None:
    image = np.random.default_rng(2).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    boxes = np.array([[3.2, 3.2, 3.3, 3.3], [10.4, 20.6, 34.4, 44.6], [7.6, 2.4, 55.6, 50.4]], np.float32)
    dot, same, half = mtcnn._crops(image, boxes, side=24, count=3)
    assert (dot == image[3, 3]).all()
    np.testing.assert_array_equal(same, image[21:45, 10:34])
    blocks = image[2:50, 8:56].reshape(24, 2, 24, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - blocks).max() <= 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"thresholds": (0.6, 0.7)}, "detection thresholds (0.6, 0.7) are not three numbers within 0..1"),
        ({"thresholds": (0.6, 0.7, 1.5)}, "detection thresholds (0.6, 0.7, 1.5) are not three numbers within 0..1"),
        ({"factor": 1.0}, "pyramid factor 1.0 is not between 0 and 1"),
        ({"min_face": 5}, "smallest face 5 is below 12 pixels, the window of P-Net"),
        ({"min_face": float("nan")}, "smallest face nan is below 12 pixels, the window of P-Net"),
    ],
)
def test_values_out_of_range(detector: MTCNN, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        MTCNN(detector._pnet, detector._rnet, detector._onet, **arguments)  # type: ignore[arg-type]
    assert str(error.value) == message


def copied(root: Path, target: Path) -> Path:
    """The shipped weights and their manifest elsewhere; returns the weights' folder."""
    shutil.copytree(root / "models" / "mtcnn", target / "mtcnn")
    shutil.copy(root / "models" / "manifest.json", target)
    return target / "mtcnn"


def test_weights_in_another_folder(root: Path, tmp_path: Path, people: np.ndarray) -> None:
    assert len(open_mtcnn(copied(root, tmp_path), min_face=60).detect(people)) == 2


def test_weights_that_were_changed(root: Path, tmp_path: Path) -> None:
    folder = copied(root, tmp_path)
    data = bytearray((folder / "rnet-0001.params").read_bytes())
    data[5000] ^= 1
    (folder / "rnet-0001.params").write_bytes(bytes(data))
    with pytest.raises(
        CheckpointError, match=r"rnet-0001.params is not the file that was shipped: its SHA-256 differs"
    ):
        open_mtcnn(folder)


def test_weights_that_are_missing(root: Path, tmp_path: Path) -> None:
    folder = copied(root, tmp_path)
    (folder / "onet-0001.params").unlink()
    with pytest.raises(CheckpointError, match=r"onet-0001.params does not exist"):
        open_mtcnn(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"files": {"mtcnn/pnet-0001.params": 3}}'])
def test_a_damaged_manifest(root: Path, tmp_path: Path, text: str) -> None:
    folder = copied(root, tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest.json is damaged"):
        open_mtcnn(folder)


def test_ones_own_weights_need_no_manifest(root: Path, tmp_path: Path) -> None:
    folder = copied(root, tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "files": {}}))
    assert open_mtcnn(folder).thresholds == (0.6, 0.7, 0.8)
