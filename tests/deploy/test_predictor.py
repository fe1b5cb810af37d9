"""From photos to faces: the right crops, one batch, and only what the model tells."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agegender.deploy.net import Net
from agegender.deploy.predict import Predictor
from agegender.errors import CheckpointError, ImageError, UsageError
from agegender.executor import open_executor
from agegender.executor.base import Executor
from agegender.face.align import warp
from agegender.face.photo import read_photo
from agegender.face.templates import get_template
from agegender.graph import Checkpoint, load_checkpoint
from agegender.resize import resize_crop


@pytest.fixture(scope="module")
def checkpoint(untrained_model: Path) -> Checkpoint:
    return load_checkpoint(untrained_model)


@pytest.fixture(scope="module")
def executor(checkpoint: Checkpoint) -> Executor:
    return open_executor(checkpoint, gpu_ids="cpu")


@pytest.fixture(scope="module")
def predictor(untrained_model: Path) -> Predictor:
    return Predictor(untrained_model, gpu_ids="cpu")


@pytest.fixture(scope="module")
def people(root: Path) -> np.ndarray:
    return read_photo(root / "test.jpg")


class Watched:
    """Keeps what goes through an executor."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.batches: list[npt.NDArray[np.float32]] = []

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        self.batches.append(data)
        return self.executor.forward(data)


def net(checkpoint: Checkpoint, executor: Executor, *, template: str | None = None) -> Net:
    source = checkpoint.prefix.with_name(checkpoint.prefix.name + ".json")
    return Net(checkpoint.info, executor, source=source, template=template, epoch=checkpoint.epoch)


def with_info(checkpoint: Checkpoint, **changes: object) -> Checkpoint:
    assert checkpoint.info is not None
    return dataclasses.replace(checkpoint, info=dataclasses.replace(checkpoint.info, **changes))  # type: ignore[arg-type]


def test_all_faces_in_one_batch_warped_to_the_models_template(
    checkpoint: Checkpoint, executor: Executor, predictor: Predictor, people: np.ndarray
) -> None:
    watched = Watched(executor)
    faces = Predictor(net(checkpoint, watched), detector=predictor.detector).predict(people)
    assert len(faces) == 2
    assert [batch.shape for batch in watched.batches] == [(2, 3, 64, 64)]
    for face, data in zip(faces, watched.batches[0], strict=True):
        crop = resize_crop(warp(people, face.landmarks, get_template("utkface"), size=112), (64, 64))
        np.testing.assert_array_equal(data, crop.transpose(2, 0, 1).astype(np.float32))


def test_what_a_face_says(predictor: Predictor, people: np.ndarray) -> None:
    for face in predictor.predict(people):
        assert face.gender in ("female", "male")
        assert face.gender_probability is not None
        assert 0.5 <= face.gender_probability <= 1
        assert face.age is not None
        assert face.age_interval is not None
        assert face.age_distribution is not None
        assert face.age_distribution.sum() == pytest.approx(1, abs=1e-5)
        assert face.age == pytest.approx(float(face.age_distribution @ np.arange(101)), abs=1e-3)
        assert 0 <= face.age_interval[0] < face.age_interval[1] <= 100


def test_each_face_is_judged_alone(predictor: Predictor, people: np.ndarray) -> None:
    detections = predictor.detector.detect(people) if predictor.detector else []
    crops = [warp(people, found.landmarks, predictor.template, size=112) for found in detections]
    together = predictor.predict_crops(crops, detections)
    for crop, detection, face in zip(crops, detections, together, strict=True):
        [alone] = predictor.predict_crops([crop], [detection])
        assert alone.age == pytest.approx(face.age, abs=1e-3)
        assert alone.gender_probability == pytest.approx(face.gender_probability, abs=1e-4)


def test_no_face_is_an_empty_list(predictor: Predictor) -> None:
    assert predictor.predict(np.zeros((200, 200, 3), np.uint8)) == []


def test_a_path_is_read_as_the_photo_it_names(predictor: Predictor, people: np.ndarray, root: Path) -> None:
    path = root / "test.jpg"
    plain = [face.to_json() for face in predictor.predict(people)]
    assert len(plain) == 2
    for photo in (path, str(path)):
        assert [face.to_json() for face in predictor.predict(photo)] == plain
    empty = np.zeros((200, 200, 3), np.uint8)
    pages = predictor.predict([str(path), empty, path])
    assert [[round(float(end)) for end in face.box] for face in pages[2]] == [
        [round(end) for end in face["box"]] for face in plain
    ]
    assert [len(page) for page in pages] == [2, 0, 2]
    assert predictor.predict(np.stack([empty, empty])) == [[], []]
    assert predictor.predict([]) == []
    with pytest.raises(ImageError, match=r"^gone\.jpg: can't be read \(No such file or directory\)$"):
        predictor.predict("gone.jpg")


