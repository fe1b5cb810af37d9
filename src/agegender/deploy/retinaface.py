"""RetinaFace (Deng et al., CVPR 2020) as insightface released it for MXNet: R50-0000.params and its kind."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.deploy.boxes import Floats
from agegender.deploy.letterbox import checked_min_face, checked_threshold, detection_scale, distinct_faces, letterbox
from agegender.errors import CheckpointError, UsageError
from agegender.executor import open_executor
from agegender.executor.base import Executor
from agegender.executor.choice import choose_executor
from agegender.face.detector import Detection
from agegender.face.preprocess import to_input
from agegender.graph.checkpoint import Checkpoint, load_checkpoint, params_path
from agegender.graph.lookup import find_model

Arrays = dict[str, npt.NDArray[Any]]

# Per stride the sides of its two anchors, squares: base size 16 times the scales 32 and 16, 8 and 4, 2 and 1.
ANCHORS = {32: (512, 256), 16: (128, 64), 8: (32, 16)}
WHERE_FROM = (
    "https://github.com/deepinsight/insightface/tree/master/detection/RetinaFace links RetinaFace-R50, for "
    "non-commercial research only; nothing is downloaded for you"
)

_LARGEST_ANCHOR = 512
_PER_CELL = 2
# A box grows to at most this multiple of its anchor, as in Detectron: exp of a stray output would overflow.
_MOST_GROWTH = math.log(1000 / 16)
# The mask-aware variant (mnet_cov2) also says what is worn, and its landmarks come divided by this.
_MASK_OUTPUT = "face_rpn_type_prob_reshape_stride32_output"
_MASK_LANDMARKS = 0.2
_KINDS = ("cls_prob_reshape", "bbox_pred", "landmark_pred")


def output_names(stride: int) -> tuple[str, str, str]:
    """Return the names of a stride's outputs: probabilities, box offsets, landmark offsets."""
    scores, boxes, landmarks = (f"face_rpn_{kind}_stride{stride}_output" for kind in _KINDS)
    return scores, boxes, landmarks


