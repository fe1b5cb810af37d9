"""SCRFD and RetinaFace in ONNX files, run by ``insightface.model_zoo`` on the user's own file or model pack."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from agegender.deploy.letterbox import (
    OVERLAP,
    Letterbox,
    checked_min_face,
    checked_threshold,
    detection_scale,
    distinct_faces,
    letterbox,
)
from agegender.errors import CheckpointError, DeviceError, UsageError
from agegender.executor.onnx_runtime import choose_providers, load_onnxruntime, session_options
from agegender.face.detector import Detection

# Where insightface keeps its packs, and the one that it takes by default.
PACKS = Path("~/.insightface/models")
USUAL_PACK = "buffalo_l"
WHERE_FROM = (
    "https://github.com/deepinsight/insightface/tree/master/model_zoo has them, insightface's own for non-commercial "
    "research only; nothing is downloaded for you"
)

# The longer side of a second, small look at the photo, for faces that fill it: those that are at least this share of
# the photo's longer side are taken from it as well.
_OVERVIEW, _OVERVIEW_SHARE = 128, 1 / 3
# By the number of outputs (probabilities, boxes and landmarks of each stride): the coarsest stride.
_COARSEST = {9: 32, 15: 128}
_LENGTHS = (1, 4, 10)


class _Model(Protocol):
    """What is used of insightface's ``SCRFD`` and ``RetinaFace``."""

    taskname: str
    output_names: list[str]
    input_shape: list[int | str]
    session: Any

    def detect(self, img: npt.NDArray[np.uint8], *, input_size: tuple[int, int]) -> tuple[Any, Any]: ...

    def prepare(self, ctx_id: int, *, det_thresh: float, nms_thresh: float) -> None: ...


