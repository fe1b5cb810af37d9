"""Our models within insightface's FaceAnalysis."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from agegender.deploy.insightface_task import AgeGenderTask
from agegender.deploy.mtcnn import MTCNN, open_mtcnn
from agegender.deploy.predict import Predictor
from agegender.errors import ImageError, UsageError
from agegender.face.align import warp
from agegender.face.detector import Detection
from agegender.face.photo import read_photo
from tests.deploy.scrfd_file import save_scrfd

insightface_app = pytest.importorskip("insightface.app", reason="insightface is not installed")
Face = pytest.importorskip("insightface.app.common").Face


@pytest.fixture(scope="module")
def predictor(untrained_model: Path) -> Predictor:
    return Predictor(untrained_model, detector="none", gpu_ids="cpu")


@pytest.fixture(scope="module")
def detector() -> MTCNN:
    return open_mtcnn(min_face=60)


@pytest.fixture(scope="module")
def people(root: Path) -> npt.NDArray[np.uint8]:
    """test.jpg, cut to sides that detectors need not scale."""
    image = read_photo(root / "test.jpg")
    return np.ascontiguousarray(image[: image.shape[0] // 32 * 32, : image.shape[1] // 32 * 32])


@pytest.fixture(scope="module")
def found(detector: MTCNN, people: npt.NDArray[np.uint8]) -> Detection:
    return detector.detect(people)[0]


def test_in_face_analysis(
    tmp_path: Path, untrained_model: Path, predictor: Predictor, people: npt.NDArray[np.uint8], found: Detection
) -> None:
    # A detector that answers a red cell in the upper left corner with the face that MTCNN finds in the photo.
    sides = np.concatenate([-found.box[:2], found.box[2:]]) / 8
    save_scrfd(tmp_path / "det_10g.onnx", sides=sides, points=found.landmarks / 8)
    marked = people.copy()
    marked[:8, :8] = (255, 0, 0)
    app = insightface_app.FaceAnalysis(name=str(tmp_path), providers=["CPUExecutionProvider"])
    app.models["genderage"] = AgeGenderTask(untrained_model)
    app.prepare(ctx_id=-1, det_size=people.shape[1::-1])
    bgr = cv2.cvtColor(marked, cv2.COLOR_RGB2BGR)
    [face] = app.get(bgr)
    np.testing.assert_allclose(face.kps, found.landmarks, atol=0.01)
    crop = warp(marked, found.landmarks, predictor.template, size=predictor.template_size)
    [expected] = predictor.predict_crops([crop], [found])
    assert expected.age is not None
    assert face.age == round(expected.age)
    assert face.age_years == pytest.approx(expected.age, abs=0.05)
    assert face.sex == {"female": "F", "male": "M"}[str(expected.gender)]
    assert face["gender"] == {"female": 0, "male": 1}[str(expected.gender)]
    assert face["gender_probability"] == pytest.approx(expected.gender_probability, abs=1e-3)
    np.testing.assert_allclose(face.age_interval, expected.age_interval, atol=0.5)
    # Which insightface writes over the box.
    assert (app.draw_on(bgr, [face]) != bgr).any()


def test_what_get_returns(predictor: Predictor, people: npt.NDArray[np.uint8], found: Detection) -> None:
    task = AgeGenderTask(predictor)
    assert task.taskname == "genderage"
    face = Face(bbox=found.box, kps=found.landmarks, det_score=0.9)
    assert task.get(people[..., ::-1], face) == (face.gender, face.age)
    assert type(face.gender) is type(face.age) is int


def watch(predictor: Predictor, monkeypatch: pytest.MonkeyPatch, **changes: object) -> list[tuple[Any, Detection]]:
    """Keep the crops and detections that reach ``predictor``, and change what it says."""
    seen: list[tuple[Any, Detection]] = []
    original = predictor.predict_crops

    def predict_crops(crops: Sequence[Any], detections: Sequence[Detection]) -> list[Any]:
        seen.extend(zip(crops, detections, strict=True))
        return [dataclasses.replace(face, **changes) for face in original(crops, detections)]  # type: ignore[arg-type]

    monkeypatch.setattr(predictor, "predict_crops", predict_crops)
    return seen


def test_the_crop_is_rgb(
    predictor: Predictor, people: npt.NDArray[np.uint8], found: Detection, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watch(predictor, monkeypatch)
    AgeGenderTask(predictor).get(people[..., ::-1], Face(bbox=found.box, kps=found.landmarks))
    [(crop, _)] = seen
    expected = warp(people, found.landmarks, predictor.template, size=predictor.template_size)
    np.testing.assert_array_equal(crop, expected)


def test_without_landmarks_they_are_taken_from_the_box(
    predictor: Predictor, detector: MTCNN, people: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watch(predictor, monkeypatch)
    task = AgeGenderTask(predictor)
    for detection in detector.detect(people):
        task.get(people[..., ::-1], Face(bbox=detection.box))
        assert seen[-1][1].score == 1
        off = np.linalg.norm(seen[-1][1].landmarks - detection.landmarks, axis=1)
        assert off.max() / (detection.box[2] - detection.box[0]) < 0.2
    # 100 x 140 pixels: the eyes 44 apart, the nose in the middle.
    task.get(people[..., ::-1], Face(bbox=np.array([10, 20, 110, 160])))
    expected = [(38, 75.3), (82, 75.3), (60, 102.18), (39.5, 124.86), (80.5, 124.86)]
    np.testing.assert_allclose(seen[-1][1].landmarks, expected, atol=1e-3)


@pytest.mark.data
def test_what_the_landmarks_are_worth(photographs: Path) -> None:
    """The shipped model on the group photos: with landmarks, and with nothing but the box."""
    task, detector = AgeGenderTask("ssrnet", gpu_ids="cpu"), open_mtcnn()
    ages, genders = [], []
    for path in sorted((photographs / "group_photos").glob("*.jpg")):
        image = read_photo(path)
        for detection in detector.detect(image):
            full, bare = Face(bbox=detection.box, kps=detection.landmarks), Face(bbox=detection.box)
            for face in (full, bare):
                task.get(image[..., ::-1], face)
            ages.append(abs(full.age_years - bare.age_years))
            genders.append(full.gender == bare.gender)
    print(f"{len(ages)} faces: ages {np.mean(ages):.2f} years apart, {np.mean(genders):.0%} of one gender")
    assert len(ages) >= 60
    assert np.mean(ages) < 6
    assert np.mean(genders) > 0.9


def test_only_what_the_model_tells(
    predictor: Predictor, people: npt.NDArray[np.uint8], found: Detection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that was trained with --task age."""
    watch(predictor, monkeypatch, gender=None, gender_probability=None)
    face = Face(bbox=found.box, kps=found.landmarks)
    gender, age = AgeGenderTask(predictor).get(people[..., ::-1], face)
    assert gender is None
    assert age == face.age
    assert face.sex is None
    assert "gender" not in face


def test_prepare(untrained_model: Path, predictor: Predictor) -> None:
    task = AgeGenderTask(untrained_model)
    first = task.predictor
    task.prepare(0)
    assert task.predictor is first
    task.prepare(-1, det_size=(640, 640))
    assert task.predictor is not first
    on_cpu = task.predictor
    task.prepare(-1)
    assert task.predictor is on_cpu
    given = AgeGenderTask(predictor)
    given.prepare(-1)
    assert given.predictor is predictor


@pytest.mark.parametrize("box", [(10, 10, 10, 40), (10, 10, 5, 40), (float("nan"), 0, 10, 10)])
def test_a_box_that_holds_nothing(
    predictor: Predictor, people: npt.NDArray[np.uint8], box: tuple[float, float, float, float]
) -> None:
    with pytest.raises(ImageError, match=r"box \[.*\] holds no face"):
        AgeGenderTask(predictor).get(people[..., ::-1], Face(bbox=np.array(box)))


def test_an_unknown_model() -> None:
    with pytest.raises(UsageError, match=r"there is no model 'ssrnett'; did you mean 'ssrnet'?"):
        AgeGenderTask("ssrnett")
