"""MXNet's Reshape, whose target has codes besides sizes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from agegender.errors import GraphError
from agegender.executor.attributes import Attributes
from agegender.executor.torch_types import Operator

_LOWEST_CODE = -4


def reshape(attrs: Attributes) -> Operator:
    """Give values another shape.

    In ``shape`` 0 keeps the size of the input at this place, -1 is what is left, -2 all further sizes, -3 the product
    of the next two, -4 splits one into the two numbers that follow; ``reverse`` reads from the right. The older
    ``target_shape`` has 0 for what is left; ``keep_highest`` keeps its first size.
    """
    codes = attrs.numbers("shape", ())
    target = attrs.numbers("target_shape", ())
    keep_highest = attrs.boolean("keep_highest", False)
    reverse = attrs.boolean("reverse", False)
    if not codes and not target:
        raise attrs.error("shape", "nothing to reshape to")
    if any(code < _LOWEST_CODE for code in codes):
        raise attrs.error("shape", f"a code below {_LOWEST_CODE}")

    def run(data: Tensor) -> Tensor:
        try:
            return data.reshape(_legacy(data.shape) if target and not codes else new_shape(data.shape, codes, reverse))
        except (RuntimeError, IndexError) as error:
            wanted = codes or target
            raise GraphError(
                f"node {attrs.name!r} ({attrs.op}): {tuple(data.shape)} can't be reshaped to {wanted}"
            ) from error

    def _legacy(shape: Sequence[int]) -> list[int]:
        sizes = [size or -1 for size in target]
        return [shape[0], *sizes[1:]] if keep_highest else sizes

    return run


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
