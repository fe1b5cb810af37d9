"""Files that a command line names: which of them are one and the same, and where a result may be written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from agegender.errors import UsageError

# What a diagram can be written as.
DIAGRAMS = (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".webp")


def identity(path: Path) -> tuple[int, int] | str:
    """Return what all names of a file have in common, however they are spelled and whatever links there are.

    A file that isn't there yet has an identity too.
    """
    try:
        found = path.stat()
    except OSError:
        found = None
    # Some network drives give every file the number 0.
    if found is None or not found.st_ino:
        return os.path.normcase(os.path.realpath(path))
    return found.st_dev, found.st_ino


def check_outputs(outputs: Mapping[str, str]) -> None:
    """Refuse files that can't be written: ``outputs`` has the value of each flag that names one.

    Raises UsageError for a folder, for a file in a folder that isn't there, and for one file under two flags.
    """
    taken: dict[tuple[int, int] | str, str] = {}
    for flag, value in outputs.items():
        path = Path(value)
        if path.is_dir():
            raise UsageError(f"{flag} {value!r} is a folder; name a file")
        if not path.parent.is_dir():
            raise UsageError(f"{flag} {value!r}: there is no folder {str(path.parent)!r}")
        other = taken.setdefault(identity(path), flag)
        if other != flag:
            raise UsageError(f"{other} {outputs[other]!r} and {flag} {value!r} are the same file; name two")


def check_diagram(flag: str, value: str) -> None:
    """Raise UsageError for a name that doesn't say what kind of picture is meant (folders: see ``check_outputs``)."""
    if Path(value).suffix.lower() not in DIAGRAMS and not Path(value).is_dir():
        raise UsageError(f"{flag} {value!r}: the name must end in {', '.join(DIAGRAMS)}")


def spare_inputs(outputs: Mapping[str, str], inputs: Iterable[Path], *, role: str) -> None:
    """Raise UsageError where one of ``outputs`` is one of ``inputs``; ``role`` says what these are for."""
    flags = {identity(Path(value)): flag for flag, value in outputs.items() if Path(value).exists()}
    # A list may name a million photos, and nearly always the results are new files.
    if not flags:
        return
    for path in inputs:
        flag = flags.get(identity(path))
        if flag is not None:
            raise UsageError(f"{flag} {outputs[flag]!r} would overwrite {str(path)!r}, {role}; name another file")
