"""One tree of errors. Each becomes one line for the user and an exit code (see ``app.cli``)."""

from __future__ import annotations

from collections.abc import Iterable

# The exit code of a command that Ctrl-C has ended.
INTERRUPTED = 130


class AgeGenderError(Exception):
    """Base of everything this package raises on purpose. The message is one line, without a traceback."""

    exit_code = 1


class UsageError(AgeGenderError):
    """The command line or a configuration asks for something that does not exist or does not fit."""

    exit_code = 2


class DeviceError(UsageError):
    """A GPU (or an executor) was asked for that this machine or build does not have."""


class DataError(AgeGenderError):
    """The data is at fault: a file, a record, a label."""


class RecordError(DataError):
    """A RecordIO file or one of its records is damaged; the message names file and record."""


class LabelError(DataError):
    """A label is not an age or a gender; the message names file and line."""


class ImageError(DataError):
    """A photo can't be read; the message names the file."""


class GraphError(DataError):
    """A symbol JSON or an operator in it can't be understood; the message names the node."""


class CheckpointError(DataError):
    """A checkpoint is missing, incomplete or damaged; the message names the file."""


class TrainingError(AgeGenderError):
    """Training can't go on (a loss that is not finite, a worker that died)."""


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return ``; did you mean 'x'?`` for the one of ``known`` that is spelled most like ``name``, '' for none."""
    # Here: every command loads this module, and few need it.
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""
