"""PyTorch's parameters by name, from the files that they are shared in; no file is allowed to run code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from agegender.errors import CheckpointError, UsageError

Arrays = dict[str, npt.NDArray[Any]]

# What safetensors calls its types. bfloat16, which NumPy lacks, is read as the upper half of a float32.
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
# Under these keys training scripts put the parameters beside an optimizer.
_WRAPPERS = ("model", "state_dict")


def read_state_dict(path: Path) -> Arrays:
    """Read ``.safetensors``, ``.npz`` or ``.pth``/``.pt``/``.bin``: arrays by PyTorch's names.

    ``.pth`` is read by PyTorch's ``weights_only`` reader, which makes tensors and nothing else. Raises UsageError for
    another ending, CheckpointError for a file that is missing or damaged or holds anything but arrays.
    """
    readers = {".safetensors": _safetensors, ".npz": _npz, ".pth": _torch, ".pt": _torch, ".bin": _torch}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: not a file of weights that can be read ({', '.join(readers)})")
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    return reader(path)


def _safetensors(path: Path) -> Arrays:
    """Read ``<Q`` length of the header, the header as JSON, and the values one after another."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or start > len(data):
        raise CheckpointError(f"{path} is damaged: its header is longer than the file")
    try:
        header = json.loads(data[8:start])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its header is no JSON") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} is damaged: its header is no JSON object")
    values = memoryview(data)[start:]
    return {name: _tensor(entry, values, f"{path}: {name}") for name, entry in header.items() if name != "__metadata__"}


def _tensor(entry: Any, values: memoryview, where: str) -> npt.NDArray[Any]:
    """Return one array. ``where`` begins the message of the CheckpointError for an entry that makes no sense."""
    try:
        kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise CheckpointError(f"{where}: no type, shape and place") from None
    if kind not in _TYPES:
        raise CheckpointError(f"{where}: the type {kind!r} is not known ({', '.join(_TYPES)})")
    numbers = [begin, end, *shape] if isinstance(shape, list) else [None]
    if not all(type(number) is int and number >= 0 for number in numbers) or not begin <= end <= len(values):
        raise CheckpointError(f"{where}: shape {shape} at {begin} to {end} of {len(values)} bytes")
    dtype = np.dtype(_TYPES[kind])
    if math.prod(shape) * dtype.itemsize != end - begin:
        raise CheckpointError(f"{where}: {kind} of shape {shape} does not have {end - begin} bytes")
    array = np.frombuffer(values[begin:end], dtype).reshape(shape)
    return (array.astype("<u4") << 16).view("<f4") if kind == "BF16" else array


def _npz(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise CheckpointError(f"{path} can't be read: {error}") from error


def _torch(path: Path) -> Arrays:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever its reader stumbles over
        problem = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{path} can't be read as tensors alone: {problem}") from error
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise CheckpointError(f"{path} holds something else than tensors by name")
    return {str(name): (value.float() if value.is_floating_point() else value).numpy() for name, value in found.items()}
