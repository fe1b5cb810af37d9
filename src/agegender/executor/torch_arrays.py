"""MXNet's operators that move, cut, join and look up values."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from agegender.executor.attributes import Attributes
from agegender.executor.torch_reshape import reshape
from agegender.executor.torch_types import Builder, Operator

_DTYPES = {
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int32": torch.int32,
    "int64": torch.int64,
    "bool": torch.bool,
}


def _dtype(attrs: Attributes, default: str | None = "float32") -> torch.dtype:
    return _DTYPES[attrs.choice("dtype", tuple(_DTYPES), default)]


def concat(attrs: Attributes) -> Operator:
    """Join along an axis."""
    axis = attrs.integer("dim", 1)
    return lambda *inputs: torch.cat(inputs, dim=axis)


def transpose(attrs: Attributes) -> Operator:
    """Reorder the axes; without ``axes`` the last comes first."""
    axes = attrs.numbers("axes", ())
    return lambda data: data.permute(axes or tuple(range(data.dim()))[::-1])


def swap_axis(attrs: Attributes) -> Operator:
    """Exchange two axes."""
    first, second = attrs.integer("dim1", 0), attrs.integer("dim2", 0)
    return lambda data: data.transpose(first, second)


def expand_dims(attrs: Attributes) -> Operator:
    """Insert an axis of size 1."""
    axis = attrs.integer("axis")
    return lambda data: data.unsqueeze(axis)


def squeeze(attrs: Attributes) -> Operator:
    """Take axes of size 1 out; one always stays."""
    axes = attrs.numbers("axis", ())

    def run(data: Tensor) -> Tensor:
        out = data.squeeze(axes) if axes else data.squeeze()
        return out if out.dim() else out.reshape(1)

    return run


def slice_all(attrs: Attributes) -> Operator:
    """Cut along the first axes, with steps; a negative one goes backwards."""
    begin, end = attrs.optional_numbers("begin") or (), attrs.optional_numbers("end") or ()
    step = attrs.optional_numbers("step") or (None,) * len(begin)
    if not len(begin) == len(end) == len(step) or 0 in step:
        raise attrs.error("begin", "not as many numbers as end and step, or a step is 0")
    cuts = [slice(*cut) for cut in zip(begin, end, step, strict=True)]

    def run(data: Tensor) -> Tensor:
        for axis, cut in enumerate(cuts):
            start, stop, stride = cut.indices(data.shape[axis])
            if stride > 0:
                data = data[(slice(None),) * axis + (slice(start, stop, stride),)]
            else:
                data = data.index_select(axis, torch.arange(start, stop, stride, device=data.device))
        return data

    return run


def slice_axis(attrs: Attributes) -> Operator:
    """Cut along one axis."""
    axis, begin, end = attrs.integer("axis"), attrs.integer("begin"), attrs.optional_integer("end")

    def run(data: Tensor) -> Tensor:
        start, stop, _ = slice(begin, end).indices(data.shape[axis])
        return data.narrow(axis, start, stop - start)

    return run


def slice_channel(attrs: Attributes) -> Operator:
    """Split into ``num_outputs`` equal parts."""
    count, axis = attrs.integer("num_outputs"), attrs.integer("axis", 1)
    squeezed = attrs.boolean("squeeze_axis", False)

    def run(data: Tensor) -> tuple[Tensor, ...]:
        parts = data.tensor_split(count, axis)
        return tuple(part.squeeze(axis) for part in parts) if squeezed else tuple(parts)

    return run


def crop(attrs: Attributes) -> Operator:
    """Cut maps to ``h_w`` or to the size of a second input, at ``offset`` or around the centre."""
    wanted, offset = attrs.numbers("h_w", (0, 0), count=2), attrs.numbers("offset", (0, 0), count=2)
    centred = attrs.boolean("center_crop", False)

    def run(data: Tensor, like: Tensor | None = None) -> Tensor:
        size = wanted if like is None else like.shape[2:]
        for axis in (0, 1):
            start = (data.shape[axis + 2] - size[axis]) // 2 if centred else offset[axis]
            data = data.narrow(axis + 2, start, size[axis])
        return data

    return run


def pad(attrs: Attributes) -> Operator:
    """Pad by a constant, by the outermost values or by reflection."""
    mode = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}[
        attrs.choice("mode", ("constant", "edge", "reflect"), "constant")
    ]
    width = attrs.numbers("pad_width")
    value = attrs.real("constant_value", 0.0)
    if len(width) % 2 or any(width[:4]):
        raise attrs.error("pad_width", "not pairs of numbers, the first two of which are 0")
    # PyTorch counts axes from the last, and all that it is given.
    margins = [side for axis in range(len(width) - 2, 3, -2) for side in width[axis : axis + 2]]
    if mode == "constant":
        return lambda data: F.pad(data, margins, value=value)
    return lambda data: F.pad(data, margins, mode=mode)


def tile(attrs: Attributes) -> Operator:
    """Repeat the whole, axis by axis."""
    return partial(_tile, reps=attrs.numbers("reps"))


def _tile(data: Tensor, *, reps: tuple[int, ...]) -> Tensor:
    return data.tile(reps)


def repeat(attrs: Attributes) -> Operator:
    """Repeat each value along an axis, or in one row of all values."""
    times, axis = attrs.integer("repeats"), attrs.optional_integer("axis")
    return lambda data: data.repeat_interleave(times, dim=axis)


def broadcast_to(attrs: Attributes) -> Operator:
    """Broadcast to a shape, in which 0 keeps a size."""
    shape = attrs.numbers("shape")
    return lambda data: data.expand([size or kept for size, kept in zip(shape, data.shape, strict=True)])


def broadcast_axis(attrs: Attributes) -> Operator:
    """Broadcast some axes of size 1."""
    axes, sizes = attrs.numbers("axis", ()), attrs.numbers("size", ())
    if len(axes) != len(sizes):
        raise attrs.error("size", f"{len(sizes)} numbers for {len(axes)} axes")

    def run(data: Tensor) -> Tensor:
        shape = list(data.shape)
        for axis, size in zip(axes, sizes, strict=True):
            shape[axis] = size
        return data.expand(shape)

    return run


def cast(attrs: Attributes) -> Operator:
    """Convert to another type."""
    dtype = _dtype(attrs, None)
    return lambda data: data.to(dtype)


def embedding(attrs: Attributes) -> Operator:
    """Look up rows by number; numbers outside are clipped."""
    last = attrs.integer("input_dim") - 1
    return lambda data, weight: F.embedding(data.long().clamp(0, last), weight)


def one_hot(attrs: Attributes) -> Operator:
    """Write numbers as ``on_value`` at their place among ``depth``; those outside have none."""
    depth, dtype = attrs.integer("depth"), _dtype(attrs)
    on, off = attrs.real("on_value", 1.0), attrs.real("off_value", 0.0)

    def run(data: Tensor) -> Tensor:
        hot = data.long().unsqueeze(-1) == torch.arange(depth, device=data.device)
        return torch.where(hot, on, off).to(dtype)

    return run


def take(attrs: Attributes) -> Operator:
    """Look up slices along an axis; numbers outside are clipped or wrapped."""
    axis, wrap = attrs.integer("axis", 0), attrs.choice("mode", ("clip", "wrap"), "clip") == "wrap"

    def run(data: Tensor, indices: Tensor) -> Tensor:
        size = data.shape[axis]
        places = indices.long()
        places = places.remainder(size) if wrap else places.clamp(0, size - 1)
        place = axis % data.dim()
        shape = (*data.shape[:place], *indices.shape, *data.shape[place + 1 :])
        return data.index_select(place, places.reshape(-1)).reshape(shape)

    return run


def pick(attrs: Attributes) -> Operator:
    """Pick one value along an axis in each row; numbers outside are clipped or wrapped."""
    axis, keep = attrs.optional_integer("axis", -1), attrs.boolean("keepdims", False)
    wrap = attrs.choice("mode", ("clip", "wrap"), "clip") == "wrap"
    if axis is None:
        raise attrs.error("axis", "not supported")

    def run(data: Tensor, index: Tensor) -> Tensor:
        size = data.shape[axis]
        places = index.long() if index.dim() == data.dim() else index.long().unsqueeze(axis)
        places = places.remainder(size) if wrap else places.clamp(0, size - 1)
        picked = data.gather(axis, places)
        return picked if keep else picked.squeeze(axis)

    return run


def where(attrs: Attributes) -> Operator:
    """Choose between two by a condition, of the same shape or one per row."""

    def run(condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
        if condition.dim() != first.dim():
            condition = condition.reshape([-1] + [1] * (first.dim() - 1))
        return torch.where(condition != 0, first, second)

    return run


class Constant(nn.Module):
    """Values that come from the attributes alone; they lie where the module's parameters lie."""

    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values, persistent=False)

    def forward(self) -> Tensor:
        """Return the values."""
        return self.values


