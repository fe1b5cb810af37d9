"""The command line: finds a command's module, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import codecs
import importlib
import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import agegender
from agegender.app.ending import exit_code_of
from agegender.app.messages import DEFAULT, language
from agegender.app.notes import NoteFormatter
from agegender.app.one_line import OneLineParser
from agegender.app.parser import CommandParser
from agegender.app.run_statistics import add_flag, recorded

# command: (module with ``add_arguments`` and ``main``, what it does)
COMMANDS = {
    "pack": ("agegender.app.pack", "pack face datasets into RecordIO (create_dataset.py)"),
    "ages": ("agegender.app.ages", "draw the age distribution of lists or records (show_age_distribution.py)"),
    "embed": ("agegender.app.embed", "make embeddings of packed faces, to train mlp on (tools/embed.py)"),
    "train": ("agegender.app.train", "train a network on records (train.py)"),
    "eval": ("agegender.app.evaluate", "score a model on records or a list (eval.py)"),
    "infer": ("agegender.app.infer", "find faces in photos and tell age and gender (infer.py)"),
    "export": ("agegender.app.export", "write a model as ONNX, also in eight bits (tools/export.py)"),
    "serve": ("agegender.app.serve", "serve age and gender over HTTP (serve.py)"),
    "serve_ray": ("agegender.app.serve_ray", "serve them on several machines with Ray (serve_ray.py)"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``agegender COMMAND ...`` and return the exit code: 0, 1 (data), 2 (usage), 130 (Ctrl-C)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = OneLineParser(prog="agegender", description=agegender.__doc__)
    parser.add_argument("--version", action="version", version=f"agegender {agegender.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, summary) in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    if not arguments or arguments[0] not in COMMANDS:
        parser.parse_args(arguments or ["--help"])
    return _ended(run_command(arguments[0], arguments[1:], prog=f"agegender {arguments[0]}"))


def run(command: str) -> NoReturn:
    """Run one command as a script of the checkout (``python train.py ...``) and leave with its exit code."""
    sys.exit(_ended(run_command(command, sys.argv[1:], prog=Path(sys.argv[0]).name)))


def run_command(command: str, arguments: Sequence[str], *, prog: str) -> int:
    """Parse ``arguments`` for ``command``, run it and return its exit code. Errors become one line on stderr."""
    _let_all_characters_through()
    args = command_parser(command, prog=prog).parse_args(arguments)
    args.command_line = [*(["python"] if prog.endswith(".py") else []), *prog.split(), *arguments]
    _log_to_stderr(args)
    module = importlib.import_module(COMMANDS[command][0])

    def run() -> int:
        return _run_module(module, args, prog=prog)

    asked = run if args.stats is None else recorded(run, args, command=command)
    return exit_code_of(asked, prog=prog, debug=args.debug)


def _run_module(module: ModuleType, args: argparse.Namespace, *, prog: str) -> int:
    try:
        return int(module.main(args) or 0)
    except ModuleNotFoundError as error:
        if args.debug or str(error.name).partition(".")[0] == "agegender":
            raise
        # The scripts of a checkout also start under a Python that nothing was installed for.
        way_out = (
            "pip install -r requirements.txt (or make setup, then: source .venv/bin/activate) installs what is needed"
        )
        print(
            f"{prog}: error: the package {error.name} is not installed in {sys.executable}; {way_out}", file=sys.stderr
        )
        return 2


def _let_all_characters_through() -> None:
    r"""Let standard output and standard error write what they can't encode as ``\u5973`` instead of failing.

    Chinese lines go to consoles of any script. What can be encoded stays as it is.
    """
    codecs.register_error("surrogateescape_or_backslash", _surrogateescape_or_backslash)
    # Handlers that the user may have chosen, such as replace, never fail.
    instead = {"strict": "backslashreplace", "surrogateescape": "surrogateescape_or_backslash"}
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in instead:
            stream.reconfigure(errors=instead[stream.errors])


def _surrogateescape_or_backslash(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write the bytes of a file's name that is no text as a C locale does, and other characters as escapes."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)


def _ended(code: int) -> int:
    """Return ``code``; a process that trains beside others ends here."""
    # Here, since the room behind it loads numpy, which --help does without.
    from agegender.executor.choice import launched_by_torch

    if launched_by_torch():
        from agegender.engine.torch_launch import leave

        leave(code)
    return code


def _log_to_stderr(args: argparse.Namespace) -> None:
    """Let the user see what the rooms log, in the command's language; a command without ``--lang`` speaks English."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(NoteFormatter(language(args.lang) if hasattr(args, "lang") else DEFAULT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def command_parser(command: str, *, prog: str) -> CommandParser:
    """Return the parser of ``command``, with its own flags and those that all commands have."""
    module = importlib.import_module(COMMANDS[command][0])
    parser = CommandParser(
        prog=prog,
        command=command,
        description=module.__doc__,
        epilog=getattr(module, "EXAMPLES", None),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    add_flag(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser
