"""From crops to what a network takes: the same in training-time scoring and in deployment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import UsageError
from agegender.resize import resize_crop

__all__ = ["InputSpec", "resize_crop", "to_input"]

COLOURS = ("RGB", "BGR")
_MAX = 255.0


@dataclass(frozen=True)
class InputSpec:
    """What a net wants to be given: colours in the order ``colour``, of each ``(value - mean) * scale``.

    ``size`` is (height, width); ``mean`` and ``scale`` have a number per channel, in the net's order. Our own nets take
    RGB as it is and normalise inside.
    """

    size: tuple[int, int]
    colour: str = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def from_info(cls, value: Mapping[str, Any]) -> InputSpec:
        """Return what the ``input`` of ``prefix.json`` says: shape, colour, mean and scale, or else range.

        ``mean`` and ``scale`` are a number or three; where both are absent, 0..255 is brought to ``range``. Raises
        UsageError, which names the field.
        """
        shape = value.get("shape")
        if not isinstance(shape, list | tuple) or len(shape) != 3 or not all(type(n) is int and n > 0 for n in shape):
            raise UsageError(f"input.shape is {shape!r}, not [3, height, width]")
        if shape[0] != 3:
            raise UsageError(f"input.shape is {list(shape)}: nets on {shape[0]} channels are not supported, only on 3")
        colour = value.get("colour", "RGB")
        if colour not in COLOURS:
            raise UsageError(f"input.colour is {colour!r} ({', '.join(COLOURS)})")
        if "mean" in value or "scale" in value:
            mean, scale = _three(value.get("mean", 0.0), "mean"), _three(value.get("scale", 1.0), "scale")
        else:
            low, high = _range(value.get("range", [0, 255]))
            step = (high - low) / _MAX
            # + 0.0: no -0.0 in what is written.
            mean, scale = (-low / step + 0.0,) * 3, (step,) * 3
        if not all(scale):
            raise UsageError(f"input.scale is {value.get('scale')!r}: with 0 nothing is left of a picture")
        return cls((shape[1], shape[2]), colour, mean, scale)

    def to_info(self) -> dict[str, Any]:
        """Return the ``input`` of ``prefix.json``; ``mean`` and ``scale`` only where there is something to do."""
        ends = [(end - mean) * scale for mean, scale in zip(self.mean, self.scale, strict=True) for end in (0, _MAX)]
        reach = [_short(min(ends)), _short(max(ends))]
        value: dict[str, Any] = {"shape": [3, *self.size], "colour": self.colour, "range": reach}
        if not self.plain:
            value |= {"mean": [_short(x) for x in self.mean], "scale": [_short(x) for x in self.scale]}
        return value

    @property
    def plain(self) -> bool:
        """Whether the values go in as they are."""
        return self.mean == (0, 0, 0) and self.scale == (1, 1, 1)


def to_input(crops: npt.NDArray[Any], spec: InputSpec | None = None) -> npt.NDArray[np.float32]:
    """Return ``crops`` (n, h, w, 3) uint8 RGB as float32 (n, 3, h, w) the way ``spec`` wants them.

    Without one they stay RGB, 0..255: our graphs normalise inside. Embeddings (n, 1, 1, d) become (n, d, 1, 1).
    """
    if spec is not None and spec.colour == "BGR":
        crops = crops[..., ::-1]
    data = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)
    if spec is not None and not spec.plain:
        data -= np.array(spec.mean, np.float32)[:, None, None]
        data *= np.array(spec.scale, np.float32)[:, None, None]
    return data


def _three(value: Any, name: str) -> tuple[float, float, float]:
    numbers = [value] * 3 if not isinstance(value, list | tuple) else list(value)
    if len(numbers) != 3 or not all(_is_number(number) for number in numbers):
        raise UsageError(f"input.{name} is {value!r}, neither a number nor three, one per channel")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def _range(value: Any) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(_is_number(number) for number in value):
        raise UsageError(f"input.range is {value!r}, not [low, high]")
    if not value[0] < value[1]:
        raise UsageError(f"input.range is {list(value)}: the second number must be the larger one")
    return float(value[0]), float(value[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _short(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number
