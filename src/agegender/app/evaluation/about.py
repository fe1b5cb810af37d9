"""What a report says about itself: the model, the data and how it was divided, the run, the versions."""

from __future__ import annotations

import csv
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender import __version__
from agegender.files import sha256_file
from agegender.pipeline.set_info import SetInfo, read_set_info
from agegender.recordio import find_shards
from agegender.recordio.shards import set_json

if TYPE_CHECKING:
    from agegender.app.evaluation.faces import Losses
    from agegender.app.evaluation.model import EvalModel
    from agegender.calibration import Calibration
    from agegender.report import Faces

PARTS = ("train", "val", "test")
# What computes with each engine.
_ENGINES = {"mxnet": "mxnet", "torch": "torch", "onnxruntime": "onnxruntime"}
_LIBRARIES = ("numpy", "scikit-learn", "matplotlib", "Jinja2", "opencv-python", "simplejpeg")


@dataclass(frozen=True, kw_only=True)
class Run:
    """How the faces were scored: ``seconds`` of wall time on ``engine``, with mirror images or not; the command."""

    seconds: float
    engine: str
    flip: bool
    command: str


def facts(
    faces: Faces, *, model: EvalModel, data: Path, run: Run, calibration: Calibration, losses: Losses
) -> dict[str, Any]:
    """Return what report.json has under ``about``. ``data`` is a list file, or records; reads the CSVs beside those."""
    info = read_set_info(data) if is_records(data) else None
    return {
        "model": _model(model, calibration, info),
        "data": _data(data, info),
        "subjects": _subjects(faces.names["subject"], data),
        "left_out": {"not_found": len(losses.not_found), "skipped": len(losses.skipped)},
        "speed": {"faces": len(faces), "seconds": round(run.seconds, 2), "engine": run.engine, "flip": run.flip},
        "command": run.command,
        "versions": _versions(run.engine),
    }


def is_records(path: Path) -> bool:
    """Tell whether ``--data`` names records (a .rec, or a pattern of shards) rather than a list."""
    return path.suffix == ".rec" or "*" in path.name


def _model(model: EvalModel, calibration: Calibration, info: SetInfo | None) -> dict[str, Any]:
    params = [path for path in model.files if path.suffix in (".params", ".onnx")]
    learned = {} if model.info is None else dict(model.info.data.get("sha256") or {})
    beside = None if info is None else read_set_info(info.path.with_name("train.rec"))
    there = {} if beside is None else {name: sha for name, sha in beside.sha256.items() if name.endswith(".rec")}
    known = bool(there) and all(name in learned for name in there)
    return {
        "name": model.prefix.name,
        "epoch": model.epoch,
        "sha256": {path.name: sha256_file(path) for path in params if path.is_file()},
        "learned_from_sibling": all(learned[name] == sha for name, sha in there.items()) if known else None,
        "temperature": None if calibration.epoch is None and calibration.empty else calibration.gender_temperature,
    }


def _data(data: Path, info: SetInfo | None) -> dict[str, Any]:
    files = find_shards(data)
    if info is not None and len(files) > 1:
        digests = {file.name: info.sha256[file.name] for file in files if file.name in info.sha256}
    else:
        digests = {file.name: sha256_file(file) for file in files}
    return {
        "path": data.as_posix(),
        "list": not is_records(data),
        "sha256": digests,
        "split": "" if info is None else info.split,
        "split_rule": {} if info is None else info.raw.get("split_rule") or {},
    }


def _subjects(subjects: Sequence[str], data: Path) -> dict[str, Any]:
    """Return how many faces have a subject, and how many of these people the other parts beside the set hold too."""
    people = {name for name in subjects if name}
    compared, shared = [], set[str]()
    if people and is_records(data):
        own = set_json(find_shards(data)[0])
        for part in PARTS:
            path = own.with_name(f"{part}.csv")
            if part != own.stem and path.is_file():
                compared.append(path.name)
                shared |= people.intersection(_subjects_of(path))
    known = sum(1 for name in subjects if name)
    return {"n": len(subjects), "known": known, "people": len(people), "compared": compared, "shared": len(shared)}


def _subjects_of(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row.get("subject") or ""


def _versions(engine: str) -> dict[str, str]:
    found = {"agegender": __version__, "Python": platform.python_version()}
    for library in (*_LIBRARIES, _ENGINES.get(engine, "")):
        try:
            found[library] = version(library)
        except (PackageNotFoundError, ValueError):
            continue  # not installed under this name, as mxnet-cu112 is
    return found
