"""Windows of a map for Swin, and the constants that attention within them needs.

Maps are (N,height,width,channels). Which bias a pair of places has and which pairs don't see each other is worked out
in the graph, from ranges and comparisons: no parameter that checkpoints would have to carry and optimizers could move.
"""

from __future__ import annotations

from dataclasses import dataclass

from symbols.blocks import Symbol
from symbols.lazy import mx

# What the paper adds to the scores of pairs that don't see each other.
MASKED = -100.0


def reshape(data: Symbol, *shape: int, name: str) -> Symbol:
    """Give another shape; -1 is what is left."""
    return mx.sym.reshape(data, shape=shape, name=name)


def transpose(data: Symbol, *axes: int, name: str) -> Symbol:
    """Reorder the axes."""
    return mx.sym.transpose(data, axes=axes, name=name)


@dataclass(frozen=True)
class Windows:
    """How a map of ``side`` (height, width) is cut into windows of ``size``, after a shift by ``shift``.

    A map that the windows don't fit into is filled up with zeros at its lower and right border.
    """

    side: tuple[int, int]
    size: tuple[int, int]
    shift: tuple[int, int]

    @classmethod
    def fit(cls, side: tuple[int, int], window: int, *, shifted: bool) -> Windows:
        """Return windows of ``window``, or of the map where that is smaller; those that cover it are not shifted."""
        height, width = (min(window, length) for length in side)
        down, across = (window // 2 if shifted and window < length else 0 for length in side)
        return cls(side, (height, width), (down, across))

    @property
    def counts(self) -> tuple[int, int]:
        """Return how many windows there are down and across."""
        return -(-self.side[0] // self.size[0]), -(-self.side[1] // self.size[1])

    @property
    def filled(self) -> tuple[int, int]:
        """Return the side of the map with its filling."""
        return self.counts[0] * self.size[0], self.counts[1] * self.size[1]

    @property
    def area(self) -> int:
        """Return how many places a window has."""
        return self.size[0] * self.size[1]

    @property
    def offsets(self) -> int:
        """Return how many ways there are for two places of a window to lie to one another."""
        return (2 * self.size[0] - 1) * (2 * self.size[1] - 1)

    def cut(self, data: Symbol, channels: int, *, name: str) -> Symbol:
        """Return the windows (N * windows, area, channels) of a map, those of an image row by row."""
        data = roll(self._fill(data, channels, name=name), self.shift, self.filled, name=f"{name}_shift")
        (down, across), (height, width) = self.counts, self.size
        data = reshape(data, -1, down, height, across, width, channels, name=f"{name}_grid")
        data = transpose(data, 0, 1, 3, 2, 4, 5, name=f"{name}_by_window")
        return reshape(data, -1, self.area, channels, name=f"{name}_windows")

    def join(self, data: Symbol, channels: int, *, name: str) -> Symbol:
        """Return the map that ``cut`` makes such windows of."""
        (down, across), (height, width) = self.counts, self.size
        data = reshape(data, -1, down, across, height, width, channels, name=f"{name}_joined_grid")
        data = transpose(data, 0, 1, 3, 2, 4, 5, name=f"{name}_by_row")
        data = reshape(data, -1, *self.filled, channels, name=f"{name}_joined")
        back = (self.filled[0] - self.shift[0], self.filled[1] - self.shift[1])
        data = roll(data, back, self.filled, name=f"{name}_back")
        for axis, (wanted, there) in enumerate(zip(self.side, self.filled, strict=True), start=1):
            if wanted != there:
                data = mx.sym.slice_axis(data, axis=axis, begin=0, end=wanted, name=f"{name}_emptied{axis}")
        return data

    def _fill(self, data: Symbol, channels: int, *, name: str) -> Symbol:
        missing = (self.filled[0] - self.side[0], self.filled[1] - self.side[1])
        if not any(missing):
            return data
        # MXNet pads four or five axes, and never the first two.
        data = reshape(data, -1, 1, *self.side, channels, name=f"{name}_apart")
        width = (0, 0, 0, 0, 0, missing[0], 0, missing[1], 0, 0)
        data = mx.sym.pad(data, mode="constant", constant_value=0, pad_width=width, name=f"{name}_filling")
        return reshape(data, -1, *self.filled, channels, name=f"{name}_filled")


def roll(data: Symbol, shift: tuple[int, int], side: tuple[int, int], *, name: str) -> Symbol:
    """Move a map of ``side`` up and to the left by ``shift``; what leaves it comes in on the other side."""
    for axis, (step, length) in enumerate(zip(shift, side, strict=True), start=1):
        if step % length:
            near = mx.sym.slice_axis(data, axis=axis, begin=step, end=length, name=f"{name}{axis}_near")
            far = mx.sym.slice_axis(data, axis=axis, begin=0, end=step, name=f"{name}{axis}_far")
            data = mx.sym.concat(near, far, dim=axis, name=f"{name}{axis}")
    return data


class Constants:
    """The constants of a graph, each made once: whoever asks again is given the same node."""

    def __init__(self) -> None:
        self._made: dict[str, Symbol] = {}

    def position_index(self, windows: Windows) -> Symbol:
        """Return for each pair of a window's places (area * area) the row of the bias table: how one lies to the other.

        As in the paper: (y_i - y_j + height - 1) * (2 * width - 1) + x_i - x_j + width - 1.
        """
        height, width = windows.size
        name = f"window{height}x{width}"
        if name not in self._made:
            row = 2 * width - 1
            y = mx.sym.arange(start=0, stop=height * row, step=row, dtype="float32", name=f"{name}_y")
            x = mx.sym.arange(start=0, stop=width, dtype="float32", name=f"{name}_x")
            place = mx.sym.broadcast_add(
                reshape(y, height, 1, name=f"{name}_y_column"),
                reshape(x, 1, width, name=f"{name}_x_row"),
                name=f"{name}_places",
            )
            one = reshape(place, -1, 1, name=f"{name}_first")
            other = reshape(place, 1, -1, name=f"{name}_second")
            apart = mx.sym.broadcast_sub(one, other, name=f"{name}_apart")
            least = float((height - 1) * row + width - 1)
            index = mx.sym._internal._plus_scalar(apart, scalar=least, name=f"{name}_from_zero")
            self._made[name] = reshape(index, -1, name=f"{name}_index")
        return self._made[name]

    def shift_mask(self, windows: Windows) -> Symbol | None:
        """Return what shifted windows add to scores: (1, windows, 1, area, area), 0 or ``MASKED``; None where no shift.

        What a shift brings from the other side of the map is no neighbour: only places of one region see each other.
        """
        if not any(windows.shift):
            return None
        name = f"map{windows.side[0]}x{windows.side[1]}"
        if name not in self._made:
            (down, across), (height, width) = windows.counts, windows.size
            y = reshape(self._regions(windows, 0, name=f"{name}_y"), 1, down, height, 1, 1, name=f"{name}_y_column")
            x = reshape(self._regions(windows, 1, name=f"{name}_x"), 1, 1, 1, across, width, name=f"{name}_x_row")
            # Three regions down and three across.
            y = mx.sym._internal._mul_scalar(y, scalar=3.0, name=f"{name}_y_times")
            region = mx.sym.broadcast_add(y, x, name=f"{name}_regions")
            region = transpose(region, 0, 1, 3, 2, 4, name=f"{name}_by_window")
            one = reshape(region, 1, down * across, 1, windows.area, 1, name=f"{name}_first")
            other = reshape(region, 1, down * across, 1, 1, windows.area, name=f"{name}_second")
            apart = mx.sym.broadcast_not_equal(one, other, name=f"{name}_apart")
            self._made[name] = mx.sym._internal._mul_scalar(apart, scalar=MASKED, name=f"{name}_mask")
        return self._made[name]

    def _regions(self, windows: Windows, axis: int, *, name: str) -> Symbol:
        """Return along one axis 0 for what stays in its window, in the last window 1, and 2 for what came round."""
        length, size, shift = windows.filled[axis], windows.size[axis], windows.shift[axis]
        place = mx.sym.arange(start=0, stop=length, dtype="float32", name=name)
        if not shift:
            return mx.sym.zeros_like(place, name=f"{name}_alike")
        last = mx.sym._internal._greater_equal_scalar(place, scalar=float(length - size), name=f"{name}_last")
        round_ = mx.sym._internal._greater_equal_scalar(place, scalar=float(length - shift), name=f"{name}_round")
        return mx.sym.elemwise_add(last, round_, name=f"{name}_region")
