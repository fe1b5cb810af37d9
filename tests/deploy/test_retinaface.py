"""RetinaFace checkpoints of old: anchors, decoding and rescaling, on a generated checkpoint of that layout."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.deploy.detectors import open_detector
from agegender.deploy.retinaface import ANCHORS, RetinaFace, open_retinaface, output_names
from agegender.errors import CheckpointError, UsageError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.face.detector import Detection
from agegender.graph import Graph, save_checkpoint

# A cell whose pixels all have this much of a stride's colour is a face: red for stride 8, green for 16, blue for 32.
FULL = 255
COLOURS = {8: 0, 16: 1, 32: 2}
# Which of the cell's two anchors it is, and how box and landmarks lie to it.
WINNERS = {8: 0, 16: 1, 32: 0}
MOVES = (0.25, -0.125, math.log(1.5), 0.0)
POINTS = ((-0.25, -0.25), (0.25, -0.25), (0.0, 0.0), (-0.125, 0.25), (0.125, 0.25))
SURE = 1 / (1 + math.exp(-(0.1 * FULL - 20)))


def graph_and_params(*, landmarks: bool = True, mask: bool = False) -> tuple[Graph, dict[str, npt.NDArray[Any]]]:
    """Build a network with RetinaFace's outputs, whose faces are cells of plain colour."""
    mx = load_mxnet()
    data = mx.sym.Variable("data")
    params: dict[str, npt.NDArray[Any]] = {}

    def conv(name: str, source: Any, weight: npt.NDArray[Any], bias: npt.NDArray[Any]) -> Any:
        params[f"arg:{name}_weight"] = weight.reshape(*weight.shape, 1, 1).astype(np.float32)
        params[f"arg:{name}_bias"] = bias.astype(np.float32)
        return mx.sym.Convolution(source, name=name, kernel=(1, 1), num_filter=len(bias))

    outputs = []
    coarser = None
    for stride in ANCHORS:
        pooled = mx.sym.Pooling(data, kernel=(stride, stride), stride=(stride, stride), pool_type="avg")
        if coarser is not None:
            # The feature pyramid's way down: enlarged, cut to size and added; here it counts nothing.
            larger = mx.sym.UpSampling(coarser, scale=2, sample_type="nearest", num_args=1)
            pooled = pooled + mx.sym.Crop(larger, pooled) * 0
        coarser = pooled
        # Two background channels, then two of faces; the network of old takes the softmax in just this way.
        weight, bias = np.zeros((4, 3)), np.array([0, 0, -20.0, -20.0])
        weight[2 + WINNERS[stride], COLOURS[stride]] = 0.1
        score = conv(f"face_rpn_cls_score_stride{stride}", pooled, weight, bias)
        score = mx.sym.Reshape(score, shape=(0, 2, -1, 0))
        score = mx.sym.SoftmaxActivation(score, mode="channel", name=f"face_rpn_cls_prob_stride{stride}")
        name = f"face_rpn_cls_prob_reshape_stride{stride}"
        outputs.append(mx.sym.Reshape(score, shape=(0, 4, -1, 0), name=name))
        name = f"face_rpn_bbox_pred_stride{stride}"
        outputs.append(conv(name, pooled, np.zeros((8, 3)), np.tile(MOVES, 2)))
        if landmarks:
            name = f"face_rpn_landmark_pred_stride{stride}"
            outputs.append(conv(name, pooled, np.zeros((20, 3)), np.tile(np.ravel(POINTS), 2)))
        if mask:
            outputs.append(
                mx.sym.Reshape(score, shape=(0, 4, -1, 0), name=f"face_rpn_type_prob_reshape_stride{stride}")
            )
    return Graph.from_json(mx.sym.Group(outputs).tojson()), params


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph, params = graph_and_params()
    prefix = tmp_path_factory.mktemp("retinaface") / "R50"
    save_checkpoint(prefix, 0, graph=graph, params=params)
    return prefix


@pytest.fixture(scope="module", params=["onnxruntime", "mxnet", "torch"])
def detector(request: pytest.FixtureRequest, prefix: Path) -> RetinaFace:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return open_retinaface(f"{prefix},0", engine=request.param, gpu_ids="cpu")


