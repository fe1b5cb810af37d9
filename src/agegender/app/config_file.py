"""The file of ``--config``: YAML whose keys are flags, each value read as its flag reads it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agegender.config import Append, parse_bool
from agegender.errors import AgeGenderError, UsageError, did_you_mean

# A file of flags is a page; a file of records that was named by mistake is not read to its end.
LARGEST_BYTES = 1_000_000
# The key that says which command a file is for, and the names of scripts by which people know commands.
COMMAND = "command"
_SCRIPTS = {"create_dataset": "pack", "show_age_distribution": "ages"}
# Texts that are lists in all but type: a file may write them as one.
_LISTS = ("gpu_ids", "label_order")
_YAML = "tag:yaml.org,2002:"
_SCALARS = tuple(_YAML + name for name in ("str", "int", "float", "bool", "null", "timestamp", "value"))
_NAMES: dict[Any, str] = {int: "a whole number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the file: ``key`` with underscores and no dashes before it, ``value`` as it is written there.

    A number or a word is text until its flag reads it: YAML itself would make ``1e-3`` a text and ``no`` a bool.
    """

    key: str
    value: str | tuple[str, ...] | None
    where: str


def read_entries(file: str) -> list[Entry]:
    """Return what ``file`` holds, in its order. Nothing but text, lists of text and null is made of it.

    Raises UsageError, naming file and line, for a file that can't be read or is no YAML, for a key that is there
    twice and for values that no flag can have.
    """
    node = _compose(file)
    if node is None:
        return []
    if node.id != "mapping":
        raise UsageError(f"{_at(file, node)}: lines such as batch_size: 64 are expected here, not a {_kind(node)}")
    entries: dict[str, Entry] = {}
    for name, value in node.value:
        entry = Entry(_key(file, name), _value(file, value), _at(file, name))
        before = entries.setdefault(entry.key, entry)
        if before is not entry:
            raise UsageError(f"{entry.where}: {entry.key} is in line {before.where.rpartition(':')[2]} already")
    return list(entries.values())


def check_command(entries: Sequence[Entry], commands: Sequence[str]) -> list[Entry]:
    """Return ``entries`` without the one that names the command. UsageError where that is none of ``commands``."""
    for entry in entries:
        if entry.key == COMMAND and isinstance(entry.value, str):
            name = entry.value.removesuffix(".py")
            if _SCRIPTS.get(name, name) not in commands:
                raise UsageError(f"{entry.where}: this file is for {entry.value}, not for {commands[0]}")
        elif entry.key == COMMAND:
            raise UsageError(f"{entry.where}: {COMMAND} is the name of a command, such as {commands[0]}")
    return [entry for entry in entries if entry.key != COMMAND]


def keys_of(actions: Iterator[argparse.Action]) -> dict[str, argparse.Action]:
    """Return the flags (and arguments without one) by the keys that a file knows them by."""
    found: dict[str, argparse.Action] = {}
    for action in actions:
        for name in (action.dest, *(_plain(option) for option in action.option_strings if len(option) > 2)):
            found.setdefault(name, action)
    return found


def unknown_key(entry: Entry, known: Mapping[str, Any], *, command: str) -> UsageError:
    """Return the error that names ``entry`` and the key that was probably meant."""
    hint = did_you_mean(entry.key, known)
    return UsageError(f"{entry.where}: {command} has no flag {entry.key!r}{hint or ' (--help lists them)'}")


def value_of(entry: Entry, action: argparse.Action, parser: argparse.ArgumentParser) -> Any:
    """Return what ``action`` makes of an entry, as from a command line. UsageError, with file and line, if nothing."""
    if entry.value is None:
        if action.default is not None or action.required:
            raise UsageError(f"{entry.where}: {entry.key} has no value; leave the line out for the default")
        return None
    if entry.value == () == action.default:
        return ()
    if action.nargs == 0:
        # A flag without a value, such as --debug.
        return action.const if _read(entry, parse_bool, _single(entry)) else action.default
    scratch = argparse.Namespace(**{action.dest: action.default})
    for value in _values(entry, action):
        action(parser, scratch, value, None)
    return getattr(scratch, action.dest)


