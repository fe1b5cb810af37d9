"""A parser whose error is one line that names the flag which was probably meant, and not the whole usage."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

# Least likeness (difflib's ratio) of a flag to what was written, and of one part of its name to a part of that.
NAME_LIKENESS, PART_LIKENESS = 0.65, 0.85
_NUMBER = re.compile(r"-[\d.]")


class OneLineParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that leaves with 2 and one line on standard error; it takes subcommands of its own kind."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Parse ``args``; of a flag that is unknown the error names the known one that is nearest."""
        found: argparse.Namespace
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser = self._chosen(found)
            meant = list(dict.fromkeys(near for word in unknown if (near := _near(word, _flags(parser)))))
            hint = f"; did you mean {', '.join(meant)}?" if meant else ""
            parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found

    def error(self, message: str) -> NoReturn:
        """Leave with 2 and ``message`` in one line; where an argument is missing, with the form of the command too."""
        if message.startswith("the following arguments are required"):
            message += f"; the form is: {self._form()}"
        self.exit(2, f"{self.prog}: error: {message} (--help shows all flags)\n")

    def _chosen(self, found: argparse.Namespace) -> argparse.ArgumentParser:
        """Return the parser of the subcommand that was given, this one where there are none."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction) and getattr(found, action.dest, None):
                return action.choices[getattr(found, action.dest)]  # type: ignore[no-any-return]
        return self

    def _form(self) -> str:
        """Return the shortest command line that has all that is required: ``rec.py repair DAMAGED NEW``."""
        return " ".join([self.prog, *(_shown(action) for action in self._actions if action.required)])


def _shown(action: argparse.Action) -> str:
    if isinstance(action, argparse._SubParsersAction):
        return f"{{{','.join(action.choices)}}} ..."
    name = str(action.metavar or (action.dest.upper() if action.option_strings else action.dest))
    values = f"{name} ..." if action.nargs in ("+", "*") else name
    return f"{_long(action)} {values}" if action.option_strings else values


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    """Return the flags that ``--help`` shows, each in its first long form."""
    return [_long(action) for action in parser._actions if action.option_strings and action.help != argparse.SUPPRESS]


def _long(action: argparse.Action) -> str:
    return next((name for name in action.option_strings if name.startswith("--")), action.option_strings[0])


def _near(word: str, flags: Sequence[str]) -> str | None:
    """Return the one of ``flags`` that is most like ``word``, None where none is, or where ``word`` is no flag."""
    name = _plain(word.partition("=")[0])
    if not word.startswith("-") or _NUMBER.match(word) or not name:
        return None
    likeness = dict(_likenesses(name, flags))
    return max(likeness, key=lambda flag: likeness[flag]) if likeness else None


def _likenesses(name: str, flags: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield those of ``flags`` that are near, with their likeness: as a whole, by the parts, or by the initials."""
    for flag in flags:
        known = _plain(flag)
        whole = _ratio(name, known)
        if _initials(name) == known:
            yield flag, 1.0  # learning_rate, lr
        elif whole >= NAME_LIKENESS or _parts_fit(name, known):
            yield flag, whole


def _parts_fit(name: str, known: str) -> bool:
    """Tell whether all parts of the one with fewer are like some part of the other: epochs fits end_epoch."""
    few, many = sorted((name.split("_"), known.split("_")), key=len)
    return all(any(_parts_alike(part, other) for other in many) for part in few)


def _parts_alike(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    begins = len(short) >= 3 and long.startswith(short)  # mom, momentum
    return begins or _ratio(one, other) >= PART_LIKENESS


def _initials(name: str) -> str:
    parts = name.split("_")
    return "".join(part[:1] for part in parts) if len(parts) > 1 else ""


def _plain(flag: str) -> str:
    return flag.strip("-").replace("-", "_").lower()


def _ratio(one: str, other: str) -> float:
    # Here: few command lines are wrong.
    from difflib import SequenceMatcher

    return SequenceMatcher(None, one, other).ratio()