def photo(width: int, height: int, *cells: tuple[int, int, int], scale: int = 1) -> npt.NDArray[np.uint8]:
    """A black photo with coloured cells (stride, row, column), each ``scale`` times as large."""
    image = np.zeros((height, width, 3), np.uint8)
    for stride, row, column in cells:
        side = stride * scale
        image[row * side : (row + 1) * side, column * side : (column + 1) * side, COLOURS[stride]] = FULL
    return image


def test_a_face_of_each_stride_where_the_anchors_say(detector: RetinaFace) -> None:
    # Stride 8, anchor 32: its middle is at 7.5 + 8 * (9, 5) = (79.5, 47.5); moved by 32 * (0.25, -0.125) it is
    # (87.5, 43.5), and the box 48 x 32 pixels covers columns 64 to 111 and rows 28 to 59.
    [face] = detector.detect(photo(320, 256, (8, 5, 9)))
    np.testing.assert_allclose(face.box, [64, 28, 112, 60], atol=1e-3)
    expected = [(71.5, 39.5), (87.5, 39.5), (79.5, 47.5), (75.5, 55.5), (83.5, 55.5)]
    np.testing.assert_allclose(face.landmarks, expected, atol=1e-3)
    assert face.score == pytest.approx(SURE, abs=1e-6)
    assert face.box.dtype == face.landmarks.dtype == np.float32
    # Stride 16, the second anchor, 64: 7.5 + 16 * (3, 10) = (55.5, 167.5) moves to (71.5, 159.5); 96 x 64.
    [face] = detector.detect(photo(320, 256, (16, 10, 3)))
    np.testing.assert_allclose(face.box, [24, 128, 120, 192], atol=1e-3)
    np.testing.assert_allclose(face.landmarks[3], (47.5, 183.5), atol=1e-3)
    # Stride 32, anchor 512: 7.5 + 32 * (4, 3) = (135.5, 103.5) moves to (263.5, 39.5); 768 x 512, beyond the photo.
    [face] = detector.detect(photo(320, 256, (32, 3, 4)))
    np.testing.assert_allclose(face.box, [-120, -216, 648, 296], atol=1e-2)


def test_sides_that_the_strides_do_not_divide(detector: RetinaFace) -> None:
    """The photo is padded right and below: what is found doesn't move."""
    [whole] = detector.detect(photo(320, 256, (8, 5, 9)))
    [cut] = detector.detect(photo(101, 67, (8, 5, 9)))
    np.testing.assert_array_equal(cut.box, whole.box)
    np.testing.assert_array_equal(cut.landmarks, whole.landmarks)


def test_a_large_photo_is_seen_smaller(prefix: Path) -> None:
    detector = open_retinaface(prefix, largest=512, engine="mxnet", gpu_ids="cpu")
    [face] = detector.detect(photo(1024, 512, (8, 5, 9), scale=2))
    np.testing.assert_allclose(face.box, [128, 56, 224, 120], atol=1e-3)
    # The middle of pixel 71 at half size is the border of the pixels 142 and 143.
    np.testing.assert_allclose(face.landmarks[0], (143.5, 79.5), atol=1e-3)


def test_smallest_face(detector: RetinaFace) -> None:
    # A box of 48 x 32 pixels, which is seen at full size as long as faces of 16 to 32 are looked for.
    image = photo(320, 256, (8, 5, 9))
    assert len(detector.detect(image, min_face=32)) == 1
    # At half size its cell is a quarter full; one of twice the size is full.
    assert detector.detect(image, min_face=64) == []
    [face] = detector.detect(photo(640, 512, (8, 5, 9), scale=2), min_face=64)
    np.testing.assert_allclose(face.box, [128, 56, 224, 120], atol=1e-3)