def _values(entry: Entry, action: argparse.Action) -> list[Any]:
    """Return what ``action`` is called with, once for each time the flag would have been given."""
    assert entry.value is not None
    items = (entry.value,) if isinstance(entry.value, str) else entry.value
    if action.nargs not in (None, "?"):
        if isinstance(action.nargs, int) and len(items) != action.nargs:
            raise UsageError(f"{entry.where}: {entry.key} takes a list of {action.nargs}, not of {len(items)}")
        if not items and action.nargs == "+":
            raise UsageError(f"{entry.where}: {entry.key} is an empty list")
        return [[_checked(entry, action, item) for item in items]]
    if isinstance(action, (Append, argparse._AppendAction)):
        return [_checked(entry, action, item) for item in items]
    if isinstance(entry.value, str):
        return [_checked(entry, action, entry.value)]
    if action.type in (None, str, int, float, parse_bool) and action.dest not in _LISTS:
        _single(entry)
    return [_checked(entry, action, ",".join(items))]


def _checked(entry: Entry, action: argparse.Action, text: str) -> Any:
    value = text if action.type is None else _read(entry, action.type, text)  # type: ignore[arg-type]
    if action.choices is not None and value not in action.choices:
        known = [str(choice) for choice in action.choices]
        raise UsageError(f"{entry.where}: {entry.key} {text!r}{did_you_mean(text, known)} ({', '.join(known)})")
    return value


def _read(entry: Entry, kind: Callable[[str], Any], text: str) -> Any:
    try:
        return kind(text)
    except (argparse.ArgumentTypeError, AgeGenderError) as error:
        raise UsageError(f"{entry.where}: {entry.key}: {error}") from None
    except (TypeError, ValueError):
        name = _NAMES.get(kind) or getattr(kind, "__name__", "value").strip("_")
        raise UsageError(f"{entry.where}: {entry.key} {text!r} is not {name}") from None


def _single(entry: Entry) -> str:
    if not isinstance(entry.value, str):
        raise UsageError(f"{entry.where}: {entry.key} takes one value, not a list")
    return entry.value


def _compose(file: str) -> Any:
    """Return the root of the file's YAML as a node, None where there is none: with lines, and nothing made of it."""
    path = Path(file).expanduser()
    try:
        with open(path, "rb") as stream:
            data = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--config {file}: {error.strerror}") from None
    if len(data) > LARGEST_BYTES:
        raise UsageError(f"--config {file} holds more than {LARGEST_BYTES:,} bytes: it is no file of flags")
    try:
        import yaml  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise UsageError("--config needs the package PyYAML, which is not installed: pip install pyyaml") from None
    try:
        return yaml.compose(data.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise UsageError(f"--config {file} is no text in UTF-8 ({error.reason} in byte {error.start})") from None
    except RecursionError:
        raise UsageError(f"--config {file}: its brackets are nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{file}{line}: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise UsageError(f"--config {file} holds the character {error.character:#x}, which is no text") from None


def _key(file: str, node: Any) -> str:
    if node.id != "scalar" or node.tag not in _SCALARS:
        raise UsageError(f"{_at(file, node)}: the name of a flag is expected here, not a {_kind(node)}")
    return _plain(str(node.value))


def _value(file: str, node: Any) -> str | tuple[str, ...] | None:
    if node.id == "sequence" and node.tag == f"{_YAML}seq":
        for item in node.value:
            if item.id != "scalar" or item.tag not in _SCALARS or item.tag == f"{_YAML}null":
                raise UsageError(f"{_at(file, item)}: a {_kind(item)} within a list; it takes numbers and texts")
        return tuple(str(item.value) for item in node.value)
    if node.id != "scalar" or node.tag not in _SCALARS:
        raise UsageError(f"{_at(file, node)}: a {_kind(node)} where a value or a list is expected")
    return None if node.tag == f"{_YAML}null" else str(node.value)


def _kind(node: Any) -> str:
    if node.tag.startswith(_YAML):
        names = {"seq": "list", "map": "mapping", "null": "null", "merge": "merge (<<)"}
        return names.get(node.tag.removeprefix(_YAML), "text" if node.tag in _SCALARS else f"value tagged {node.tag}")
    return f"value tagged {node.tag}"


def _at(file: str, node: Any) -> str:
    return f"{file}:{node.start_mark.line + 1}"


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_")
