"""The windows of convolution and pooling, read from a node's attributes for every executor alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

from agegender.executor.attributes import Attributes

POOLS = ("max", "avg", "sum")


class ConvWindow(NamedTuple):
    """Windows of two dimensions over a map."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilate: tuple[int, ...]
    pad: tuple[int, ...]

    @classmethod
    def read(cls, attrs: Attributes) -> ConvWindow:
        """Read a convolution's attributes. Raises GraphError for others than of two dimensions."""
        attrs.choice("layout", ("NCHW", "None"), "NCHW")
        kernel = attrs.numbers("kernel", count=2)
        stride, dilate = (attrs.numbers(key, (1, 1), count=2) for key in ("stride", "dilate"))
        return cls(kernel, stride, dilate, attrs.numbers("pad", (0, 0), count=2))


@dataclass(frozen=True)
class PoolWindows:
    """Windows over a map. ``full`` rounds their number up (Caffe's convention) rather than down."""

    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    full: bool
    count_pad: bool

    @classmethod
    def read(cls, attrs: Attributes, *, kind: str, count_pad: bool) -> Self:
        """Read the attributes of a pooling that is not global; see ``pool_kind`` for ``kind``."""
        full = attrs.choice("pooling_convention", ("valid", "full"), "valid") == "full"
        kernel = attrs.numbers("kernel", count=2)
        stride, pad = attrs.numbers("stride", (1, 1), count=2), attrs.numbers("pad", (0, 0), count=2)
        return cls(kind, kernel, stride, pad, full, count_pad)

    def count(self, size: int, kernel: int, stride: int, pad: int) -> int:
        """Return how many windows there are along a side of ``size`` pixels."""
        span = size + 2 * pad - kernel
        return 1 + (math.ceil(span / stride) if self.full else span // stride)


def pool_kind(attrs: Attributes) -> tuple[str, bool]:
    """Return the kind of a pooling, one of ``POOLS``, and whether it is over whole maps."""
    kind = attrs.choice("pool_type", POOLS, "max")
    attrs.choice("layout", ("NCHW", "None"), "NCHW")
    return kind, attrs.boolean("global_pool", False)