class RetinaFace:
    """Finds faces and five landmarks in one pass over the photo, at one scale.

    ``threshold`` is the least face probability, ``min_face`` the longer side in pixels of the smallest face,
    ``largest`` the longer side of what the network is shown. ``mask_aware`` says that the network is of the kind that
    also tells masks (mnet_cov2). Raises UsageError where these are out of range.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        threshold: float = 0.5,
        min_face: float = 20,
        largest: int = 1600,
        mask_aware: bool = False,
    ) -> None:
        if largest < _LARGEST_ANCHOR:
            raise UsageError(f"the largest side {largest} is below {_LARGEST_ANCHOR} pixels, the largest anchor")
        self.threshold = checked_threshold(threshold)
        self.min_face = checked_min_face(min_face)
        self.largest = largest
        self._executor = executor
        self._landmark_unit = _MASK_LANDMARKS if mask_aware else 1.0

    def detect(self, image: npt.NDArray[np.uint8], *, min_face: float | None = None) -> list[Detection]:
        """Return the faces of ``image`` (H, W, 3) uint8 RGB, best score first.

        A photo whose longer side is more than ``largest`` pixels is seen smaller. Raises CheckpointError where the
        network's outputs aren't those of RetinaFace with two anchors per cell.
        """
        smallest = self.min_face if min_face is None else checked_min_face(min_face)
        scale = detection_scale(image.shape, min_face=smallest, largest=self.largest)
        fitted = letterbox(image, scale, multiple=max(ANCHORS))
        outputs = self._executor.forward(to_input(fitted.picture[None]))
        found = [self._read_stride(outputs, stride) for stride in ANCHORS]
        boxes = np.concatenate([boxes for boxes, _, _ in found]) / np.tile(fitted.scale, 2)
        # Landmarks are counted from the middle of the first pixel, boxes from its edge.
        points = (np.concatenate([points for _, points, _ in found]) + 0.5) / fitted.scale - 0.5
        scores = np.concatenate([scores for _, _, scores in found])
        return distinct_faces(boxes.astype(np.float32), points.astype(np.float32), scores, min_face=smallest)

    def _read_stride(self, outputs: Arrays, stride: int) -> tuple[Floats, Floats, Floats]:
        """Return boxes (n, 4), landmarks (n, 5, 2) and scores (n,) that one stride is sure of, in the picture."""
        # The probabilities of all anchors to be background come first.
        probability = _of_cells(outputs, output_names(stride)[0], 1, skip=_PER_CELL)[..., 0]
        row, column, anchor = np.nonzero(probability >= self.threshold)
        moves = _of_cells(outputs, output_names(stride)[1], 4)[row, column, anchor]
        points = _of_cells(outputs, output_names(stride)[2], 10)[row, column, anchor].reshape(-1, 5, 2)
        sides = np.array(ANCHORS[stride], np.float32)[anchor, None]
        # All anchors are centred in the middle of a 16 x 16 window at the cell's corner, whatever the stride.
        centres = np.stack([column, row], axis=1) * np.float32(stride) + 8
        middles = centres + moves[:, :2] * sides
        halves = np.exp(np.minimum(moves[:, 2:], _MOST_GROWTH)) * sides / 2
        boxes = np.concatenate([middles - halves, middles + halves], axis=1)
        landmarks = points * (self._landmark_unit * sides[:, None]) + (centres[:, None] - 0.5)
        return boxes, landmarks, probability[row, column, anchor]


def _of_cells(outputs: Arrays, name: str, length: int, *, skip: int = 0) -> Floats:
    """Return an output (1, channels, h, w) as (h, w, anchors, ``length``), without its first ``skip`` channels."""
    values = np.asarray(outputs[name], np.float32)
    channels = skip + _PER_CELL * length
    if values.ndim != 4 or values.shape[1] != channels:
        raise CheckpointError(
            f"{name} has shape {values.shape}; RetinaFace with {_PER_CELL} anchors per cell has {channels} channels"
        )
    height, width = values.shape[2:]
    return values[0, skip:].transpose(1, 2, 0).reshape(height, width, _PER_CELL, length)


def open_retinaface(
    model: str | Path,
    *,
    threshold: float = 0.5,
    min_face: float = 20,
    largest: int = 1600,
    engine: str = "auto",
    gpu_ids: str | None = None,
) -> RetinaFace:
    """Return RetinaFace on the checkpoint ``model``: ``PREFIX,EPOCH`` (``R50,0``), a prefix, a file of it, its folder.

    ``engine`` and ``gpu_ids`` say what runs it and where (``executor.choice``). Raises UsageError where there is no
    such checkpoint, CheckpointError where it is damaged or no RetinaFace of strides 32, 16 and 8 with landmarks,
    GraphError and DeviceError where the engine can't run it.
    """
    try:
        found = find_model(str(model))
    except UsageError as error:
        raise UsageError(f"{error}. {WHERE_FROM}") from None
    checkpoint = load_checkpoint(found.prefix, found.epoch)
    there = checkpoint.graph.outputs()
    checkpoint = _detection_part(checkpoint)
    chosen, _ = choose_executor(engine, gpu_ids)
    executor = open_executor(checkpoint, engine=chosen, gpu_ids=gpu_ids, free_size=True)
    return RetinaFace(
        executor, threshold=threshold, min_face=min_face, largest=largest, mask_aware=_MASK_OUTPUT in there
    )


def _detection_part(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint cut to the outputs that are read. Raises CheckpointError where one is missing."""
    wanted = [name for stride in ANCHORS for name in output_names(stride)]
    there = checkpoint.graph.outputs()
    missing = [name for name in wanted if name not in there]
    if missing:
        raise CheckpointError(
            f"{params_path(checkpoint.prefix, checkpoint.epoch)} is no RetinaFace with landmarks: its graph lacks "
            f"the output {missing[0]} (it has {', '.join(there[:3])}{' ...' if len(there) > 3 else ''})"
        )
    return Checkpoint(
        checkpoint.prefix, checkpoint.epoch, checkpoint.graph.select(wanted), checkpoint.params, checkpoint.info
    )
