"""The folder of a run: ``config.json``, ``run.yaml``, ``log.txt``, ``history.csv`` beside the checkpoints."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from agegender.config import as_yaml
from agegender.errors import DataError
from agegender.files import write_json, write_text
from agegender.graph.info import info_path

_package = logging.getLogger("agegender")
_log = logging.getLogger(__name__)

FILES = (
    *("config.json", "run.yaml", "log.txt", "history.csv", "statistics.json", "curves.png"),
    *("balance.csv", "balance.png", "events.out.tfevents.*"),
)
# Above run.yaml, which is what --config reads.
_HEADER = "# What this run was trained with. The same once more: python train.py --config {path}\n"


class RunFolder:
    """The folder that checkpoints of ``prefix`` lie in. Entered, it writes what the package logs to ``log.txt``.

    ``active`` False, for workers other than the first, writes nothing and logs no more than warnings.
    """

    def __init__(self, prefix: Path, *, active: bool = True) -> None:
        self.prefix = prefix
        self.path = prefix.parent
        self._active = active
        self._handler: _LogFile | None = None
        self._level: int = logging.NOTSET
        # One row per finished epoch: column name to value.
        self.history: list[dict[str, float]] = []

    def __enter__(self) -> RunFolder:
        self._level = _package.level
        if not self._active:
            _package.setLevel(logging.WARNING)
        else:
            self.path.mkdir(parents=True, exist_ok=True)
            self._handler = _LogFile(self.path / "log.txt", encoding="utf-8")
            self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            _package.addHandler(self._handler)
            if _package.getEffectiveLevel() > logging.INFO:
                _package.setLevel(logging.INFO)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handler is not None:
            _package.removeHandler(self._handler)
            # What went wrong matters more than that a full disk can't take note of it.
            with contextlib.suppress(*([OSError] if error is not None else [])):
                self._close_log(self._handler, error)
        _package.setLevel(self._level)

    @staticmethod
    def _close_log(handler: _LogFile, error: BaseException | None) -> None:
        try:
            if error is not None:
                # Into the file alone: whoever catches the error shows it.
                text = str(error) or type(error).__name__
                handler.handle(logging.LogRecord(_package.name, logging.ERROR, "", 0, text, None, None))
        finally:
            handler.close()

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the resolved configuration, and say where it differs from that of the run which it continues."""
        if not self._active:
            return
        path = self.path / "config.json"
        if path.exists():
            try:
                earlier = dict(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise DataError(f"{path} is no JSON object ({error}); delete it to go on without it") from error
            # As JSON has it: tuples are lists there.
            now = json.loads(json.dumps(config))
            # A flag that the earlier version did not have is no change.
            known = [name for name in now if name in earlier and name not in ("resume", "prefix")]
            changed = [name for name in known if now[name] != earlier[name]]
            for name in changed:
                _log.warning("--%s was %s in this run, now it is %s", name, earlier.get(name), now[name])
        write_json(path, config)
        # Whoever trains the same once more does not go on with this run.
        again = {"command": "train", **{name: value for name, value in config.items() if name != "resume"}}
        yaml = self.path / "run.yaml"
        write_text(yaml, _HEADER.format(path=yaml.as_posix()) + as_yaml(again))

    def read_history(self, epochs: int) -> None:
        """Take up the rows of the first ``epochs`` finished epochs of an earlier session."""
        try:
            text = (self.path / "history.csv").read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        rows = [
            {name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(io.StringIO(text))
        ]
        self.history = [row for row in rows if row["epoch"] <= epochs]

    def add_history(self, row: dict[str, float]) -> None:
        """Add the row of a finished epoch and write ``history.csv``."""
        self.history.append(row)
        if self._active:
            table = io.StringIO()
            writer = csv.DictWriter(table, list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: f"{known.get(name, float('nan')):.8g}" for name in row} for known in self.history)
            write_text(self.path / "history.csv", table.getvalue())

    def set_aside(self) -> Path | None:
        """Move an earlier run's files to ``earlier-1``, ``earlier-2`` ... in the folder; return where, None if none.

        A new run can then neither overwrite it nor be mixed up with its checkpoints.
        """
        name = self.prefix.name
        if not self._active or not info_path(self.prefix).exists():
            return None
        number = 1
        while (target := self.path / f"earlier-{number}").exists():
            number += 1
        target.mkdir()
        kinds = (f"{name}.json", f"{name}-symbol.json", f"{name}-*.params", f"{name}-*.states", *FILES)
        for path in [path for kind in kinds for path in self.path.glob(kind)]:
            path.rename(target / path.name)
        return target


class _LogFile(logging.FileHandler):
    """A log that fails like any other file, instead of printing a traceback per line on a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        error = sys.exc_info()[1]
        if error is not None:
            raise error
