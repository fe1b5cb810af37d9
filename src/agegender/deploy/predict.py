"""From a photo to faces with age and gender."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agegender.age_distribution import age_interval
from agegender.deploy.face import Face
from agegender.deploy.mtcnn import open_mtcnn
from agegender.errors import CheckpointError, UsageError
from agegender.executor import open_executor
from agegender.executor.base import Executor
from agegender.executor.choice import choose_engine
from agegender.face.align import warp
from agegender.face.detector import Detection, Detector
from agegender.face.preprocess import resize_crop, to_input
from agegender.face.templates import TEMPLATES, Template, get_template
from agegender.graph.checkpoint import Checkpoint, ModelInfo, load_checkpoint
from agegender.labels import FEMALE, MALE

DETECTORS = ("mtcnn", "none")
# The size of crops in a set, where a model doesn't say; both templates were measured at about it.
_USUAL_SIZE = 112
GENDERS = {FEMALE: "female", MALE: "male"}


class Predictor:
    """Finds faces, warps them to the template that the model was trained on, and tells age and gender.

    Without a ``detector`` each photo is taken for a crop in the model's template. ``template`` names the template of a
    model that doesn't know its own. Raises CheckpointError where the checkpoint doesn't say (``prefix.json``) what its
    input is, UsageError where its template is unknown or another than ``template``.
    """

    def __init__(
        self, checkpoint: Checkpoint, executor: Executor, detector: Detector | None, *, template: str | None = None
    ) -> None:
        info = checkpoint.info
        name = checkpoint.prefix.with_name(checkpoint.prefix.name + ".json")
        if info is None:
            raise CheckpointError(
                f"{name} does not exist: without it nobody knows which crops the model was trained on, its input size "
                "or what its outputs mean (old checkpoints can seed a training: train.py --pretrained)"
            )
        if info.data_shape is None:
            raise CheckpointError(f"{name} lacks the input shape of the model")
        self.template, self.template_size = _template(info, name, wanted=template)
        self.input_size = info.data_shape[1:]
        self.task = info.task
        self.detector = detector
        self._executor = executor

    def predict(self, image: npt.NDArray[np.uint8]) -> list[Face]:
        """Return the faces of ``image`` (H, W, 3) uint8 RGB, best score first; all go through the net in one batch."""
        if self.detector is None:
            detections = [self._whole(image)]
            crops = [resize_crop(image, (self.template_size, self.template_size))]
        else:
            detections = self.detector.detect(image)
            crops = [warp(image, found.landmarks, self.template, size=self.template_size) for found in detections]
        return self.predict_crops(crops, detections) if crops else []

    def predict_crops(self, crops: Sequence[npt.NDArray[np.uint8]], detections: Sequence[Detection]) -> list[Face]:
        """Return the faces of ``crops``, each (h, w, 3) uint8 RGB in the model's template; ``detections`` go along."""
        batch = np.stack([resize_crop(crop, self.input_size) for crop in crops])
        outputs = self._executor.forward(to_input(batch))
        return [self._face(outputs, row, detection) for row, detection in enumerate(detections)]

    def _face(self, outputs: dict[str, npt.NDArray[np.float32]], row: int, detection: Detection) -> Face:
        genders = outputs["gender_softmax_output"][row] if self.task != "age" else None
        years = float(outputs["age_output"][row, 0]) if self.task != "gender" else None
        mass = outputs["age_softmax_output"][row] if years is not None and "age_softmax_output" in outputs else None
        gender = None if genders is None else int(genders.argmax())
        return Face(
            box=detection.box,
            landmarks=detection.landmarks,
            score=detection.score,
            gender=None if gender is None else GENDERS[gender],
            gender_probability=None if genders is None else float(genders[gender]),
            age=years,
            age_interval=None if mass is None else _interval(mass),
            age_distribution=mass,
        )

    def _whole(self, image: npt.NDArray[np.uint8]) -> Detection:
        height, width = image.shape[:2]
        points = np.array(self.template.points) * (width, height)
        return Detection(np.array([0, 0, width, height], np.float32), points.astype(np.float32), 1.0)


def _template(info: ModelInfo, name: Path, *, wanted: str | None) -> tuple[Template, int]:
    """Return the template that the model was trained in and its size; ``wanted`` where the model doesn't say."""
    if not info.template:
        if wanted is None:
            raise UsageError(
                f"{name} doesn't say which crops the model was trained on; name them: --template {'|'.join(TEMPLATES)}"
            )
        return get_template(wanted), _USUAL_SIZE
    try:
        template, size = Template.from_json(info.template)
    except UsageError as error:
        raise CheckpointError(f"{name}: {error}") from error
    if wanted not in (None, template.name):
        raise UsageError(f"the model was trained on {template.name!r} crops ({name}), not on {wanted!r}")
    return template, size


def _interval(mass: npt.NDArray[np.float32]) -> tuple[float, float]:
    low, high = age_interval(mass[None])[0]
    return float(low), float(high)


def open_predictor(
    prefix: Path | str,
    epoch: int | str | None = None,
    *,
    detector: str = "mtcnn",
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8),
    min_face: float = 20,
    template: str | None = None,
    gpu_ids: str | None = None,
) -> Predictor:
    """Return a predictor on the checkpoint ``prefix`` at ``epoch`` (None: the best).

    ``template`` names the crop template of a model that doesn't know its own.
    ``detector`` is "mtcnn", or "none" for photos that are crops already. ``gpu_ids`` None means the first GPU, else the
    CPU, for the model, and the CPU for the detector, whose many sizes suit it better. Raises UsageError for an unknown
    detector, CheckpointError and GraphError for a checkpoint that can't be used, DeviceError for a GPU that isn't
    there.
    """
    if detector not in DETECTORS:
        raise UsageError(f"unknown detector {detector!r} ({', '.join(DETECTORS)})")
    if template is not None:
        get_template(template)
    checkpoint = load_checkpoint(prefix, epoch)
    engine, _ = choose_engine("auto", gpu_ids)
    executor = open_executor(checkpoint, engine=engine, gpu_ids=gpu_ids)
    finder = None
    if detector == "mtcnn":
        finder = open_mtcnn(thresholds=thresholds, min_face=min_face, gpu_ids=gpu_ids or "cpu")
    return Predictor(checkpoint, executor, finder, template=template)
