"""``prefix.json``: what has to be known of a model to use it, and how it came about."""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agegender.errors import CheckpointError, UsageError
from agegender.files import write_json
from agegender.readout import Readout

FORMAT = 1


@dataclass(kw_only=True)
class ModelInfo:
    """The fields of ``prefix.json``. ``extra`` keeps what a later version added, so that rewriting loses nothing."""

    format: int = FORMAT
    # What was built: name, arguments of the builder, head (dex, ssr, reg, bins), and what it was trained for (both,
    # age, gender).
    network: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    head: str = "dex"
    task: str = "both"
    # {"shape": [3, height, width], "colour": "RGB", "range": [0, 255]}; nets of others may have "colour": "BGR", and
    # "mean" and "scale" where (value - mean) * scale is still to be computed (face.preprocess.InputSpec).
    input: dict[str, Any] = field(default_factory=dict)
    # {"name": ..., "points": five (x, y) in unit coordinates, "size": [height, width]}
    template: dict[str, Any] = field(default_factory=dict)
    labels: str = "gender,age"
    # How to read outputs that are not ours (agegender.readout); empty: ours, by head and task.
    readout: dict[str, Any] = field(default_factory=dict)
    # What the columns of age_softmax stand for: years, or for head bins [first, last] year of each.
    age_bins: list[Any] = field(default_factory=lambda: [float(age) for age in range(101)])
    # Epochs by name, what makes one best, and the scores on val by epoch.
    best: int | None = None
    last: int | None = None
    best_by: str = "mae"
    metrics: dict[str, Any] = field(default_factory=dict)
    # What agegender.calibration.Calibration takes and of which epoch and set it is; empty: not calibrated.
    calibration: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    git_commit: str = ""
    synthetic: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def data_shape(self) -> tuple[int, int, int] | None:
        """The input's (channels, height, width), None where it was not written down."""
        shape = self.input.get("shape")
        return (int(shape[0]), int(shape[1]), int(shape[2])) if shape else None


def info_path(prefix: Path | str) -> Path:
    """Return where ``prefix.json`` lies."""
    prefix = Path(prefix)
    return prefix.with_name(prefix.name + ".json")


def read_info(prefix: Path | str) -> ModelInfo | None:
    """Read ``prefix.json``; None where there is none. Raises CheckpointError for a damaged one or a later format."""
    path = info_path(prefix)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    return info_from_json(document, path)


def info_from_json(document: Any, path: Path) -> ModelInfo:
    """Return what ``document`` says. Raises CheckpointError, naming ``path``, for a damaged one or a later format."""
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} holds {type(document).__name__}, not a description of a model")
    version = document.get("format")
    if type(version) is not int or version < 1:
        raise CheckpointError(f"{path} has the format {version!r} (1..{FORMAT}): no description of a model")
    if version > FORMAT:
        raise CheckpointError(f"{path} has format {version}, this version reads up to {FORMAT}: update agegender")
    hints = typing.get_type_hints(ModelInfo)
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in document.items():
        if name not in hints or name == "extra":
            extra[name] = value
        elif not _fits(value, hints[name]):
            raise CheckpointError(f"{path}: {name} is {value!r}, not {_describe(hints[name])}")
        else:
            known[name] = value
    info = ModelInfo(**known, extra=extra)
    _check_shape(info, path)
    _check_readout(info, path)
    return info


def write_info(prefix: Path | str, info: ModelInfo) -> None:
    """Write ``prefix.json``, atomically."""
    path = info_path(prefix)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, info_to_json(info))


def info_to_json(info: ModelInfo) -> dict[str, Any]:
    """Return what ``prefix.json`` holds."""
    document = dataclasses.asdict(info)
    extra = document.pop("extra")
    return {**document, **extra}


def _check_shape(info: ModelInfo, path: Path) -> None:
    shape = info.input.get("shape")
    if shape is not None and not (
        isinstance(shape, list) and len(shape) == 3 and all(type(side) is int and side > 0 for side in shape)
    ):
        raise CheckpointError(f"{path}: the input shape is {shape!r}, not [channels, height, width]")


def _check_readout(info: ModelInfo, path: Path) -> None:
    if info.readout:
        try:
            Readout.from_json(info.readout)
        except UsageError as error:
            raise CheckpointError(f"{path}: {error}") from error


def _fits(value: Any, hint: Any) -> bool:
    kinds = typing.get_args(hint) if hint == (int | None) else (hint,)
    for kind in kinds:
        plain = typing.get_origin(kind) or kind
        # bool is an int to Python, but an epoch `true` is a mistake.
        if isinstance(value, plain) and (plain is bool or not isinstance(value, bool)):
            return True
    return False


def _describe(hint: Any) -> str:
    if hint == (int | None):
        return "a whole number or null"
    plain = typing.get_origin(hint) or hint
    return {dict: "an object", list: "a list", str: "a text", int: "a whole number", bool: "true or false"}[plain]