def test_smaller_faces_are_dropped() -> None:
    """Boxes of 16 and 64 pixels at the same scale; the smaller one is the surer."""
    outputs = {}
    for stride in ANCHORS:
        for name, channels in zip(output_names(stride), (4, 8, 20), strict=True):
            outputs[name] = np.zeros((1, channels, 256 // stride, 256 // stride), np.float32)
    outputs[output_names(8)[0]][0, 3, 2, 2] = 0.9
    outputs[output_names(16)[0]][0, 3, 8, 8] = 0.8
    detector, image = RetinaFace(Answer(outputs)), np.zeros((256, 256, 3), np.uint8)
    both = detector.detect(image, min_face=16)
    assert [face.box.tolist() for face in both] == [[16, 16, 32, 32], [104, 104, 168, 168]]
    assert [face.box.tolist() for face in detector.detect(image)] == [[104, 104, 168, 168]]


def test_of_two_that_overlap_one_is_left(detector: RetinaFace) -> None:
    # 48 x 32 pixels, shifted by 8: they share 40/56 of their union; shifted by 48, nothing.
    assert len(detector.detect(photo(320, 256, (8, 5, 9), (8, 5, 10)))) == 1
    faces = detector.detect(photo(320, 256, (8, 5, 9), (8, 5, 15)))
    assert sorted(float(face.box[0]) for face in faces) == pytest.approx([64, 112], abs=1e-3)


def test_best_first(detector: RetinaFace) -> None:
    image = photo(320, 256, (8, 5, 9), (8, 20, 9))
    image[image == FULL] = np.where(np.nonzero(image)[0] < 100, 230, 250)
    first, second = detector.detect(image)
    assert first.box[1] > second.box[1]
    assert first.score == pytest.approx(1 / (1 + math.exp(-5)), abs=1e-6)
    assert second.score == pytest.approx(1 / (1 + math.exp(-3)), abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 900, 3), (2000, 3, 3), (64, 64, 3)])
def test_nothing_in_nothing(detector: RetinaFace, shape: tuple[int, ...]) -> None:
    assert detector.detect(np.zeros(shape, np.uint8)) == []


def test_the_mask_aware_kind_has_smaller_landmarks(tmp_path: Path) -> None:
    graph, params = graph_and_params(mask=True)
    save_checkpoint(tmp_path / "cov", 3, graph=graph, params=params)
    [face] = open_retinaface(tmp_path / "cov", engine="mxnet", gpu_ids="cpu").detect(photo(320, 256, (8, 5, 9)))
    np.testing.assert_allclose(face.landmarks[0], (79.5 - 0.2 * 8, 47.5 - 0.2 * 8), atol=1e-3)
    np.testing.assert_allclose(face.box, [64, 28, 112, 60], atol=1e-3)


class Answer:
    """An executor that always says the same."""

    def __init__(self, outputs: dict[str, npt.NDArray[Any]]) -> None:
        self.outputs = outputs

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        return self.outputs


def one_by_one(
    outputs: dict[str, npt.NDArray[Any]], threshold: float, *, min_face: float
) -> list[tuple[float, list[float], list[float]]]:
    """(score, box with the far pixels inside, landmarks), by the formulas of the network of old, anchor by anchor."""
    found = []
    for stride, sides in ANCHORS.items():
        scores, moves, points = (outputs[name][0].astype(float) for name in output_names(stride))
        for anchor, side in enumerate(sides):
            for row in range(scores.shape[1]):
                for column in range(scores.shape[2]):
                    score = scores[2 + anchor, row, column]
                    if score < threshold:
                        continue
                    x, y = 7.5 + column * stride, 7.5 + row * stride
                    dx, dy, dw, dh = moves[4 * anchor : 4 * anchor + 4, row, column]
                    width, height = math.exp(dw) * side - 1, math.exp(dh) * side - 1
                    middle = dx * side + x, dy * side + y
                    box = [middle[0] - width / 2, middle[1] - height / 2, middle[0] + width / 2, middle[1] + height / 2]
                    five = points[10 * anchor : 10 * anchor + 10, row, column]
                    marks = [place * side + (x, y)[i % 2] for i, place in enumerate(five)]
                    if max(width, height) + 1 >= min_face:
                        found.append((score, box, marks))
    kept: list[tuple[float, list[float], list[float]]] = []
    for face in sorted(found, key=lambda face: -face[0]):
        if all(shared_by_pixels(face[1], other[1]) <= 0.4 for other in kept):
            kept.append(face)
    return kept


