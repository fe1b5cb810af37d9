"""What a command did, as JSON, for ``--stats FILE``."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agegender.app.named_files import check_outputs
from agegender.errors import INTERRUPTED, AgeGenderError, UsageError
from agegender.files import write_json

# What the parser and the runner keep with the flags.
_NO_FLAGS = ("command_line", "statistics", "prog", "run", "debug", "print_config", "stats")


def add_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--stats`` to ``parser``."""
    parser.add_argument(
        "--stats", metavar="FILE", help="write figures, time, memory, versions and all flags of this run as JSON"
    )


def note(args: argparse.Namespace, **facts: Any) -> None:
    """Add ``facts``, JSON-able, to what ``--stats`` writes as ``result``; nothing where nobody asked for it."""
    getattr(args, "statistics", {}).update(facts)


def recorded(run: Callable[[], int], args: argparse.Namespace, *, command: str) -> Callable[[], int]:
    """Return ``run``, which then also writes ``args.stats`` at its end, however it ends.

    Raises UsageError, before ``run`` begins, where the file can't be written.
    """

    def main() -> int:
        check_outputs({"--stats": args.stats})
        _check_no_other(args.stats)
        args.statistics = {}
        started, began, worked = datetime.now(UTC), time.perf_counter(), time.process_time()
        code, error = 1, ""
        try:
            code = run()
        except BaseException as caught:
            code, error = _code(caught), str(caught) or type(caught).__name__
            raise
        finally:
            # Here, since it loads what --help does without.
            from agegender.machine import machine, peak_gpu_memory, peak_memory, versions

            document = {
                "format": 1,
                "command": command,
                "command_line": args.command_line,
                "exit_code": code,
                "error": error or None,
                "started": started.isoformat(timespec="seconds"),
                "seconds": round(time.perf_counter() - began, 3),
                "cpu_seconds": round(time.process_time() - worked, 3),
                "peak_memory": peak_memory(),
                "peak_gpu_memory": peak_gpu_memory(),
                "result": args.statistics,
                "flags": {name: value for name, value in vars(args).items() if name not in _NO_FLAGS},
                "machine": machine(),
                "versions": versions(),
            }
            # Flags of any type: a path is written as text.
            write_json(args.stats, json.loads(json.dumps(document, default=str)))
        return code

    return main


def _check_no_other(file: str) -> None:
    """Raise UsageError where the file holds something else than an earlier run's statistics, which are replaced."""
    path = Path(file)
    if not path.exists():
        return
    try:
        ours = "command_line" in json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError):
        ours = False
    if not ours:
        raise UsageError(f"--stats {file} would overwrite a file that is no statistics of a command; name another")


def _code(error: BaseException) -> int:
    """Return the exit code that the error ends the command with (see ``ending.exit_code_of``)."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return error.exit_code if isinstance(error, AgeGenderError) else 1
