"""SCRFD through insightface: on generated models of its layout, against numbers worked out by hand and insightface."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agegender.deploy import insight_detector
from agegender.deploy.detectors import open_detector
from agegender.deploy.insight_detector import InsightDetector, find_insight_model, open_insight_detector
from agegender.errors import CheckpointError, DeviceError, UsageError
from tests.deploy.scrfd_file import FULL, coloured, save_other, save_scrfd

model_zoo = pytest.importorskip("insightface.model_zoo", reason="insightface is not installed")
SURE = 1 / (1 + math.exp(-(0.1 * FULL - 20)))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_scrfd(tmp_path_factory.mktemp("scrfd") / "det_10g.onnx")


@pytest.fixture(scope="module")
def detector(file: Path) -> InsightDetector:
    return open_insight_detector(file, gpu_ids="cpu")


def test_a_face_of_each_stride_where_the_anchors_say(detector: InsightDetector) -> None:
    # Stride 8: the anchor is at (9, 5) * 8 = (72, 40), the sides are 2, 1, 3 and 4 strides away.
    [face] = detector.detect(coloured(256, 192, (8, 5, 9)))
    np.testing.assert_allclose(face.box, [56, 32, 96, 72], atol=1e-3)
    np.testing.assert_allclose(face.landmarks, [(64, 40), (80, 40), (72, 48), (68, 56), (76, 56)], atol=1e-3)
    assert face.score == pytest.approx(SURE, abs=1e-5)
    assert face.box.dtype == face.landmarks.dtype == np.float32
    [face] = detector.detect(coloured(256, 192, (16, 5, 9)))
    np.testing.assert_allclose(face.box, [112, 64, 192, 144], atol=1e-3)
    # Blue, the last colour of RGB: a detector fed with RGB for BGR would see stride 8's.
    [face] = detector.detect(coloured(256, 192, (32, 4, 2)))
    np.testing.assert_allclose(face.box, [0, 96, 160, 256], atol=1e-3)
    np.testing.assert_allclose(face.landmarks[1], (96, 128), atol=1e-3)


def test_as_insightface_itself_finds_them(file: Path, detector: InsightDetector) -> None:
    image = coloured(256, 192, (8, 5, 9), (8, 5, 10), (8, 20, 20), (16, 9, 1), (32, 4, 2))
    model = model_zoo.get_model(str(file), providers=["CPUExecutionProvider"])
    model.prepare(0, det_thresh=0.5)
    boxes, points = model.detect(np.ascontiguousarray(image[..., ::-1]), input_size=(256, 192))
    faces = detector.detect(image)
    assert len(boxes) == len(faces) == 4
    np.testing.assert_allclose([face.box for face in faces], boxes[:, :4], atol=1e-3)
    np.testing.assert_allclose([face.landmarks for face in faces], points, atol=1e-3)
    np.testing.assert_allclose([face.score for face in faces], boxes[:, 4], atol=1e-6)


def test_sides_that_the_strides_do_not_divide(detector: InsightDetector) -> None:
    [face] = detector.detect(coloured(101, 67, (8, 5, 9)))
    np.testing.assert_allclose(face.box, [56, 32, 96, 72], atol=1e-3)


def test_a_large_photo_is_seen_smaller(file: Path) -> None:
    model = model_zoo.get_model(str(file), providers=["CPUExecutionProvider"], static_shape_sessions=False)
    detector = InsightDetector(model, largest=128)
    [face] = detector.detect(coloured(256, 192, (8, 5, 9), scale=2))
    np.testing.assert_allclose(face.box, [112, 64, 192, 144], atol=1e-3)
    np.testing.assert_allclose(face.landmarks[0], (128, 80), atol=1e-3)


def test_smallest_face(detector: InsightDetector) -> None:
    """The box of stride 8 is 40 pixels wide, whatever is looked for."""
    image = coloured(256, 192, (8, 5, 9))
    assert len(detector.detect(image, min_face=32)) == 1
    # At half size: the cell is a quarter full, and one of twice the size is full.
    assert detector.detect(image, min_face=64) == []
    [face] = detector.detect(coloured(256, 192, (8, 5, 9), scale=2), min_face=64)
    np.testing.assert_allclose(face.box, [112, 64, 192, 144], atol=1e-3)


def test_smaller_faces_are_dropped(tmp_path: Path) -> None:
    """A model whose boxes are 2 strides wide: 16 pixels at stride 8, 32 at stride 16."""
    file = save_scrfd(tmp_path / "small.onnx", sides=(1, 1, 1, 1))
    detector = open_insight_detector(file, gpu_ids="cpu")
    image = coloured(256, 192, (8, 5, 9), (16, 9, 9))
    assert len(detector.detect(image, min_face=16)) == 2
    [face] = detector.detect(image)
    np.testing.assert_allclose(face.box, [128, 128, 160, 160], atol=1e-3)


def test_a_face_that_fills_the_photo_is_found_in_the_overview(tmp_path: Path) -> None:
    """Seen 128 pixels wide it is one cell of stride 8; at full size it is many, whose boxes are the cell's size."""
    file = save_scrfd(tmp_path / "wide.onnx", sides=(4, 4, 4, 4))
    faces = open_insight_detector(file, gpu_ids="cpu").detect(coloured(640, 640, (8, 8, 8), scale=5))
    sides = np.array([face.box[2:] - face.box[:2] for face in faces])
    filling = [face for face, (width, _) in zip(faces, sides, strict=True) if width > 300]
    assert len(filling) == 1
    np.testing.assert_allclose(filling[0].box, [160, 160, 480, 480], atol=1e-3)
    np.testing.assert_allclose(sides[sides[:, 0] < 300], 64, atol=1e-3)