def shared_by_pixels(one: list[float], other: list[float]) -> float:
    """Intersection over union where x2, y2 are the last pixels inside."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]) + 1)
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]) + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.5, 0.9, 0.99]))
def test_any_output_is_decoded_as_one_by_one(seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    outputs = {}
    for stride in ANCHORS:
        height, width = 64 // stride, 96 // stride
        scores, boxes, points = output_names(stride)
        outputs[scores] = random.uniform(0, 1, (1, 4, height, width)).astype(np.float32)
        outputs[boxes] = random.normal(0, 0.3, (1, 8, height, width)).astype(np.float32)
        outputs[points] = random.normal(0, 0.3, (1, 20, height, width)).astype(np.float32)
    picture = np.zeros((64, 96, 3), np.uint8)
    found = RetinaFace(Answer(outputs), threshold=threshold).detect(picture, min_face=16)
    expected = one_by_one(outputs, threshold, min_face=16)
    assert len(found) == len(expected)
    for ours, (score, box, marks) in zip(found, expected, strict=True):
        assert isinstance(ours, Detection)
        assert ours.score == pytest.approx(score)
        np.testing.assert_allclose(ours.box, np.add(box, (0, 0, 1, 1)), atol=1e-2)
        np.testing.assert_allclose(ours.landmarks.ravel(), marks, atol=1e-2)


def test_a_stray_output_overflows_nothing() -> None:
    outputs = {}
    for stride in ANCHORS:
        side = 512 // stride
        for name, channels, value in zip(output_names(stride), (4, 8, 20), (0.9, 1e6, 0.0), strict=True):
            outputs[name] = np.full((1, channels, side, side), value, np.float32)
    faces = RetinaFace(Answer(outputs)).detect(np.zeros((512, 512, 3), np.uint8))
    assert faces
    assert all(np.isfinite(face.box).all() for face in faces)


@pytest.mark.parametrize("name", ["{0},0", "{0}", "{0}-0000.params", "{0}-symbol.json", "{1}"])
def test_by_name(prefix: Path, name: str) -> None:
    detector = open_detector("retinaface", model=name.format(prefix, prefix.parent), engine="mxnet", gpu_ids="cpu")
    assert detector is not None
    assert len(detector.detect(photo(320, 256, (8, 5, 9)))) == 1


def test_other_checkpoints_are_told_apart(untrained_model: Path, tmp_path: Path) -> None:
    graph, params = graph_and_params(landmarks=False)
    save_checkpoint(tmp_path / "boxes", 0, graph=graph, params=params)
    for prefix, missing in (
        (untrained_model, "face_rpn_cls_prob_reshape_stride32_output (it has "),
        (
            tmp_path / "boxes",
            "face_rpn_landmark_pred_stride32_output (it has face_rpn_cls_prob_reshape_stride32_output",
        ),
    ):
        with pytest.raises(CheckpointError) as error:
            open_retinaface(prefix, gpu_ids="cpu")
        assert f"is no RetinaFace with landmarks: its graph lacks the output {missing}" in str(error.value)


def test_other_anchors_are_told_apart() -> None:
    outputs = {
        name: np.zeros((1, channels, 1, 1), np.float32)
        for stride in ANCHORS
        for name, channels in zip(output_names(stride), (8, 16, 40), strict=True)
    }
    with pytest.raises(CheckpointError) as error:
        RetinaFace(Answer(outputs)).detect(np.zeros((32, 32, 3), np.uint8))
    assert str(error.value) == (
        "face_rpn_cls_prob_reshape_stride32_output has shape (1, 8, 1, 1); "
        "RetinaFace with 2 anchors per cell has 4 channels"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 0.0}, "detection threshold 0.0 is not between 0 and 1"),
        ({"threshold": float("nan")}, "detection threshold nan is not between 0 and 1"),
        ({"min_face": 0}, "smallest face 0 is no number of pixels above 0"),
        ({"min_face": float("inf")}, "smallest face inf is no number of pixels above 0"),
        ({"largest": 500}, "the largest side 500 is below 512 pixels"),
    ],
)
def test_values_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        RetinaFace(Answer({}), **arguments)
    assert str(error.value).startswith(message)


def test_a_missing_checkpoint_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        open_retinaface(tmp_path / "R50,0")
    assert f"no file {tmp_path / 'R50'}-symbol.json" in str(error.value)
    assert "detection/RetinaFace links RetinaFace-R50, for non-commercial research only" in str(error.value)
    assert "\n" not in str(error.value)
