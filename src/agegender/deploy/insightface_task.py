"""Our age and gender in insightface's ``FaceAnalysis``: ``app.models["genderage"] = AgeGenderTask("m50")``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.deploy.predict import Predictor
from agegender.errors import ImageError
from agegender.face.detector import Detection
from agegender.labels import FEMALE, MALE

# Where the five points of an upright face lie in a detector's box, as shares of its width and height: the mean over the
# 68 faces that MTCNN finds in a dozen group photos, made symmetric. Single faces differ from it by about a tenth of the
# width.
POINTS_IN_BOX = np.array([(0.28, 0.395), (0.72, 0.395), (0.5, 0.587), (0.295, 0.749), (0.705, 0.749)], np.float32)
_CODES = {"female": FEMALE, "male": MALE}


class AgeGenderTask:
    """A task model for ``insightface.app.FaceAnalysis`` that tells age and gender by one of our models.

    Put it in place of insightface's own, ``app.models["genderage"] = AgeGenderTask("m50")``, before or after
    ``app.prepare``. ``app.get`` then gives each face ``gender`` (0 female, 1 male, as insightface does, so that
    ``face.sex`` is F or M), ``age`` (whole years), and on top ``gender_probability``, ``age_years`` (not rounded) and
    ``age_interval`` (80%).
    """

    taskname = "genderage"

    def __init__(
        self, model: str | Path | Predictor | None = None, *, template: str | None = None, gpu_ids: str | None = None
    ) -> None:
        """Open ``model``: a name or path as ``infer.py --model`` takes it (None: the newest run, else the shipped one).

        ``template`` names the crop template of a model that doesn't know its own, ``gpu_ids`` the device (None: the
        first GPU, else the CPU). A Predictor is used as it is. Raises UsageError, CheckpointError, GraphError and
        DeviceError as ``Predictor`` does.
        """
        self._source = model
        self._template = template
        self._gpu_ids = gpu_ids
        self.predictor = model if isinstance(model, Predictor) else self._open(gpu_ids)

    def prepare(self, ctx_id: int, **kwargs: object) -> None:
        """Follow ``FaceAnalysis.prepare``: a negative ``ctx_id`` means the CPU, unless the device was named before.

        Other numbers change nothing, as insightface's own models do; so does everything in ``kwargs``.
        """
        if ctx_id < 0 and self._gpu_ids is None and not isinstance(self._source, Predictor):
            self._gpu_ids = "cpu"
            self.predictor = self._open("cpu")

    def get(self, img: npt.NDArray[np.uint8], face: Any) -> tuple[int | None, int | None]:
        """Tell the gender and age of ``face`` in ``img`` (H, W, 3) uint8 BGR; write them into it and return them.

        The crop is warped from ``face.kps`` (5, 2). A detector without landmarks leaves those None: then they are
        assumed where they lie in ``face.bbox`` (x1, y1, x2, y2) on average, upright, which costs accuracy: over 68
        faces of group photos ssrnet's ages are then 4.3 years from those with landmarks, and 96% of the genders the
        same. What the model doesn't tell stays as it was and is returned as None. Raises ImageError where neither
        determines a crop.
        """
        box = np.asarray(face.bbox, np.float32)[:4]
        points = getattr(face, "kps", None)
        landmarks = _from_box(box) if points is None else np.asarray(points, np.float32)
        score = getattr(face, "det_score", None)
        detection = Detection(box, landmarks, 1.0 if score is None else float(score))
        crops = self.predictor.reader.crop(np.ascontiguousarray(img[..., ::-1]), [detection])
        [found] = self.predictor.predict_crops(crops, [detection])
        gender = None if found.gender is None else _CODES[found.gender]
        age = None if found.age is None else round(found.age)
        told = {
            "gender": gender,
            "age": age,
            "gender_probability": found.gender_probability,
            "age_years": found.age,
            "age_interval": found.age_interval,
        }
        for name, value in told.items():
            if value is not None:
                face[name] = value
        return gender, age

    def _open(self, gpu_ids: str | None) -> Predictor:
        assert not isinstance(self._source, Predictor)
        return Predictor(self._source, detector="none", template=self._template, gpu_ids=gpu_ids)


def _from_box(box: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return where the five points (5, 2) of an upright face lie in ``box`` (4,) on average."""
    sides = box[2:] - box[:2]
    if not (np.isfinite(box).all() and (sides > 0).all()):
        raise ImageError(f"box {box.round(1).tolist()} holds no face")
    return np.asarray(box[:2] + POINTS_IN_BOX * sides, np.float32)
