"""The attributes of a node, which symbol JSON holds as text, read as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from agegender.errors import GraphError
from agegender.graph.node import Node

T = TypeVar("T")

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Attributes:
    """The attributes of one node. Every reader raises GraphError, naming node and attribute, for a bad value."""

    def __init__(self, node: Node) -> None:
        self.name = node.name
        self.op = node.op
        self._values = node.attrs

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number; without a default it has to be there."""
        return self._required(key, self.optional_integer(key, default))

    def optional_integer(self, key: str, default: int | None = None) -> int | None:
        """Return a whole number, or None where the text says so."""
        text = self._values.get(key)
        return default if text is None else self._whole(key, text)

    def real(self, key: str, default: float | None = None) -> float:
        """Return a number; without a default it has to be there."""
        return self._required(key, self.optional_real(key, default))

    def optional_real(self, key: str, default: float | None = None) -> float | None:
        """Return a number, or None where the text says so."""
        text = self._values.get(key)
        if text is None or text.strip() == "None":
            return default if text is None else None
        try:
            return float(text)
        except ValueError:
            raise self.error(key, "not a number") from None

    def boolean(self, key: str, default: bool) -> bool:
        """Return a truth value: True, true and 1 are one."""
        text = self._values.get(key)
        if text is None:
            return default
        value = _BOOLEANS.get(text.strip().lower())
        if value is None:
            raise self.error(key, "neither True nor False")
        return value

    def choice(self, key: str, accepted: Sequence[str], default: str | None = None) -> str:
        """Return one of the words ``accepted``; without a default it has to be there."""
        value = self._required(key, self._values.get(key, default))
        if value not in accepted:
            raise self.error(key, f"none of {', '.join(accepted)}")
        return value

    def numbers(self, key: str, default: Sequence[int] | None = None, *, count: int | None = None) -> tuple[int, ...]:
        """Return whole numbers, ``(3, 3)`` or one alone, ``count`` of them; an empty tuple is no value."""
        found = self.optional_numbers(key) or default
        values = self._required(key, None if found is None else tuple(found))
        if None in values:
            raise self.error(key, "not whole numbers")
        if count is not None and len(values) != count:
            raise self.error(key, f"{len(values)} numbers, not {count}")
        return tuple(value for value in values if value is not None)

    def optional_numbers(self, key: str) -> tuple[int | None, ...] | None:
        """Return whole numbers, each of which may be None; None where the text says so or the key is not there."""
        text = self._values.get(key)
        if text is None or text.strip() == "None":
            return None
        inner = text.strip().strip("()[]").strip().rstrip(",")
        return tuple(self._whole(key, part) for part in inner.split(",")) if inner else ()

    def error(self, key: str, problem: str) -> GraphError:
        """Return the error that says what is wrong with an attribute."""
        return GraphError(f"node {self.name!r} ({self.op}): {key} is {self._values.get(key)!r}: {problem}")

    def _whole(self, key: str, text: str) -> int | None:
        # Python 2 wrote long integers with an L.
        text = text.strip().removesuffix("L")
        if text == "None":
            return None
        try:
            return int(text)
        except ValueError:
            raise self.error(key, "not whole numbers" if "," in self._values[key] else "not a whole number") from None

    def _required(self, key: str, value: T | None) -> T:
        if value is None:
            raise GraphError(f"node {self.name!r} ({self.op}) has no value for {key}")
        return value
