"""MXNet's Reshape, whose target has codes besides sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agegender.executor.attributes import Attributes

_LOWEST_CODE = -4


@dataclass(frozen=True)
class ReshapeTarget:
    """What a Reshape node asks for.

    In ``codes`` 0 keeps the size of the input at this place, -1 is what is left, -2 all further sizes, -3 the product
    of the next two, -4 splits one into the two numbers that follow; ``reverse`` reads from the right. The older
    ``legacy`` has 0 for what is left; ``keep_highest`` keeps its first size.
    """

    codes: tuple[int, ...]
    legacy: tuple[int, ...]
    keep_highest: bool
    reverse: bool

    @classmethod
    def read(cls, attrs: Attributes) -> ReshapeTarget:
        """Read a node's attributes. Raises GraphError for a target that says nothing or has unknown codes."""
        codes, legacy = attrs.numbers("shape", ()), attrs.numbers("target_shape", ())
        if not codes and not legacy:
            raise attrs.error("shape", "nothing to reshape to")
        if any(code < _LOWEST_CODE for code in codes):
            raise attrs.error("shape", f"a code below {_LOWEST_CODE}")
        return cls(codes, legacy, attrs.boolean("keep_highest", False), attrs.boolean("reverse", False))

    def sizes(self, shape: Sequence[int]) -> list[int]:
        """Return the shape that this makes of ``shape``; -1 stays where it has to be worked out.

        Raises IndexError for codes that ask for more axes than there are.
        """
        if self.codes:
            return new_shape(shape, self.codes, self.reverse)
        sizes = [size or -1 for size in self.legacy]
        return [shape[0], *sizes[1:]] if self.keep_highest else sizes


def new_shape(shape: Sequence[int], codes: Sequence[int], reverse: bool = False) -> list[int]:
    """Return the shape that ``codes`` make of ``shape``; -1 stays where it has to be worked out.

    Raises IndexError for codes that ask for more axes than there are.
    """
    if reverse:
        return new_shape(shape[::-1], codes[::-1])[::-1]
    sizes: list[int] = []
    place = used = 0
    while place < len(codes):
        code = codes[place]
        if code == -2:
            sizes += shape[used:]
            used = len(shape)
        elif code == -3:
            sizes.append(shape[used] * shape[used + 1])
            used += 2
        elif code == -4:
            first, second = codes[place + 1], codes[place + 2]
            sizes.append(shape[used] // second if first == -1 else first)
            sizes.append(shape[used] // first if second == -1 else second)
            used += 1
            place += 2
        else:
            sizes.append(shape[used] if code == 0 else code)
            used += 1
        place += 1
    return sizes
