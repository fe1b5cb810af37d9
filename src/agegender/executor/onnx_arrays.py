"""MXNet's operators that move, cut, join and look up values, as ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from onnx import TensorProto, helper

from agegender.errors import GraphError
from agegender.executor.attributes import Attributes
from agegender.executor.onnx_emitter import Dim, Emitter, Writer
from agegender.executor.shape_codes import ReshapeTarget

_DTYPES = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
_FARTHEST = int(np.iinfo(np.int64).max)
# Two sizes for one that is not known: what depends on it comes out different. Products of primes can't collide.
_TRIALS = ((7919, 104729), (6101, 94261))


def _dtype(attrs: Attributes, default: str | None = "float32") -> int:
    return _DTYPES[attrs.choice("dtype", tuple(_DTYPES), default)]


def concat(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Join along an axis."""
    return out.emit("Concat", inputs, axis=attrs.integer("dim", 1))


def flatten(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Bring all axes but the first together."""
    return out.emit("Flatten", inputs, axis=1)


def reshape(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Give values another shape; see ``ReshapeTarget`` for the codes."""
    target = ReshapeTarget.read(attrs)
    shape = out.shape(inputs[0])
    try:
        first, second = (target.sizes(_with_sizes(shape, trial)) for trial in _TRIALS)
    except (IndexError, ZeroDivisionError) as error:
        raise GraphError(
            f"node {attrs.name!r} ({attrs.op}): {shape} can't be reshaped to {target.codes or target.legacy}"
        ) from error
    sizes: list[int] = []
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        kept = place < len(shape) and shape[place] is None and one == _with_sizes(shape, _TRIALS[0])[place]
        sizes.append(one if one == other else 0 if kept else -1)
    if sizes.count(-1) > 1:
        raise GraphError(
            f"node {attrs.name!r} ({attrs.op}): {shape} to {target.codes or target.legacy} needs a fixed image size"
        )
    return out.reshape(inputs[0], sizes)


def _with_sizes(shape: Sequence[Dim], trial: Sequence[int]) -> list[int]:
    unknown = [place for place, size in enumerate(shape) if size is None]
    # The batch is one prime, height and width powers of another.
    made = {place: trial[0] if place == 0 else trial[1] ** place for place in unknown}
    return [made[place] if size is None else size for place, size in enumerate(shape)]


def transpose(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Reorder the axes; without ``axes`` the last comes first."""
    rank = out.rank(inputs[0])
    axes = attrs.numbers("axes", ()) or tuple(range(rank))[::-1]
    return out.transpose(inputs[0], [axis % rank for axis in axes])


def swap_axis(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Exchange two axes."""
    order = list(range(out.rank(inputs[0])))
    first, second = attrs.integer("dim1", 0), attrs.integer("dim2", 0)
    order[first], order[second] = order[second], order[first]
    return out.transpose(inputs[0], order)


def expand_dims(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Insert an axis of size 1."""
    return out.emit("Unsqueeze", [inputs[0], out.ints([attrs.integer("axis")])])


def squeeze(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Take axes of size 1 out; one always stays."""
    shape = out.shape(inputs[0])
    axes = [axis % len(shape) for axis in attrs.numbers("axis", ())]
    chosen = [axis for axis in axes or range(len(shape)) if shape[axis] == 1]
    if len(chosen) == len(shape):
        chosen = chosen[1:]
    return out.emit("Squeeze", [inputs[0], out.ints(chosen)]) if chosen else out.emit("Identity", inputs)


def slice_all(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Cut along the first axes, with steps; a negative one goes backwards."""
    begin, end = attrs.optional_numbers("begin") or (), attrs.optional_numbers("end") or ()
    step = attrs.optional_numbers("step") or (None,) * len(begin)
    if not len(begin) == len(end) == len(step) or 0 in step:
        raise attrs.error("begin", "not as many numbers as end and step, or a step is 0")
    steps = [each or 1 for each in step]
    starts = [_default(first, 0 if by > 0 else _FARTHEST) for first, by in zip(begin, steps, strict=True)]
    stops = [_default(last, _FARTHEST if by > 0 else -_FARTHEST) for last, by in zip(end, steps, strict=True)]
    return out.emit("Slice", [inputs[0], *map(out.ints, (starts, stops, range(len(steps)), steps))])


def _default(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def slice_axis(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Cut along one axis."""
    stop = _default(attrs.optional_integer("end"), _FARTHEST)
    return out.cut(inputs[0], attrs.integer("axis"), attrs.integer("begin"), stop)


def slice_channel(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> list[str]:
    """Split into ``num_outputs`` equal parts."""
    count, axis = attrs.integer("num_outputs"), attrs.integer("axis", 1)
    size = out.size(inputs[0], axis)
    if size % count:
        raise attrs.error("num_outputs", f"no divisor of {size}")
    parts = out.emit_many("Split", [inputs[0], out.ints([size // count] * count)], count, axis=axis)
    if attrs.boolean("squeeze_axis", False):
        return [out.emit("Squeeze", [part, out.ints([axis])]) for part in parts]
    return parts


def crop(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Cut maps to ``h_w`` or to the size of a second input, at ``offset`` or around the centre."""
    wanted, offset = attrs.numbers("h_w", (0, 0), count=2), attrs.numbers("offset", (0, 0), count=2)
    data, centred = inputs[0], attrs.boolean("center_crop", False)
    if len(inputs) == 2 and not centred and None in out.shape(inputs[1])[2:]:
        end = out.emit("Add", [out.emit("Shape", [inputs[1]], start=2, end=4), out.ints(offset)])
        return out.emit("Slice", [data, out.ints(offset), end, out.ints([2, 3])])
    for axis in (0, 1):
        size = wanted[axis] if len(inputs) == 1 else out.size(inputs[1], axis + 2)
        start = offset[axis]
        if centred:
            start = (out.size(data, axis + 2) - size) // 2
        data = out.cut(data, axis + 2, start, start + size)
    return data


def pad(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Pad by a constant, by the outermost values or by reflection."""
    mode = attrs.choice("mode", ("constant", "edge", "reflect"), "constant")
    width = attrs.numbers("pad_width")
    if len(width) % 2 or any(width[:4]):
        raise attrs.error("pad_width", "not pairs of numbers, the first two of which are 0")
    value = out.scalar(attrs.real("constant_value", 0.0), inputs[0])
    return out.emit("Pad", [inputs[0], out.ints([*width[::2], *width[1::2]]), value], mode=mode)


def tile(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Repeat the whole, axis by axis."""
    reps, data = list(attrs.numbers("reps")), inputs[0]
    missing = len(reps) - out.rank(data)
    if missing > 0:
        data = out.emit("Unsqueeze", [data, out.ints(range(missing))])
    return out.emit("Tile", [data, out.ints([*[1] * -missing, *reps])])


def repeat(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Repeat each value along an axis, or in one row of all values."""
    times, axis = attrs.integer("repeats"), attrs.optional_integer("axis")
    data = inputs[0]
    if axis is None:
        data, axis = out.reshape(data, [-1]), 0
    shape = out.shape(data)
    axis %= len(shape)
    apart = out.emit("Unsqueeze", [data, out.ints([axis + 1])])
    repeated = out.emit(
        "Tile", [apart, out.ints([times if place == axis + 1 else 1 for place in range(len(shape) + 1)])]
    )
    after = [out.size(data, place) for place in range(axis + 1, len(shape))]
    size = shape[axis]
    return out.reshape(repeated, [*[0] * axis, -1 if size is None else size * times, *after])


def broadcast_to(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Broadcast to a shape, in which 0 keeps a size."""
    return out.emit("Expand", [inputs[0], out.ints([size or 1 for size in attrs.numbers("shape")])])


def broadcast_axis(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Broadcast some axes of size 1."""
    axes, sizes = attrs.numbers("axis", ()), attrs.numbers("size", ())
    if len(axes) != len(sizes):
        raise attrs.error("size", f"{len(sizes)} numbers for {len(axes)} axes")
    shape = [1] * out.rank(inputs[0])
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    return out.emit("Expand", [inputs[0], out.ints(shape)])


def cast(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Convert to another type."""
    return out.emit("Cast", inputs, to=_dtype(attrs, None))


def embedding(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Look up rows by number; numbers outside are clipped."""
    places = _clipped(out, inputs[0], attrs.integer("input_dim"))
    return out.emit("Gather", [inputs[1], places], axis=0)


def one_hot(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Write numbers as ``on_value`` at their place among ``depth``; those outside have none."""
    depth, dtype = attrs.integer("depth"), _dtype(attrs)
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    number = out.cast(inputs[0], TensorProto.INT64)
    hot = out.emit("Equal", [out.emit("Unsqueeze", [number, out.ints([-1])]), out.ints(range(depth))])
    on, off = attrs.real("on_value", 1.0), attrs.real("off_value", 0.0)
    return out.emit("Where", [hot, out.constant(on, kind), out.constant(off, kind)])


def take(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Look up slices along an axis; numbers outside are clipped or wrapped."""
    axis = attrs.integer("axis", 0)
    places = _places(out, attrs, inputs[1], out.size(inputs[0], axis))
    return out.emit("Gather", [inputs[0], places], axis=axis)


def pick(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Pick one value along an axis in each row; numbers outside are clipped or wrapped."""
    axis, keep = attrs.optional_integer("axis", -1), attrs.boolean("keepdims", False)
    if axis is None:
        raise attrs.error("axis", "not supported")
    places = _places(out, attrs, inputs[1], out.size(inputs[0], axis))
    if out.rank(places) != out.rank(inputs[0]):
        places = out.emit("Unsqueeze", [places, out.ints([axis])])
    picked = out.emit("GatherElements", [inputs[0], places], axis=axis)
    return picked if keep else out.emit("Squeeze", [picked, out.ints([axis])])


def _places(out: Emitter, attrs: Attributes, name: str, size: int) -> str:
    """Return whole numbers within 0..size-1."""
    if attrs.choice("mode", ("clip", "wrap"), "clip") == "clip":
        return _clipped(out, name, size)
    return out.emit("Mod", [out.cast(name, TensorProto.INT64), out.constant(size, np.int64)])


def _clipped(out: Emitter, name: str, size: int) -> str:
    number = out.cast(name, TensorProto.INT64)
    return out.emit("Clip", [number, out.constant(0, np.int64), out.constant(size - 1, np.int64)])


def where(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Choose between two by a condition, of the same shape or one per row."""
    condition, first, second = inputs
    if out.rank(condition) != out.rank(first):
        condition = out.reshape(condition, [-1, *[1] * (out.rank(first) - 1)])
    return out.emit("Where", [out.cast(condition, TensorProto.BOOL), first, second])


def arange(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Count from ``start`` to below ``stop``; with ``start`` alone from 0 to below it."""
    start, stop, step = attrs.real("start"), attrs.optional_real("stop"), attrs.real("step", 1.0)
    if attrs.boolean("infer_range", False):
        raise attrs.error("infer_range", "not supported")
    first, last = (0.0, start) if stop is None else (start, stop)
    values = np.repeat(np.arange(first, last, step, dtype=np.float64), attrs.integer("repeat", 1))
    return out.constant(values, helper.tensor_dtype_to_np_dtype(_dtype(attrs)))


def filled(out: Emitter, attrs: Attributes, inputs: Sequence[str], *, value: float | None = None) -> str:
    """Return an array of one value, that of the attribute where none is given here."""
    values = np.full(attrs.numbers("shape"), attrs.real("value") if value is None else value)
    if not values.size:
        raise attrs.error("shape", "not known")
    return out.constant(values, helper.tensor_dtype_to_np_dtype(_dtype(attrs)))


def filled_like(out: Emitter, attrs: Attributes, inputs: Sequence[str], *, value: float) -> str:
    """Return an array of one value in the shape of another."""
    kind = helper.tensor_dtype_to_np_dtype(out.elem_type(inputs[0]))
    shape = out.emit("Shape", inputs)
    return out.emit("Expand", [out.constant(value, kind), shape])


def same(out: Emitter, attrs: Attributes, inputs: Sequence[str]) -> str:
    """Pass on what comes."""
    return out.emit("Identity", inputs)


ARRAYS: dict[str, Writer] = {
    **dict.fromkeys(("Concat", "concat"), concat),
    **dict.fromkeys(("Flatten", "flatten"), flatten),
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
    "zeros_like": partial(filled_like, value=0.0),
    "ones_like": partial(filled_like, value=1.0),
    **dict.fromkeys(("BlockGrad", "stop_gradient", "_copy", "identity", "MakeLoss", "make_loss"), same),
}
