"""``eval --report``: the page, report.json, tables.csv and faces.csv of an evaluation."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agegender.app.evaluation.about import Run, facts
from agegender.app.evaluation.config import REPORT_FILES, REPORT_SHARES, EvalConfig
from agegender.app.evaluation.images import Origin
from agegender.app.evaluation.report import Results
from agegender.app.messages import say
from agegender.app.named_files import identity
from agegender.calibration import Calibration
from agegender.errors import DataError, UsageError
from agegender.executor.choice import choose_engine
from agegender.files import write_json, write_text
from agegender.report.faces import Faces, rounded

if TYPE_CHECKING:
    from agegender.app.evaluation.faces import FaceSet
    from agegender.app.evaluation.model import EvalModel
    from agegender.app.evaluation.worst import WorstFaces

# How many of the largest errors report.json names.
NAMED_ERRORS = 40
_PACKAGES = {"jinja2": "Jinja2", "sklearn": "scikit-learn"}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A set that was scored, in ``seconds``, by ``command`` (the words of its line): with what, and what came out.

    ``calibration`` is the model's for this epoch; ``worst`` has the faces that are to be shown, None for none.
    """

    results: Results
    faces: FaceSet
    origins: Sequence[Origin]
    model: EvalModel
    calibration: Calibration
    seconds: float
    command: Sequence[str]
    worst: WorstFaces | None


def check_report(config: EvalConfig) -> None:
    """Raise UsageError where ``--report`` can't be written: before anything is computed."""
    missing = [name for module, name in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f"--report needs {' and '.join(missing)}: pip install agegender[report]")
    if config.report_faces < 0:
        raise UsageError(f"--report_faces {config.report_faces} is below 0 (0 shows no face)")
    folder = Path(config.report or "")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--report {config.report!r} is a file; name a folder")
    taken = {identity(folder / name): name for name in REPORT_FILES}
    for flag, value in config.outputs.items():
        name = taken.get(identity(Path(value)))
        if name is not None:
            raise UsageError(f"{flag} {value!r} is what --report {config.report!r} writes as {name}; name another file")


def worst_faces(config: EvalConfig) -> WorstFaces | None:
    """Return what collects the faces for the page, None where none is asked for."""
    if not config.report or not config.report_faces:
        return None
    from agegender.app.evaluation.worst import WorstFaces

    return WorstFaces(config.report_faces)


def report_faces(results: Results, origins: Sequence[Origin], *, calibration: Calibration | None = None) -> Faces:
    """Return labels and predictions as the report takes them, rounded as its CSV is, and calibrated.

    Raises DataError for a detection score that is no number.
    """
    results = _calibrated(results, calibration or Calibration())
    count = len(results.rows)
    unknown = np.full(count, np.nan)
    labels = results.labels.astype(np.float64)
    labels = np.where(labels >= 0, labels, np.nan)
    exact = results.exact_ages.astype(np.float64)
    wide = labels.shape[1] >= 5
    kept = [origins[row] for row in results.rows.tolist()]
    columns = ("key", "path", "source", "subject", "group", "box")
    return Faces(
        names={name: [str(getattr(each, name)) for each in kept] for name in columns},
        score=np.array([_number(each) for each in kept]),
        gender=labels[:, 0],
        age=np.where(exact >= 0, exact, np.nan),
        low=labels[:, 2] if wide else unknown,
        high=labels[:, 3] if wide else unknown,
        std=labels[:, 4] if wide else unknown,
        male=unknown if results.male is None else rounded(results.male, 4),
        predicted=unknown if results.age is None else rounded(results.age, 3),
        ends={share: rounded(ends, 4) for share, ends in results.ends.items() if len(ends) == count},
    )


def write_report(config: EvalConfig, scored: Scored, *, lang: str) -> Path:
    """Write ``REPORT_FILES`` into the folder ``config.report``, which is made, and return the page."""
    from agegender.report import about_lines, render, report_numbers, to_sheet

    faces = report_faces(scored.results, scored.origins, calibration=scored.calibration)
    numbers = report_numbers(faces)
    about = _about(config, scored, faces)
    words = [say(name, lang) for name in ("female", "male")]
    worst = None if scored.worst is None else scored.worst.chosen(scored.origins, words)
    page = render(faces, numbers, about_lines(about, lang), lang=lang, worst=worst)
    folder = Path(config.report or "")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "faces.csv", faces.to_csv())
    write_text(folder / "tables.csv", to_sheet(numbers))
    write_json(folder / "report.json", _document(numbers, about, faces))
    write_text(folder / "index.html", page)
    return folder / "index.html"


def _about(config: EvalConfig, scored: Scored, faces: Faces) -> dict[str, Any]:
    onnx = scored.model.onnx is not None
    engine = "onnxruntime" if onnx else choose_engine(config.engine, config.gpu_ids)[0]
    run = Run(seconds=scored.seconds, engine=engine, flip=config.flip, command=shlex.join(scored.command))
    return facts(
        faces, model=scored.model, data=Path(config.data), run=run, calibration=scored.calibration,
        losses=scored.faces.losses,
    )  # fmt: skip


def _document(numbers: Mapping[str, Any], about: Mapping[str, Any], faces: Faces) -> dict[str, Any]:
    off = np.where(faces.scored_ages, np.abs(faces.predicted - faces.age), -np.inf)
    order = np.argsort(-off, kind="stable")[:NAMED_ERRORS].tolist()
    largest = [
        {
            "key": faces.names["key"][row],
            "path": faces.names["path"][row],
            "age": float(faces.age[row]),
            "predicted_age": float(faces.predicted[row]),
        }
        for row in order
        if np.isfinite(off[row])
    ]
    return {"format": 1, **numbers, "largest_errors": largest, "about": about}


def _calibrated(results: Results, calibration: Calibration) -> Results:
    ends: dict[float, Any] = {}
    if results.age is not None:
        for share in REPORT_SHARES:
            found = calibration.correct(results.ends.get(share), age=results.age, share=share)
            if found is not None:
                ends[share] = found
    genders = results.genders()
    male = None if genders is None else calibration.gender(genders)[:, 1]
    return replace(results, ends=ends, male=male)


def _number(origin: Origin) -> float:
    try:
        return float(origin.score) if origin.score else float("nan")
    except ValueError:
        raise DataError(f"face {origin.key}: its detection score {origin.score!r} is not a number") from None