def arange(attrs: Attributes) -> Operator:
    """Count from ``start`` to below ``stop``; with ``start`` alone from 0 to below it."""
    start, stop, step = attrs.real("start"), attrs.optional_real("stop"), attrs.real("step", 1.0)
    times = attrs.integer("repeat", 1)
    if attrs.boolean("infer_range", False):
        raise attrs.error("infer_range", "not supported")
    first, last = (0.0, start) if stop is None else (start, stop)
    values = torch.arange(first, last, step, dtype=torch.float64).repeat_interleave(times)
    return Constant(values.to(_dtype(attrs)))


def filled(attrs: Attributes, *, value: float | None = None) -> Operator:
    """Return an array of one value, that of the attribute where none is given here."""
    values = torch.full(attrs.numbers("shape"), attrs.real("value") if value is None else value, dtype=_dtype(attrs))
    if not values.numel():
        raise attrs.error("shape", "not known")
    return Constant(values)


ARRAYS: dict[str, Builder] = {
    **dict.fromkeys(("Concat", "concat"), concat),
    **dict.fromkeys(("Flatten", "flatten"), lambda attrs: lambda data: data.reshape(data.shape[0], -1)),
    **dict.fromkeys(("Reshape", "reshape"), reshape),
    "transpose": transpose,
    **dict.fromkeys(("SwapAxis", "swapaxes"), swap_axis),
    "expand_dims": expand_dims,
    "squeeze": squeeze,
    **dict.fromkeys(("slice", "crop"), slice_all),
    "slice_axis": slice_axis,
    **dict.fromkeys(("SliceChannel", "split"), slice_channel),
    "Crop": crop,
    **dict.fromkeys(("Pad", "pad"), pad),
    "tile": tile,
    "repeat": repeat,
    "broadcast_to": broadcast_to,
    **dict.fromkeys(("broadcast_axis", "broadcast_axes"), broadcast_axis),
    **dict.fromkeys(("Cast", "cast"), cast),
    "Embedding": embedding,
    "one_hot": one_hot,
    "take": take,
    "pick": pick,
    "where": where,
    "_arange": arange,
    "_zeros": partial(filled, value=0.0),
    "_ones": partial(filled, value=1.0),
    "_full": filled,
    "zeros_like": lambda attrs: torch.zeros_like,
    "ones_like": lambda attrs: torch.ones_like,
    **dict.fromkeys(("BlockGrad", "stop_gradient"), lambda attrs: torch.Tensor.detach),
    **dict.fromkeys(("_copy", "identity", "MakeLoss", "make_loss"), lambda attrs: lambda data: data),
}