class InsightDetector:
    """Finds faces and five landmarks with a detection model of insightface's.

    ``model`` is what ``insightface.model_zoo.get_model`` returns, ``threshold`` the least face probability,
    ``min_face`` the longer side in pixels of the smallest face, ``largest`` the longer side of what the network is
    shown, unless it takes one size only. Errors name ``source``. Raises CheckpointError for a model that finds no faces
    or no landmarks, UsageError where the numbers are out of range.
    """

    def __init__(
        self,
        model: _Model,
        *,
        threshold: float = 0.5,
        min_face: float = 20,
        largest: int = 1280,
        source: Path | str = "the model",
    ) -> None:
        _check_outputs(model, source)
        self.min_face = checked_min_face(min_face)
        self.threshold = checked_threshold(threshold)
        self.largest = largest
        self._model = model
        self._multiple = _COARSEST[len(model.output_names)]
        height, width = model.input_shape[2:]
        self._fixed = (width, height) if isinstance(height, int) and isinstance(width, int) else None
        model.prepare(0, det_thresh=self.threshold, nms_thresh=OVERLAP)

    def detect(self, image: npt.NDArray[np.uint8], *, min_face: float | None = None) -> list[Detection]:
        """Return the faces of ``image`` (H, W, 3) uint8 RGB, best score first.

        A model of one input size sees the whole photo at that size, any other at a scale that ``min_face`` asks for,
        and a second time very small, for faces that fill the photo.
        """
        smallest = self.min_face if min_face is None else checked_min_face(min_face)
        looks = [self._look(fitted) for fitted in self._pictures(image, smallest)]
        if len(looks) > 1:
            sides = (looks[1][0][:, 2:] - looks[1][0][:, :2]).max(axis=1)
            filling = sides >= _OVERVIEW_SHARE * max(image.shape[:2])
            looks[1] = (looks[1][0][filling], looks[1][1][filling], looks[1][2][filling])
        boxes, points, scores = (np.concatenate(values) for values in zip(*looks, strict=True))
        return distinct_faces(boxes, points, scores, min_face=smallest)

    def _pictures(self, image: npt.NDArray[np.uint8], min_face: float) -> list[Letterbox]:
        if self._fixed is not None:
            return [letterbox(image, 1, canvas=self._fixed)]
        scale = detection_scale(image.shape, min_face=min_face, largest=self.largest)
        longer = max(image.shape[:2])
        scales = [scale, _OVERVIEW / longer] if longer * scale > 2 * _OVERVIEW else [scale]
        return [letterbox(image, each, multiple=self._multiple) for each in scales]

    def _look(
        self, fitted: Letterbox
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return boxes (n, 4), landmarks (n, 5, 2) and scores (n,) in one picture, in the photo's pixels."""
        height, width = fitted.picture.shape[:2]
        # insightface's models take BGR, as OpenCV reads it. The picture has the input's size: nothing is scaled there.
        found, points = self._model.detect(np.ascontiguousarray(fitted.picture[..., ::-1]), input_size=(width, height))
        boxes = (found[:, :4] / np.tile(fitted.scale, 2)).astype(np.float32)
        return boxes, (points / fitted.scale).astype(np.float32), found[:, 4].astype(np.float32)


def open_insight_detector(
    model: str | Path | None = None,
    *,
    threshold: float = 0.5,
    min_face: float = 20,
    gpu_ids: str | None = None,
) -> InsightDetector:
    """Return the detector in ``model``: an .onnx file, the folder of a model pack, or a pack's name.

    Packs are looked for in ``~/.insightface/models``; None is ``buffalo_l`` there. ONNX Runtime runs it on the first
    GPU of ``gpu_ids`` (None: where its build has CUDA and there is one, else the processor). Raises UsageError where
    the file isn't there, CheckpointError where it is damaged, finds no faces or tells no landmarks, DeviceError where
    insightface or a GPU is missing.
    """
    path = find_insight_model(model)
    _check_installed()
    if path.is_dir():
        path, loaded = _of_pack(path, gpu_ids)
    else:
        loaded = _load(path, gpu_ids)
    return InsightDetector(loaded, threshold=threshold, min_face=min_face, source=path)


def find_insight_model(model: str | Path | None = None) -> Path:
    """Return the file or folder that ``model`` means (see ``open_insight_detector``). Raises UsageError for none."""
    path = Path(USUAL_PACK if model is None else model).expanduser()
    packs = PACKS.expanduser()
    for place in (path, packs / path) if len(path.parts) == 1 else (path,):
        if place.is_file() or (place.is_dir() and any(place.glob("*.onnx"))):
            return place
    if model is None:
        raise UsageError(
            f"this detector needs a model: --det_model FILE.onnx or the folder of a model pack ({packs / USUAL_PACK}, "
            f"the usual one, isn't there). {WHERE_FROM}"
        )
    problem = f"{path} holds no .onnx file" if path.is_dir() else f"{path} does not exist"
    raise UsageError(f"{problem}. {WHERE_FROM}")


def _of_pack(folder: Path, gpu_ids: str | None) -> tuple[Path, _Model]:
    """Return the detection model of a pack, and its file."""
    from insightface import model_zoo

    if getattr(model_zoo, "has_model_package_manifest", lambda _: False)(folder):
        return folder, _load(folder, gpu_ids, model_task="detection")

    def likely(file: Path) -> tuple[bool, int]:
        """Those called so first, then small ones: recognition has ten times the size."""
        return not file.name.startswith(("det", "scrfd", "retina")), file.stat().st_size

    files = sorted(folder.glob("*.onnx"), key=likely)
    for file in files:
        loaded = _load(file, gpu_ids)
        if getattr(loaded, "taskname", None) == "detection":
            return file, loaded
    names = ", ".join(file.name for file in files)
    raise CheckpointError(f"{folder} holds no face detector: {names}. {WHERE_FROM}")


def _load(path: Path, gpu_ids: str | None, **options: Any) -> _Model:
    """Open one file. Of insightface's kinds of models it gets the class that the outputs suggest."""
    from insightface import model_zoo

    providers, options["sess_options"] = choose_providers(gpu_ids), session_options()
    try:
        # Some versions print what they load; standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            # One session for all sizes: else each new size of a photo opens one of its own, and keeps it.
            model: _Model = model_zoo.get_model(str(path), providers=providers, static_shape_sessions=False, **options)
    except Exception as error:
        # ONNX Runtime's errors have no base of their own.
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path}: insightface can't load it: {reason}") from error
    return model


def _check_installed() -> None:
    if importlib.util.find_spec("insightface") is None:
        raise DeviceError(
            "detectors in ONNX files need insightface, which is not installed here: pip install insightface"
        )
    load_onnxruntime()


def _check_outputs(model: _Model | None, source: Path | str) -> None:
    """Compare what the model puts out with what insightface decodes. Raises CheckpointError, which names ``source``."""
    if model is None or getattr(model, "taskname", None) != "detection":
        kind = "of no kind that insightface knows" if model is None else f"for {model.taskname}"
        raise CheckpointError(f"{source} is no face detector: it is {kind}")
    count = len(model.output_names)
    if count in (6, 10):
        raise CheckpointError(
            f"{source} tells no landmarks, without which no face can be aligned: take a *_bnkps model"
        )
    if count not in _COARSEST:
        raise CheckpointError(f"{source} has {count} outputs; SCRFD with landmarks has 9 or 15")
    strides = count // len(_LENGTHS)
    for place, output in enumerate(model.session.get_outputs()):
        length = _LENGTHS[place // strides]
        last = output.shape[-1] if output.shape else None
        if len(output.shape) not in (2, 3) or (isinstance(last, int) and last != length):
            raise CheckpointError(
                f"{source} is laid out otherwise than SCRFD: output {output.name} has shape {output.shape}, "
                f"not (n, {length})"
            )
