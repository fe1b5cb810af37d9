"""The usual MXNet way to find faces and tell age and gender: the peer of benchmarks/infer.py.

P-Net runs once per level of the pyramid, R-Net and O-Net take all candidates at once; then one Module call per face.
Weights, thresholds, pyramid and rounding are ours, written anew, so that the boxes must come out equal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from agegender.deploy.mtcnn import NETS, load_net  # noqa: E402
from agegender.executor.mxnet_runtime import load_mxnet  # noqa: E402
from agegender.face.align import warp  # noqa: E402
from agegender.face.templates import Template  # noqa: E402
from agegender.graph.checkpoint import Checkpoint  # noqa: E402

Photo = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
THRESHOLDS, MIN_FACE, FACTOR = (0.6, 0.7, 0.8), 20, 0.709


class Bound:
    """A net on an executor that is bound anew when the input's shape changes, as ``FeedForward.predict`` does.

    With ``keep`` the executors of all shapes that came up stay.
    """

    def __init__(self, checkpoint: Checkpoint, *, keep: bool) -> None:
        self._keep = keep
        self._mx = load_mxnet()
        self._symbol = self._mx.sym.load_json(checkpoint.graph.to_json())
        self._params = {name: self._mx.nd.array(array) for name, array in checkpoint.params.items()}
        self._executors: dict[tuple[int, ...], Any] = {}

    def __call__(self, data: Floats) -> dict[str, Floats]:
        """Return the outputs by name."""
        executor = self._executors.get(data.shape)
        if executor is None:
            if not self._keep:
                self._executors.clear()
            executor = self._symbol.simple_bind(self._mx.cpu(), data=data.shape, grad_req="null")
            for name, array in self._params.items():
                kind, _, plain = name.partition(":")
                (executor.arg_dict if kind == "arg" else executor.aux_dict)[plain][:] = array
            self._executors[data.shape] = executor
        outputs = executor.forward(is_train=False, data=self._mx.nd.array(data))
        return dict(zip(self._symbol.list_outputs(), (output.asnumpy() for output in outputs), strict=True))


class PlainMTCNN:
    """MTCNN as the common MXNet implementations have it; ``keep`` as in ``Bound``."""

    def __init__(self, *, keep: bool = False) -> None:
        self._pnet, self._rnet, self._onet = (Bound(load_net(name), keep=keep) for name in NETS)

    def detect(self, image: Photo) -> tuple[Floats, Floats]:
        """Return boxes (n, 5) with their scores and landmarks (n, 5, 2)."""
        boxes = self._propose(image)
        if not len(boxes):
            return boxes, np.empty((0, 5, 2), np.float32)
        output = self._rnet(_crops(image, boxes, 24))
        kept = output["prob_output"][:, 1] > THRESHOLDS[1]
        boxes = np.column_stack([boxes[kept, :4], output["prob_output"][kept, 1]])
        moves = output["box_output"][kept]
        chosen = _nms(boxes, 0.7)
        boxes = _square(_refine(boxes[chosen], moves[chosen]))
        if not len(boxes):
            return boxes, np.empty((0, 5, 2), np.float32)
        output = self._onet(_crops(image, boxes, 48))
        kept = output["prob_output"][:, 1] > THRESHOLDS[2]
        boxes = np.column_stack([boxes[kept, :4], output["prob_output"][kept, 1]])
        points = output["landmark_output"][kept].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = boxes[:, None, :2] + points * (boxes[:, 2:4] - boxes[:, :2])[:, None]
        boxes = _refine(boxes, output["box_output"][kept])
        chosen = _nms(boxes, 0.7, smaller=True)
        return boxes[chosen], landmarks[chosen].astype(np.float32)

    def _propose(self, image: Photo) -> Floats:
        found = []
        scale = 12 / MIN_FACE
        while min(image.shape[:2]) * scale >= 12:
            height, width = (round(side * scale) for side in image.shape[:2])
            level = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            output = self._pnet(np.ascontiguousarray(level.transpose(2, 0, 1)[None], np.float32))
            # Pooling rounds up: at odd sides there is one more place, whose window reaches outside.
            probability = output["prob_output"][0, 1, : (height - 12) // 2 + 1, : (width - 12) // 2 + 1]
            rows, columns = np.nonzero(probability > THRESHOLDS[0])
            if len(rows):
                corners = np.column_stack([columns, rows, columns, rows]) * 2 + (0, 0, 12, 12)
                scores = probability[rows, columns]
                moves = output["box_output"][0][:, rows, columns].T
                boxes = np.column_stack([corners / scale, scores, moves]).astype(np.float32)
                found.append(boxes[_nms(boxes, 0.5)])
            scale *= FACTOR
        if not found:
            return np.empty((0, 5), np.float32)
        boxes = np.concatenate(found)
        boxes = boxes[_nms(boxes, 0.7)]
        return _square(_refine(boxes[:, :5], boxes[:, 5:]))


def bind_module(checkpoint: Checkpoint, batch: int) -> Callable[[Floats], dict[str, Floats]]:
    """Return what runs ``checkpoint`` in a Module on the processor: ``batch`` images in, the outputs by name out."""
    mx = load_mxnet()
    assert checkpoint.info is not None and checkpoint.info.data_shape is not None
    module = mx.mod.Module(mx.sym.load_json(checkpoint.graph.to_json()), label_names=None, context=mx.cpu())
    module.bind(data_shapes=[("data", (batch, *checkpoint.info.data_shape))], for_training=False)
    arrays = {name: mx.nd.array(array) for name, array in checkpoint.params.items()}
    args, aux = (
        {name[4:]: each for name, each in arrays.items() if name.startswith(kind)} for kind in ("arg:", "aux:")
    )
    module.set_params(args, aux)
    names = module.output_names

    def run(data: Floats) -> dict[str, Floats]:
        module.forward(mx.io.DataBatch([mx.nd.array(data)]), is_train=False)
        return dict(zip(names, (each.asnumpy() for each in module.get_outputs()), strict=True))

    return run


class OneByOne:
    """Age and gender by one Module call per face."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        assert checkpoint.info is not None and checkpoint.info.data_shape is not None
        self._side = checkpoint.info.data_shape[1]
        self._template, self._size = Template.from_json(checkpoint.info.template)
        self._run = bind_module(checkpoint, 1)

    def tell(self, image: Photo, landmarks: Floats) -> list[tuple[float, float]]:
        """Return (probability of male, age) per face."""
        found = []
        for points in landmarks:
            crop = warp(image, points, self._template, size=self._size)
            small = cv2.resize(crop, (self._side, self._side), interpolation=cv2.INTER_AREA)
            outputs = self._run(np.asarray(small.transpose(2, 0, 1)[None], np.float32))
            found.append((float(outputs["gender_softmax_output"][0, 1]), float(outputs["age_output"][0, 0])))
        return found