def test_small_faces_are_not_taken_from_the_overview(tmp_path: Path) -> None:
    file = save_scrfd(tmp_path / "narrow.onnx", sides=(1, 1, 1, 1))
    faces = open_insight_detector(file, gpu_ids="cpu").detect(coloured(640, 640, (8, 8, 8), scale=5), min_face=16)
    assert len(faces) == 25
    assert {float(face.box[2] - face.box[0]) for face in faces} == {16}


def test_a_model_of_one_input_size_sees_the_whole_photo(tmp_path: Path) -> None:
    file = save_scrfd(tmp_path / "fixed.onnx", size=(320, 256))
    detector = open_insight_detector(file, gpu_ids="cpu")
    [face] = detector.detect(coloured(640, 256, (8, 5, 9), scale=2))
    np.testing.assert_allclose(face.box, [112, 64, 192, 144], atol=1e-3)
    # A small one is enlarged.
    [face] = detector.detect(cv2.resize(coloured(320, 256, (32, 3, 5)), (160, 128), interpolation=cv2.INTER_NEAREST))
    np.testing.assert_allclose(face.box, [48, 32, 128, 112], atol=1e-3)


@pytest.mark.parametrize("batched", [False, True])
def test_one_anchor_and_five_strides(tmp_path: Path, batched: bool) -> None:
    file = save_scrfd(tmp_path / "five.onnx", strides=(8, 16, 32, 64, 128), batched=batched)
    detector = open_insight_detector(file, gpu_ids="cpu")
    # Not divided by 128 either.
    [face] = detector.detect(coloured(200, 150, (8, 5, 9)))
    np.testing.assert_allclose(face.box, [56, 32, 96, 72], atol=1e-3)


def test_threshold(file: Path) -> None:
    image = coloured(256, 192, (8, 5, 9), value=205)
    assert open_insight_detector(file, threshold=0.7, gpu_ids="cpu").detect(image) == []
    [face] = open_insight_detector(file, threshold=0.6, gpu_ids="cpu").detect(image)
    assert face.score == pytest.approx(1 / (1 + math.exp(-0.5)), abs=1e-4)


def test_best_first(detector: InsightDetector) -> None:
    image = np.maximum(coloured(256, 192, (8, 5, 9), value=230), coloured(256, 192, (8, 15, 9), value=250))
    scores = [face.score for face in detector.detect(image)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 900, 3), (2000, 3, 3), (64, 64, 3)])
def test_nothing_in_nothing(detector: InsightDetector, shape: tuple[int, ...]) -> None:
    assert detector.detect(np.zeros(shape, np.uint8)) == []


def test_sizes_share_one_session(file: Path) -> None:
    detector = open_insight_detector(file, gpu_ids="cpu")
    for side in (64, 96, 128, 160):
        detector.detect(np.zeros((side, side, 3), np.uint8))
    sessions = {id(session) for session in detector._model.resolution_sessions.values()}  # type: ignore[attr-defined]
    assert len(sessions) == 1


