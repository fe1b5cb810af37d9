"""The parser of every command: its flags, and ``--config``, a file that sets them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from agegender.app.config_file import COMMAND, Entry, check_command, keys_of, read_entries, unknown_key, value_of
from agegender.app.one_line import OneLineParser
from agegender.config import as_yaml
from agegender.errors import UsageError

_OURS = ("help", "version", "config", "print_config")


class CommandParser(OneLineParser):
    """Parses a command line; what it leaves open ``--config FILE`` says, and what that leaves open the defaults.

    ``command`` is what the file's key ``command`` has to name. ``rest`` is the parser of flags that this one hands on
    (``parse_known_args``); the file may hold those too, under the name of either command. Each parser reads one
    command line, since a file changes its defaults.
    """

    def __init__(
        self, *, command: str = "", rest: argparse.ArgumentParser | None = None, rest_command: str = "", **options: Any
    ) -> None:
        super().__init__(**options)
        self._command = command
        self._rest = rest
        self._commands = tuple(name for name in (command, rest_command) if name)
        self.add_argument(
            "--config",
            metavar="FILE",
            help="YAML whose keys are flags; flags on the command line win (docs/configuration.md)",
        )
        self.add_argument(
            "--print_config", "--print-config", action="store_true", help="print all flags as such a file, and end"
        )

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse ``args``; leaves with 2 and one line on standard error where the file is at fault."""
        words = list(sys.argv[1:] if args is None else args)
        handed_on: list[str] = []
        later: dict[str, Any] = {}
        named = None
        try:
            if not {"-h", "--help"} & set(words):
                named = _named_file(words)
                handed_on, later = self._take_over(read_entries(named) if named is not None else [])
        except UsageError as error:
            self.exit(2, f"{self.prog}: error: {error}\n")
        found, rest = super().parse_known_args(words, namespace)
        if found.config != named:
            self.error("--config has to be written in full")
        for dest, value in later.items():
            if getattr(found, dest) is self.get_default(dest):
                setattr(found, dest, value)
        rest = [*handed_on, *rest]
        if found.print_config:
            self._print(found, rest)
        return found, rest

    def _take_over(self, entries: Sequence[Entry]) -> tuple[list[str], dict[str, Any]]:
        """Make the file's values the defaults; return words for the other parser, and values that no default can be."""
        own = keys_of(_settable(self))
        other = keys_of(_settable(self._rest)) if self._rest is not None else {}
        words: list[str] = []
        later: dict[str, Any] = {}
        for entry in check_command(entries, self._commands):
            if entry.key in own:
                action = own[entry.key]
                value = value_of(entry, action, self)
                if isinstance(action, argparse._AppendAction):
                    # argparse would add what the command line says to it, where that is to win.
                    later[action.dest] = value
                else:
                    _set_default(action, value)
            elif entry.key in other:
                value_of(entry, other[entry.key], self)
                words += _as_words(entry)
            else:
                raise unknown_key(entry, {**own, **other}, command=self._command)
        return words, later

    def _print(self, found: argparse.Namespace, rest: Sequence[str]) -> None:
        """Print every flag with its value as a file for ``--config``, and leave."""
        values = {action.dest: getattr(found, action.dest) for action in _settable(self)}
        if self._rest is not None:
            theirs = self._rest.parse_args(rest)
            values = {**{action.dest: getattr(theirs, action.dest) for action in _settable(self._rest)}, **values}
        print(as_yaml({COMMAND: self._command, **values}), end="")
        self.exit(0)


def _named_file(words: Sequence[str]) -> str | None:
    """Return the value of ``--config``. Raises UsageError where it is given twice."""
    scout = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scout.add_argument("--config", action="append")
    try:
        files = scout.parse_known_args(list(words))[0].config
    except argparse.ArgumentError:
        return None  # without a value: the real parser says so
    if files and len(files) > 1:
        raise UsageError(f"--config is given {len(files)} times ({', '.join(files)}); one file holds all")
    return str(files[0]) if files else None


def _settable(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (action for action in parser._actions if action.dest not in (*_OURS, argparse.SUPPRESS))


def _set_default(action: argparse.Action, value: Any) -> None:
    action.default = value
    action.required = False
    if not action.option_strings and action.nargs is None:
        # An argument without a flag, which the file has given.
        action.nargs = "?"


def _as_words(entry: Entry) -> list[str]:
    if entry.value is None:
        return []
    return [f"--{entry.key}={entry.value if isinstance(entry.value, str) else ','.join(entry.value)}"]