def _nms(boxes: Floats, overlap: float, *, smaller: bool = False) -> list[int]:
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = (-boxes[:, 4]).argsort(kind="stable")
    kept = []
    while order.size:
        first, rest = order[0], order[1:]
        kept.append(int(first))
        low, high = np.maximum(boxes[first, :2], boxes[rest, :2]), np.minimum(boxes[first, 2:4], boxes[rest, 2:4])
        shared = np.maximum(high - low, 0).prod(axis=1)
        whole = np.minimum(areas[first], areas[rest]) if smaller else areas[first] + areas[rest] - shared
        order = rest[shared <= overlap * whole]
    return kept


def _refine(boxes: Floats, moves: Floats) -> Floats:
    sides = np.tile(boxes[:, 2:4] - boxes[:, :2], 2)
    return np.column_stack([boxes[:, :4] + moves * sides, boxes[:, 4]]).astype(np.float32)


def _square(boxes: Floats) -> Floats:
    centres = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.column_stack([centres - half, centres + half, boxes[:, 4]]).astype(np.float32)


def _crops(image: Photo, boxes: Floats, side: int) -> Floats:
    batch = np.zeros((len(boxes), 3, side, side), np.float32)
    height, width = image.shape[:2]
    for place, box in zip(batch, boxes, strict=True):
        left, top = np.rint(box[:2]).astype(int)
        length = max(int(np.rint(box[2] - box[0])), 1)
        right, bottom = left + length, top + length
        crop = np.zeros((length, length, 3), np.uint8)
        rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
        inside = image[rows, columns]
        if inside.size:
            crop[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
        place[:] = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
    return batch
