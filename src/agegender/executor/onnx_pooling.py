"""MXNet's pooling as ONNX nodes, both of its rounding conventions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agegender.errors import GraphError
from agegender.executor.attributes import Attributes
from agegender.executor.onnx_emitter import Dim, Emitter
from agegender.executor.windows import PoolWindows, pool_kind

_LOWEST = float(np.finfo(np.float32).min)


class _Windows(PoolWindows):
    """Pools by the windows that it is."""

    def write(self, out: Emitter, data: str) -> str:
        """Write the pooling of ``data``; padding is written out where ONNX's own conventions are others."""
        sides = out.shape(data)[2:]
        if not self._natural(sides):
            return self._padded(out, data, [self._fixed(out, side) for side in sides])
        window = {"kernel_shape": list(self.kernel), "strides": list(self.stride), "pads": [*self.pad, *self.pad]}
        if self.kind == "max":
            return out.emit("MaxPool", [data], **window, ceil_mode=int(self.full))
        return self._sum_of_mean(out, out.emit("AveragePool", [data], **window, count_include_pad=int(self.count_pad)))

    def _natural(self, sides: Sequence[Dim]) -> bool:
        """Return whether ONNX has these windows: it allows little padding and leaves out those that lie in it."""
        if any(pad >= kernel for kernel, pad in zip(self.kernel, self.pad, strict=True)):
            return False
        if self.kind == "sum" and not self.count_pad:
            return False
        if not self.full:
            return True
        # Runtimes differ in how they count the padding of rounded averages.
        if self.kind != "max":
            return all(
                side is not None and (side + 2 * pad - kernel) % stride == 0
                for side, kernel, stride, pad in self._each(sides)
            )
        # The last window starts within the map whatever its size is, where windows touch and nothing is padded.
        return all(
            (pad == 0 and stride <= kernel)
            if side is None
            else (self.count(side, kernel, stride, pad) - 1) * stride < side + pad
            for side, kernel, stride, pad in self._each(sides)
        )

    def _padded(self, out: Emitter, data: str, sides: Sequence[int]) -> str:
        """Pool with the padding written out. Windows that lie in it alone are 0, or the smallest number there is."""
        low, high, counts = [], [], []
        for side, kernel, stride, pad in zip(sides, self.kernel, self.stride, self.pad, strict=True):
            count = self.count(side, kernel, stride, pad)
            low.append(pad)
            high.append(max((count - 1) * stride + kernel - side - pad, 0))
            inside = np.arange(-pad, side + high[-1])
            reach = pad if self.count_pad else 0
            real = (inside >= -reach) & (inside < side + reach)
            counts.append([int(real[at * stride : at * stride + kernel].sum()) for at in range(count)])
        fill = out.scalar(_LOWEST if self.kind == "max" else 0.0, data)
        wide = out.emit("Pad", [data, out.ints([0, 0, *low, 0, 0, *high]), fill], mode="constant")
        window = {"kernel_shape": list(self.kernel), "strides": list(self.stride)}
        if self.kind == "max":
            return out.emit("MaxPool", [wide], **window)
        means = out.emit("AveragePool", [wide], **window, count_include_pad=1)
        area: npt.NDArray[np.float32] = np.float32(math.prod(self.kernel)) * np.ones(1, np.float32)
        if self.kind == "avg":
            area = area / np.maximum(np.outer(counts[0], counts[1]), 1).astype(np.float32)
        return out.emit("Mul", [means, out.constant(area)])

    def _sum_of_mean(self, out: Emitter, means: str) -> str:
        return means if self.kind == "avg" else out.emit("Mul", [means, out.scalar(math.prod(self.kernel), means)])

    def _fixed(self, out: Emitter, side: Dim) -> int:
        if side is None:
            raise GraphError(
                f"node {out.node_name!r}: this pooling in an ONNX file needs a fixed image size; export with one"
            )
        return side

    def _each(self, sides: Sequence[Dim]) -> list[tuple[Dim, int, int, int]]:
        return list(zip(sides, self.kernel, self.stride, self.pad, strict=True))


def pooling(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Pool max, avg or sum over windows or, with ``global_pool``, over whole maps."""
    return _pooling(out, attrs, inputs, count_pad=attrs.boolean("count_include_pad", True))


def pooling_v1(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Pool as MXNet did before 0.9.4: as ``pooling``, but an average always counts the padding."""
    return _pooling(out, attrs, inputs, count_pad=True)


def _pooling(out: Emitter, attrs: Attributes, inputs: Sequence[str], *, count_pad: bool) -> str:
    kind, whole = pool_kind(attrs)
    if whole:
        if kind == "sum":
            return out.emit("ReduceSum", [inputs[0], out.ints([2, 3])], keepdims=1)
        return out.emit("GlobalMaxPool" if kind == "max" else "GlobalAveragePool", inputs)
    return _Windows.read(attrs, kind=kind, count_pad=count_pad).write(out, inputs[0])
