"""Configuration as frozen dataclasses: one place for default, type and meaning of every flag.

A room declares ``@dataclass(frozen=True, kw_only=True) class LoaderConfig`` with fields made by ``option``;
``add_options`` turns them into an argparse group and ``collect`` builds the dataclass from parsed arguments.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
# What YAML takes for no character or for the end of a line.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def option(
    default: Any,
    *,
    help: str,
    choices: Sequence[Any] | None = None,
    metavar: str | tuple[str, ...] | None = None,
    repeat: bool = False,
    nargs: int | str | None = None,
    alone: str | None = None,
) -> Any:
    """Return a dataclass field with what its flag needs: ``help``, ``choices``, ``metavar``.

    ``repeat`` lets the flag be given several times (the field is a tuple). ``nargs`` is argparse's: the flag takes
    several words, which a tuple holds, and a text has joined by commas. ``alone`` is what a flag of text means that is
    given without a value (or with yes; no is None).
    """
    metadata = {"help": help, "choices": choices, "metavar": metavar, "repeat": repeat, "nargs": nargs, "alone": alone}
    return dataclasses.field(default=default, metadata=metadata)


def internal(default: Any) -> Any:
    """Return a dataclass field that no user sets: it has no flag and is not written down."""
    return dataclasses.field(default=default, metadata={"internal": True})


def add_options(parser: argparse.ArgumentParser, config: type, *, title: str) -> None:
    """Add one flag per field of the dataclass ``config`` to ``parser``, under the heading ``title``.

    ``--lr_steps`` can also be written ``--lr-steps``. A bool takes 0/1 (also true/false, yes/no), and alone means 1.
    A tuple is one comma-separated value.
    """
    group = parser.add_argument_group(title)
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if "help" not in field.metadata:
            continue
        flags = [f"--{field.name}"]
        if "_" in field.name:
            flags.append(f"--{field.name.replace('_', '-')}")
        group.add_argument(*flags, dest=field.name, **_argument(field, hints[field.name]))


def collect(config: type[T], namespace: argparse.Namespace, **overrides: Any) -> T:
    """Build ``config`` from the parsed arguments of ``add_options``; ``overrides`` win."""
    names = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    values = {name: getattr(namespace, name) for name in names if hasattr(namespace, name)}
    return config(**{**values, **overrides})


def as_json(config: Any) -> dict[str, Any]:
    """Return the fields of a configuration dataclass but for internal ones, JSON-able (tuples become lists)."""
    shown = [field.name for field in dataclasses.fields(config) if not field.metadata.get("internal")]
    values = {name: getattr(config, name) for name in shown}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def as_yaml(values: Mapping[str, Any]) -> str:
    """Return ``values`` as YAML, a line each, as ``--config`` reads them: texts quoted, lists in brackets."""
    lines = "".join(f"{name}: {json.dumps(value, ensure_ascii=False, default=str)}\n" for name, value in values.items())
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", lines)


def parse_bool(text: str) -> bool:
    """Read 0/1, true/false, yes/no, on/off. Raises argparse.ArgumentTypeError for anything else."""
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither 1 (yes) nor 0 (no)")


def _argument(field: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
    """Translate a field and its type into keyword arguments of ``add_argument``."""
    hint = _without_none(hint)
    meta = field.metadata
    # argparse formats help with %, so a literal percent sign has to be doubled.
    text = meta["help"].replace("%", "%%")
    argument: dict[str, Any] = {"default": field.default, "help": text, "metavar": meta["metavar"]}
    if meta["repeat"]:
        argument |= {"action": Append, "type": typing.get_args(hint)[0]}
    elif meta["alone"] is not None:
        argument |= {"type": _text_or_yes(meta["alone"]), "nargs": "?", "const": meta["alone"]}
    elif meta["nargs"]:
        words = typing.get_origin(hint) is tuple
        kind = typing.get_args(hint)[0] if words else hint
        argument |= {"action": _Words if words else _Joined, "nargs": meta["nargs"], "type": kind}
    elif hint is bool:
        argument |= {"type": parse_bool, "nargs": "?", "const": True, "metavar": meta["metavar"] or "0|1"}
    elif typing.get_origin(hint) is tuple:
        argument["type"] = _tuple_of(typing.get_args(hint)[0])
    else:
        argument |= {"type": hint, "choices": meta["choices"]}
    if field.default not in (None, ()):
        shown = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        argument["help"] += f" (default: {int(shown) if isinstance(shown, bool) else shown})"
    return argument


class Append(argparse.Action):
    """Collect repeated flags into a tuple, starting from empty rather than from the default."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        given = getattr(namespace, self.dest)
        if given is self.default:
            given = ()
        setattr(namespace, self.dest, (*given, values))


class _Words(argparse.Action):
    """Keep the words after a flag as a tuple."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, tuple(values))


class _Joined(argparse.Action):
    """Keep the words after a flag as one text, with commas between."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, ",".join(values))


def _text_or_yes(alone: str) -> Callable[[str], str | None]:
    """Return the type of a text that may also be yes (``alone``) or no (None)."""

    def parse(text: str) -> str | None:
        try:
            return alone if parse_bool(text) else None
        except argparse.ArgumentTypeError:
            return text

    return parse


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return kinds[0]
    return hint


def _tuple_of(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    def parse(text: str) -> tuple[Any, ...]:
        return tuple(kind(part.strip()) for part in text.split(",") if part.strip())

    parse.__name__ = f"comma-separated {getattr(kind, '__name__', 'value')}"
    return parse
