"""From photos to faces with age and gender."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from agegender.calibration import check_min_confidence, is_confident
from agegender.deploy.detectors import open_detector
from agegender.deploy.face import Face
from agegender.deploy.net import FaceReader
from agegender.deploy.open_net import open_reader
from agegender.errors import UsageError
from agegender.face.detector import Detection, Detector
from agegender.face.photo import read_photo
from agegender.graph.lookup import ModelRef
from agegender.labels import FEMALE, MALE
from agegender.readout import Reading

Photo = npt.NDArray[np.uint8]
GENDERS = {FEMALE: "female", MALE: "male"}
# Faces that go through a net at once, so that memory stays flat however many a photo or a list of photos has.
_BATCH = 64


class Predictor:
    """Finds faces, warps them to the template that the model was trained on, and tells age and gender.

    ::

        from agegender import Predictor
        predictor = Predictor("m50")
        faces = predictor.predict("party.jpg")      # a path, or pixels: (H, W, 3) uint8 RGB
        pages = predictor.predict([first, second])  # a list of faces for each photo
    """

    def __init__(
        self,
        model: str | Path | ModelRef | FaceReader | None = None,
        *,
        detector: str | Detector | None = "mtcnn",
        det_model: str | None = None,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8),
        det_threshold: float = 0.5,
        min_face: float = 20,
        template: str | None = None,
        age_model: str | Path | None = None,
        gender_model: str | Path | None = None,
        min_confidence: float = 0.0,
        engine: str = "auto",
        gpu_ids: str | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        mc_dropout: int | None = None,
        seed: int = 0,
    ) -> None:
        """Open ``model``: a name, ``PREFIX,EPOCH``, a path or an exported .onnx file, as ``infer.py --model`` takes it.

        None is the newest run in ``runs``, else the shipped model. ``age_model`` and ``gender_model`` together take the
        place of ``model``. ``detector`` is one of ``DETECTORS`` (with ``det_model``, ``thresholds`` for mtcnn,
        ``det_threshold`` for the others, ``min_face`` in pixels) or a detector itself; with "none" or None each photo
        is a crop in the model's template. ``template`` names the template of a model that doesn't know its own. A
        gender whose probability is below ``min_confidence`` is not told. ``engine`` is auto (ONNX Runtime where it is
        installed), onnxruntime, mxnet or torch, on the device ``gpu_ids`` (None: the first GPU, else the CPU) or on
        ONNX Runtime's own ``providers``, with ``threads`` threads (None: as many as there are cores).

        ``mc_dropout`` asks the net so many times (32, say) with dropout left on, which ``seed`` draws: faces then have
        the mean answer, ``age_deviation``, ``age_entropy`` and ``gender_entropy`` (Gal & Ghahramani, ICML 2016). The
        interval and the embedding stay those of the plain net.

        Raises UsageError for names that don't exist and values out of range, CheckpointError and GraphError for models
        that can't be used, DeviceError for a GPU or library that isn't there.
        """
        check_min_confidence(min_confidence)
        how: dict[str, Any] = {"engine": engine, "gpu_ids": gpu_ids, "providers": providers, "threads": threads}
        how |= {"mc_dropout": mc_dropout, "seed": seed}
        self.reader = open_reader(model, age=age_model, gender=gender_model, template=template, **how)
        self.template, self.template_size = self.reader.template, self.reader.template_size
        self.min_confidence = min_confidence
        if isinstance(detector, str):
            self.detector = open_detector(
                detector,
                model=det_model,
                thresholds=thresholds,
                threshold=det_threshold,
                min_face=min_face,
                engine=engine,
                gpu_ids=gpu_ids,
                threads=threads,
            )
        else:
            self.detector = detector

    # A str is a sequence of str as well: the first of the two counts.
    @overload
    def predict(self, images: Photo | str | Path) -> list[Face]: ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, images: Sequence[Photo | str | Path]) -> list[list[Face]]: ...

    def predict(self, images: Photo | str | Path | Sequence[Photo | str | Path]) -> list[Face] | list[list[Face]]:
        """Return the faces of a photo, best score first, or a list of faces for each of several.

        A photo is (H, W, 3) uint8 RGB or the path of a file, read and turned upright by ``face.photo.read_photo``;
        several are a sequence of either, or an array (N, H, W, 3) uint8 RGB. All faces, of all photos, go through the
        net together. Raises ImageError for a file that can't be read or is no picture, UsageError for anything else.
        """
        if isinstance(images, str | Path) or (isinstance(images, np.ndarray) and images.ndim != 4):
            return self._predict_all([_as_photo(images)])[0]
        if isinstance(images, bytes) or not isinstance(images, Iterable):
            raise _no_photo(images)
        return self._predict_all([_as_photo(image) for image in images])

    def predict_crops(self, crops: Sequence[Any], detections: Sequence[Detection]) -> list[Face]:
        """Return the faces of ``crops``; ``detections`` go along.

        A crop is what ``reader.crop`` gives, or (h, w, 3) uint8 RGB in the model's template.
        """
        faces: list[Face] = []
        for start in range(0, len(crops), _BATCH):
            reading = self.reader.read(crops[start : start + _BATCH])
            part = detections[start : start + _BATCH]
            faces += [self._face(reading, row, detection) for row, detection in enumerate(part)]
        return faces

    def _predict_all(self, images: Sequence[Photo]) -> list[list[Face]]:
        found = [[self.whole(image)] if self.detector is None else self.detector.detect(image) for image in images]
        crops: list[Any] = []
        for image, detections in zip(images, found, strict=True):
            crops += self.reader.crop(image, None if self.detector is None else detections)
        faces = iter(self.predict_crops(crops, [detection for detections in found for detection in detections]))
        return [[next(faces) for _ in detections] for detections in found]

    def _face(self, reading: Reading, row: int, detection: Detection) -> Face:
        genders = None if reading.gender is None else reading.gender[row]
        likelier = None if genders is None else int(genders.argmax())
        told = genders is not None and bool(is_confident(genders, self.min_confidence))
        ends = None if reading.interval is None else reading.interval[row]
        unsure = {} if reading.doubt is None else reading.doubt.of(row)
        return Face(
            box=detection.box,
            landmarks=detection.landmarks,
            score=detection.score,
            gender=GENDERS[likelier] if told and likelier is not None else None,
            gender_probability=None if genders is None or likelier is None else float(genders[likelier]),
            age=None if reading.age is None else float(reading.age[row]),
            age_interval=None if ends is None else (float(ends[0]), float(ends[1])),
            age_distribution=None if reading.distribution is None else reading.distribution[row],
            embedding=None if reading.embedding is None else reading.embedding[row],
            **unsure,
        )

    def whole(self, image: Photo) -> Detection:
        """Return the one face of a photo that is a crop in the model's template: all of it."""
        height, width = image.shape[:2]
        points = np.array(self.template.points) * (width, height)
        return Detection(np.array([0, 0, width, height], np.float32), points.astype(np.float32), 1.0)


def _as_photo(image: Photo | str | Path) -> Photo:
    """Return a photo (H, W, 3) uint8 RGB as it is, or read from its path. Raises ImageError and UsageError."""
    if isinstance(image, str | Path):
        return read_photo(image)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise _no_photo(image)
    return image


def _no_photo(value: object) -> UsageError:
    given = type(value).__name__
    if isinstance(value, np.ndarray):
        given = f"an array {value.shape} {value.dtype}"
    return UsageError(f"a photo is a path or an array (H, W, 3) uint8 RGB, not {given}")
