"""Detectors by name. Importing this loads neither numpy nor cv2, so that the command line can list them at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agegender.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from agegender.face.detector import Detector

DETECTORS = ("mtcnn", "retinaface", "scrfd", "none")


def open_detector(
    name: str,
    *,
    model: str | None = None,
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8),
    threshold: float = 0.5,
    min_face: float = 20,
    engine: str = "auto",
    gpu_ids: str | None = None,
    threads: int | None = None,
) -> Detector | None:
    """Return the detector called ``name``; None for "none", where photos are crops already.

    ``mtcnn`` takes ``thresholds``, one for each of its three networks, and the shipped weights or those in the folder
    ``model``. ``scrfd`` and ``retinaface`` take ``threshold`` and as ``model`` an .onnx file, the folder of a model
    pack or its name in ~/.insightface/models, by default buffalo_l; ``retinaface`` also an MXNet checkpoint of old
    (``R50,0``). ``min_face`` is the side in pixels of the smallest face. ``engine`` runs MTCNN and checkpoints; .onnx
    files run on ONNX Runtime. ``gpu_ids`` None is the processor for mtcnn, whose many sizes suit it better, else the
    first GPU if there is one. ``threads`` are MTCNN's.

    Raises UsageError for an unknown name, numbers out of range and a model that isn't there (with where to get one),
    CheckpointError and GraphError for a model that can't be used, DeviceError for a library or GPU that isn't there.
    """
    if name not in DETECTORS:
        hint = did_you_mean(name, DETECTORS)
        raise UsageError(f"unknown detector {name!r}{hint} ({', '.join(DETECTORS)})")
    if name == "none":
        return None
    if name == "mtcnn":
        from agegender.deploy.mtcnn import open_mtcnn

        weights = None if model is None else Path(model).expanduser()
        return open_mtcnn(
            weights,
            thresholds=thresholds,
            min_face=min_face,
            engine=engine,
            gpu_ids=gpu_ids or "cpu",
            threads=threads,
        )
    if model is not None and _is_checkpoint(model):
        if name == "scrfd":
            raise UsageError(f"{model} is a checkpoint of MXNet: SCRFD comes as .onnx; --detector retinaface takes it")
        from agegender.deploy.retinaface import open_retinaface

        return open_retinaface(model, threshold=threshold, min_face=min_face, engine=engine, gpu_ids=gpu_ids)
    from agegender.deploy.insight_detector import open_insight_detector

    return open_insight_detector(model, threshold=threshold, min_face=min_face, gpu_ids=gpu_ids)


def _is_checkpoint(model: str) -> bool:
    """Tell whether ``model`` names a checkpoint (``PREFIX,EPOCH``, PREFIX, one of its files, its folder)."""
    if model.endswith(".onnx"):
        return False
    if "," in model or model.endswith(("-symbol.json", ".params")):
        return True
    path = Path(model).expanduser()
    if path.is_dir():
        return any(path.glob("*-symbol.json")) and not any(path.glob("*.onnx"))
    return bool(path.name) and path.with_name(path.name + "-symbol.json").is_file()
