"""What a network's file says about it: its builder, its defaults, the inputs it takes, and its size in the paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

# What every builder is called with besides the network's own arguments.
RESERVED = ("head", "embedding", "data_shape", "age_bins")


@dataclass(frozen=True, kw_only=True)
class Network:
    """A builder with its defaults: input (C,H,W), embedding, head, and how it is trained.

    ``builder`` is called with ``head``, ``embedding``, ``data_shape`` what ``arguments`` names (with its defaults)
    and, where head bins is told its bins, ``age_bins``; it returns the inference graph. ``heads`` are the heads it
    has, ``head`` the one it has unless told otherwise.

    ``sides``: the multiple that height and width must be of; 1 for any. ``fixed``: only ``data_shape`` will do.
    ``image`` False: the input is no picture but numbers, (N,1,1) for N of them, and any N will do.

    ``paper_params`` and ``paper_macs``: learned numbers and multiply-adds per input that the paper states, None where
    it states none, and ``paper_head`` the head they are compared with (default: ``head``); ``paper_note``: what was
    counted there, and why our count is another.

    Raises ValueError for what contradicts itself.
    """

    name: str
    builder: Callable[..., Any]
    data_shape: tuple[int, int, int] = (3, 112, 112)
    embedding: int = 512
    head: str = "dex"
    heads: tuple[str, ...] = ("dex",)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str = "sgd"
    lr: float = 0.1
    wd: float = 5e-4
    sides: int = 16
    fixed: bool = False
    image: bool = True
    paper_params: int | None = None
    paper_macs: int | None = None
    paper_head: str | None = None
    paper_note: str = ""

    def __post_init__(self) -> None:
        # Nobody changes a default behind the table's back.
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))
        # The name is part of file names, and "-" joins it to a head there.
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"network name {self.name!r} is not made of a-z, 0-9 and _, beginning with a letter")
        for head in (self.head, self.paper_head or self.head):
            if head not in self.heads:
                raise ValueError(f"{self.name}: head {head!r} is not among its heads ({', '.join(self.heads)})")
        taken = [name for name in RESERVED if name in self.arguments]
        if taken:
            raise ValueError(f"{self.name}: every network has {taken[0]!r}, it can't be one of its own arguments")
        self.check_shape(self.data_shape)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError, which says what the network takes, for an input of another shape than those."""
        if not self._takes(shape):
            raise ValueError(f"data shape {shape} is not {self._accepted()}")

    def _takes(self, shape: tuple[int, ...]) -> bool:
        if len(shape) != 3 or min(shape) < 1:
            return False
        if self.fixed:
            return shape == self.data_shape
        if not self.image:
            return shape[1:] == (1, 1)
        return shape[0] == 3 and not (shape[1] % self.sides or shape[2] % self.sides)

    def _accepted(self) -> str:
        if self.fixed:
            return f"{','.join(map(str, self.data_shape))}, the only one that {self.name} takes"
        if not self.image:
            return f"numbers,1,1, as {self.name} takes no image"
        return "3,height,width" + (f" with both sides multiples of {self.sides}" if self.sides > 1 else "")
