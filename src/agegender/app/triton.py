"""A model repository of NVIDIA's Triton: an exported file in its place, and a configuration made from what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agegender.errors import UsageError

# https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md
_TYPES = {"float": "FP32", "float16": "FP16", "double": "FP64", "int32": "INT32", "int64": "INT64", "uint8": "UINT8"}
MOST_FACES = 64
# Microseconds that a face waits for others.
_DELAY = 5000


def model_path(repository: Path, name: str) -> Path:
    """Return where a Triton model repository has version 1 of the model ``name``: NAME/1/model.onnx."""
    return repository / name / "1" / "model.onnx"


def config_path(model: Path) -> Path:
    """Return where the configuration lies that belongs to the file ``model`` of a repository."""
    return model.parent.parent / "config.pbtxt"


def triton_config(model: Any, *, name: str, most: int = MOST_FACES) -> str:
    """Return ``config.pbtxt`` for the ONNX ``model`` (a ModelProto), from its own inputs and outputs.

    Where its first dimension is open, Triton puts up to ``most`` faces together; where it is fixed, a request has as
    many. Raises UsageError for a type that Triton doesn't name.
    """
    inputs, outputs = list(model.graph.input), list(model.graph.output)
    batched = all(not each.type.tensor_type.shape.dim[0].HasField("dim_value") for each in (*inputs, *outputs))
    lines = [f"# {line}" for line in _about(model)]
    lines += [f'name: "{name}"', 'backend: "onnxruntime"', f"max_batch_size: {most if batched else 0}"]
    for kind, values in (("input", inputs), ("output", outputs)):
        lines.append(f"{kind} [")
        lines.append(",\n".join(f"  {{ {_tensor(value, batched)} }}" for value in values))
        lines.append("]")
    if batched:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {_DELAY} }}")
    return "\n".join(lines) + "\n"


def _about(model: Any) -> list[str]:
    """Return what a client has to know, from what the file says of itself."""
    said = {entry.key: entry.value for entry in model.metadata_props}
    lines = [said["model"]] if "model" in said else []
    pixels = said.get("input")
    if pixels is not None and pixels.startswith("{"):
        lines.append(f"input: {pixels}; normalisation: {said.get('normalisation', 'inside the graph')}")
    crop = json.loads(said.get("crop", "{}"))
    if crop:
        lines.append(f"faces warped to the crop template {crop.get('name')!r}: Predictor.reader.crop does it")
    return [" ".join(line.split()) for line in lines]


def _tensor(value: Any, batched: bool) -> str:
    import onnx

    tensor = value.type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    if kind not in _TYPES:
        raise UsageError(f"--triton: {value.name} is of the type {kind} ({', '.join(_TYPES)})")
    dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
    return f'name: "{value.name}", data_type: TYPE_{_TYPES[kind]}, dims: {dims[1:] if batched else dims}'