@pytest.mark.parametrize(
    ("photo", "given"),
    [
        (np.zeros((20, 30, 3), np.float32), "an array (20, 30, 3) float32"),
        (np.zeros((20, 30), np.uint8), "an array (20, 30) uint8"),
        (np.zeros((20, 30, 4), np.uint8), "an array (20, 30, 4) uint8"),
        (np.zeros((2, 20, 30, 1), np.uint8), "an array (20, 30, 1) uint8"),
        ([np.zeros((20, 30), bool)], "an array (20, 30) bool"),
        ([[1, 2, 3]], "list"),
        (None, "NoneType"),
        (b"\xff\xd8", "bytes"),
    ],
)
def test_what_is_no_photo_is_said(predictor: Predictor, photo: Any, given: str) -> None:
    with pytest.raises(UsageError) as caught:
        predictor.predict(photo)
    assert str(caught.value) == f"a photo is a path or an array (H, W, 3) uint8 RGB, not {given}"


def test_without_detector_the_photo_is_the_crop(checkpoint: Checkpoint, executor: Executor, people: np.ndarray) -> None:
    watched = Watched(executor)
    photo = np.ascontiguousarray(people[:300, :200])
    [face] = Predictor(net(checkpoint, watched), detector=None).predict(photo)
    np.testing.assert_array_equal(face.box, [0, 0, 200, 300])
    np.testing.assert_allclose(face.landmarks, np.array(get_template("utkface").points) * (200, 300), rtol=1e-6)
    assert face.score == 1
    expected = resize_crop(resize_crop(photo, (112, 112)), (64, 64))
    np.testing.assert_array_equal(watched.batches[0][0], expected.transpose(2, 0, 1))


@pytest.mark.parametrize("task", ["age", "gender"])
def test_untrained_heads_say_nothing(checkpoint: Checkpoint, executor: Executor, people: np.ndarray, task: str) -> None:
    [face] = Predictor(net(with_info(checkpoint, task=task), executor), detector=None).predict(people)
    told = face.to_json(distribution=True)
    silent = {"gender", "gender_probability"} if task == "age" else {"age", "age_interval", "age_distribution"}
    assert {key for key, value in told.items() if value is None} == silent


def test_a_head_without_distribution_has_no_interval(checkpoint: Checkpoint, executor: Executor) -> None:
    class Regression:
        """The outputs of head ssr: no age_softmax."""

        def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
            outputs = executor.forward(data)
            outputs.pop("age_softmax_output")
            return outputs

    [face] = Predictor(net(with_info(checkpoint, head="ssr"), Regression()), detector=None).predict(
        np.zeros((64, 64, 3), np.uint8)
    )
    assert face.age is not None
    assert face.age_interval is None
    assert face.age_distribution is None


def test_json_holds_plain_rounded_numbers(predictor: Predictor, people: np.ndarray) -> None:
    face = predictor.predict(people)[0]
    told = json.loads(json.dumps(face.to_json()))
    assert list(told) == ["box", "landmarks", "score", "gender", "gender_probability", "age", "age_interval"]
    np.testing.assert_allclose(told["box"], face.box, atol=0.051)
    np.testing.assert_allclose(told["landmarks"], face.landmarks, atol=0.051)
    assert len(face.to_json(distribution=True)["age_distribution"]) == 101


def test_old_checkpoints_are_told_what_they_lack(checkpoint: Checkpoint, executor: Executor) -> None:
    with pytest.raises(CheckpointError) as error:
        net(dataclasses.replace(checkpoint, info=None), executor)
    assert str(error.value).startswith(f"{checkpoint.prefix}.json does not exist: without it nobody knows which crops")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": {}}, "lacks the input shape of the model"),
        ({"template": {"name": "x", "points": [[0, 0]], "size": [112, 112]}}, "crop template 'x' has 1 points"),
    ],
)
def test_incomplete_descriptions(
    checkpoint: Checkpoint, executor: Executor, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(CheckpointError) as error:
        net(with_info(checkpoint, **changes), executor)
    assert f"{checkpoint.prefix}.json" in str(error.value)
    assert message in str(error.value)


def test_a_model_that_does_not_know_its_template(checkpoint: Checkpoint, executor: Executor) -> None:
    unknown = with_info(checkpoint, template={})
    with pytest.raises(UsageError) as error:
        net(unknown, executor)
    assert str(error.value) == (
        f"{checkpoint.prefix}.json doesn't say which crops the model was trained on; "
        "name them: --template arcface|utkface"
    )
    assert net(unknown, executor, template="arcface").template == get_template("arcface")


def test_a_model_that_knows_better(checkpoint: Checkpoint, executor: Executor) -> None:
    assert net(checkpoint, executor, template="utkface").template_size == 112
    with pytest.raises(UsageError, match=r"the model was trained on 'utkface' crops \(.*\), not on 'arcface'"):
        net(checkpoint, executor, template="arcface")


def test_unknown_detector(untrained_model: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown detector 'haar' \(mtcnn, retinaface, scrfd, none\)"):
        Predictor(untrained_model, detector="haar")