def test_the_detection_model_of_a_pack(tmp_path: Path) -> None:
    save_other(tmp_path / "w600k_r50.onnx")
    save_scrfd(tmp_path / "det_500m.onnx")
    detector = open_detector("scrfd", model=str(tmp_path), gpu_ids="cpu")
    assert detector is not None
    assert len(detector.detect(coloured(256, 192, (8, 5, 9)))) == 1
    # Also where its name says nothing, among models of all kinds.
    save_other(tmp_path / "0_unknown.onnx", side=40)
    (tmp_path / "det_500m.onnx").rename(tmp_path / "v2.onnx")
    assert len(open_insight_detector(tmp_path, gpu_ids="cpu").detect(coloured(256, 192, (8, 5, 9)))) == 1


def test_a_pack_with_a_manifest(tmp_path: Path) -> None:
    save_scrfd(tmp_path / "detection.onnx")
    (tmp_path / "MODEL.LICENSE").write_text("ours")
    (tmp_path / "manifest.json").write_text(
        '{"manifest_version": 2, "model_id": "ours", "license": "MODEL.LICENSE", '
        '"tasks": {"detection": {"file": "detection.onnx"}}}'
    )
    assert len(open_insight_detector(tmp_path, gpu_ids="cpu").detect(coloured(256, 192, (8, 5, 9)))) == 1


def test_packs_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "packs" / "antelopev2").mkdir(parents=True)
    (tmp_path / "packs" / "buffalo_l").mkdir()
    monkeypatch.setattr(insight_detector, "PACKS", tmp_path / "packs")
    save_scrfd(tmp_path / "packs" / "antelopev2" / "scrfd_10g_bnkps.onnx")
    assert find_insight_model("antelopev2") == tmp_path / "packs" / "antelopev2"
    with pytest.raises(UsageError, match=r"this detector needs a model: --det_model FILE.onnx"):
        find_insight_model()
    save_scrfd(tmp_path / "packs" / "buffalo_l" / "det_10g.onnx")
    assert find_insight_model() == tmp_path / "packs" / "buffalo_l"


@pytest.mark.parametrize("name", ["scrfd", "retinaface"])
def test_a_missing_file_says_where_to_get_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as error:
        open_detector(name, model=str(tmp_path / "det_10g.onnx"))
    assert str(error.value) == (
        f"{tmp_path / 'det_10g.onnx'} does not exist. https://github.com/deepinsight/insightface/tree/master/model_zoo "
        "has them, insightface's own for non-commercial research only; nothing is downloaded for you"
    )
    with pytest.raises(UsageError) as error:
        open_detector(name, model=str(tmp_path))
    assert str(error.value).startswith(f"{tmp_path} holds no .onnx file. https://github.com/")


def test_files_of_other_kinds(tmp_path: Path) -> None:
    recognition = save_other(tmp_path / "w600k_r50.onnx")
    unknown = save_other(tmp_path / "unknown.onnx", side=40)
    boxes = save_scrfd(tmp_path / "scrfd_10g.onnx", landmarks=False)
    maps = save_scrfd(tmp_path / "retinaface.onnx", flat=False)
    seven = save_scrfd(tmp_path / "seven.onnx", strides=(8, 16, 32, 64))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    for file, message in (
        (recognition, "is no face detector: it is for recognition"),
        (unknown, "is no face detector: it is of no kind that insightface knows"),
        (boxes, "tells no landmarks, without which no face can be aligned: take a *_bnkps model"),
        (maps, "is laid out otherwise than SCRFD: output score_8 has shape [1, 2, 'h', 'w'], not (n, 1)"),
        (seven, "has 12 outputs; SCRFD with landmarks has 9 or 15"),
        (broken, ": insightface can't load it: "),
    ):
        with pytest.raises(CheckpointError) as error:
            open_insight_detector(file, gpu_ids="cpu")
        assert str(error.value).startswith(f"{file}")
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    (tmp_path / "pack").mkdir()
    recognition.rename(tmp_path / "pack" / recognition.name)
    with pytest.raises(CheckpointError, match=r"pack holds no face detector: w600k_r50.onnx. https://"):
        open_insight_detector(tmp_path / "pack", gpu_ids="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.0}, "detection threshold 1.0 is not between 0 and 1"),
        ({"min_face": -3}, "smallest face -3 is no number of pixels above 0"),
    ],
)
def test_values_out_of_range(file: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        open_insight_detector(file, gpu_ids="cpu", **arguments)
    assert str(error.value) == message


def test_a_gpu_that_is_not_there(file: Path) -> None:
    with pytest.raises(DeviceError, match=r"GPU 99 is not there"):
        open_insight_detector(file, gpu_ids="99")
