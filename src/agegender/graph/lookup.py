"""Finding a model by what a user calls it: a path, a name, or nothing at all."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import agegender
from agegender.errors import UsageError
from agegender.graph.checkpoint import params_path, resolve_epoch, saved_epochs, symbol_path
from agegender.graph.info import read_info
from agegender.input_shape import is_vector

DEFAULT_MODEL = "m50"
MODELS_VARIABLE = "AGEGENDER_MODELS"
# What lies in the folder of a cross-validation (tools/cross_validate.py): below it are folds, which nobody runs.
CROSS_VALIDATION = "folds.json"
_SYMBOL = "-symbol.json"


@dataclass(frozen=True, kw_only=True)
class ModelOrigin:
    """Why it is this model, for a program to put into words.

    By ``kind``: the path ``place`` was given, the model ``name`` lies in ``place``, it is the newest run in ``place``,
    or the shipped ``name``.
    """

    kind: Literal["path", "name", "run", "shipped"]
    name: str = ""
    place: str = ""


@dataclass(frozen=True)
class ModelRef:
    """Where a model lies: its prefix, the epoch asked for (None: the best), and why it was this one."""

    prefix: Path
    epoch: int | str | None
    origin: ModelOrigin


def find_model(
    name: str | None = None, *, runs: Path | str = "runs", takes: Literal["photos", "embeddings"] | None = None
) -> ModelRef:
    """Find the model that ``name`` means.

    ``name`` is ``PREFIX,EPOCH`` (EPOCH a number, best or last), ``PREFIX`` alone, a file or the folder of a checkpoint,
    or the name of a folder in ``$AGEGENDER_MODELS``, the checkout's models/ or the installed package's. None is the
    newest run in ``runs`` (that ``takes`` such input, where it is told), and where there is none the shipped default. A
    checkpoint of epoch 0 has learned nothing and is no run, nor is a fold of a cross-validation. Raises
    UsageError with what there is.
    """
    if name is None:
        return _default(Path(runs), takes)
    text, epoch = _split(name)
    prefix, epoch_of_file = _as_path(Path(text).expanduser())
    if prefix is not None:
        return ModelRef(prefix, epoch if epoch is not None else epoch_of_file, ModelOrigin(kind="path", place=text))
    models = known_models()
    if text in models:
        place = str(models[text].parent.parent)
        return ModelRef(models[text], epoch, ModelOrigin(kind="name", name=text, place=place))
    trained = sorted(path.name.removesuffix(_SYMBOL) for path in Path(runs, text).glob(f"*{_SYMBOL}"))
    close = [str(Path(runs, text, trained[0]))] if trained else difflib.get_close_matches(text, models, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    there = ", ".join(sorted(models)) or "none"
    raise UsageError(
        f"there is no model {text!r}{hint}: no file {text}{_SYMBOL}, and no model of that name (models here: {there})"
    )


def with_epoch(found: ModelRef) -> ModelRef:
    """Return ``found`` with the number of its epoch. Raises what ``resolve_epoch`` and ``read_info`` raise."""
    return replace(found, epoch=resolve_epoch(found.prefix, found.epoch, info=read_info(found.prefix)))


def known_models() -> dict[str, Path]:
    """Return the models that can be called by name: name -> prefix. Earlier places hide later ones."""
    models: dict[str, Path] = {}
    for folder in model_folders():
        if not folder.is_dir():
            continue
        for entry in sorted(folder.iterdir()):
            prefix = entry / entry.name
            if symbol_path(prefix).is_file():
                models.setdefault(entry.name, prefix)
    return models


def model_folders() -> Iterator[Path]:
    """Yield the folders that models are looked up in, whether they exist or not, the most wanted first."""
    for folder in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep):
        if folder:
            yield Path(folder).expanduser()
    package = Path(agegender.__file__).resolve().parent
    checkout = package.parents[1]
    # Only a checkout has it there; in site-packages that place belongs to others.
    if (checkout / "pyproject.toml").is_file():
        yield checkout / "models"
    yield package / "models"


def _default(runs: Path, takes: str | None) -> ModelRef:
    newest = _newest_run(runs, takes)
    if newest is not None:
        return ModelRef(newest, None, ModelOrigin(kind="run", place=str(runs)))
    models = known_models()
    if DEFAULT_MODEL in models:
        return ModelRef(models[DEFAULT_MODEL], None, ModelOrigin(kind="shipped", name=DEFAULT_MODEL))
    places = ", ".join(str(folder) for folder in model_folders())
    raise UsageError(f"there is no model: nothing was trained in {runs}, and no {DEFAULT_MODEL!r} lies in {places}")


def _newest_run(runs: Path, takes: str | None) -> Path | None:
    found: list[tuple[float, Path]] = []
    for path in sorted(runs.glob(f"**/*{_SYMBOL}")):
        prefix = path.with_name(path.name.removesuffix(_SYMBOL))
        epochs = [epoch for epoch in saved_epochs(prefix) if epoch > 0]
        if epochs and not _is_fold(prefix, runs):
            found.append((max(params_path(prefix, epoch).stat().st_mtime for epoch in epochs), prefix))
    newest_first = sorted(found, key=lambda run: run[0], reverse=True)
    return next((prefix for _, prefix in newest_first if _fits(prefix, takes)), None)


def _is_fold(prefix: Path, runs: Path) -> bool:
    """Tell whether ``prefix`` lies in the folder of a cross-validation, at ``runs`` or below it."""
    inside = (folder for folder in prefix.parents if folder.is_relative_to(runs))
    return any((folder / CROSS_VALIDATION).is_file() for folder in inside)


def _fits(prefix: Path, takes: str | None) -> bool:
    """Tell whether a run takes such input; one that nothing is written down of takes photos."""
    if takes is None:
        return True
    info = read_info(prefix)
    shape = None if info is None else info.data_shape
    return (shape is not None and is_vector(shape)) == (takes == "embeddings")


def _split(name: str) -> tuple[str, str | int | None]:
    text, comma, epoch = name.rpartition(",")
    if not comma:
        return name, None
    epoch = epoch.strip()
    if epoch.isdecimal():
        return text, int(epoch)
    if epoch in ("best", "last"):
        return text, epoch
    raise UsageError(f"the epoch in {name!r} is {epoch!r}, neither a number nor best nor last")


def _as_path(path: Path) -> tuple[Path | None, int | None]:
    """Return (prefix, epoch) where ``path`` is a prefix, one of a checkpoint's files or its folder."""
    if path.name and symbol_path(path).is_file():
        return path, None
    if path.is_dir():
        found = sorted(path.glob(f"*{_SYMBOL}"))
        if len(found) > 1:
            names = ", ".join(file.name.removesuffix(_SYMBOL) for file in found)
            raise UsageError(f"{path} holds several models ({names}); say which: {path}/NAME")
        return (path / found[0].name.removesuffix(_SYMBOL), None) if found else (None, None)
    if not path.is_file():
        return None, None
    if path.name.endswith(_SYMBOL):
        return path.with_name(path.name.removesuffix(_SYMBOL)), None
    prefix, dash, number = path.name.removesuffix(".params").rpartition("-")
    if path.suffix == ".params" and dash and number.isdecimal():
        return path.with_name(prefix), int(number)
    return None, None
