"""The net that makes embeddings: a face recogniser as ONNX file or MXNet checkpoint, or a model of ours (its fc1)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agegender.deploy.open_net import METADATA_KEY
from agegender.errors import CheckpointError, UsageError
from agegender.executor import open_executor
from agegender.executor.base import Executor
from agegender.executor.choice import choose_executor
from agegender.face.preprocess import InputSpec, to_input
from agegender.face.templates import Template, get_template
from agegender.files import sha256_file
from agegender.graph.checkpoint import load_checkpoint, params_path, symbol_path
from agegender.graph.info import ModelInfo, info_from_json
from agegender.graph.lookup import find_model

if TYPE_CHECKING:
    from agegender.graph.symbol import Graph

# What recognisers take, and the crop that they were trained on (Deng et al., ArcFace, CVPR 2019).
USUAL_SIDE, USUAL_TEMPLATE = 112, "arcface"
# insightface's own: (x - 127.5) / 127.5 before a graph that doesn't normalise.
USUAL_MEAN = USUAL_STD = 127.5
EMBEDDING_OUTPUTS = ("fc1_output", "fc1")

# Operators that bring pictures to another range, and those that leave the numbers as they are.
_NORMALISE = {
    *("Sub", "Mul", "Div", "Add", "BatchNormalization", "BatchNorm"),
    *(f"_{word}_scalar" for word in ("minus", "mul", "div", "plus", "rminus")),
    *("_MinusScalar", "_MulScalar", "_DivScalar", "_PlusScalar"),
    *(f"{kind}_{word}" for kind in ("elemwise", "broadcast") for word in ("sub", "mul", "div", "add")),
}
_PASS = {"Identity", "identity", "_copy", "Cast", "cast", "Transpose", "transpose"}


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user says of the model where it doesn't say so itself, or not rightly; None: nothing.

    ``mean`` and ``std`` have a number or three, in the net's order of colours.
    """

    side: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bgr: bool = False
    output: str | None = None
    template: str | None = None


@dataclass(frozen=True, kw_only=True)
class Embedder:
    """A net ready to make embeddings of crops.

    ``spec`` is what goes in, and ``why`` where that is known from; ``template`` are the crops that it was trained on;
    ``files`` are the model's, by name, with their SHA-256.
    """

    name: str
    spec: InputSpec
    why: str
    output: str
    template: Template
    files: dict[str, str]
    executor: Executor

    def embed(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the embeddings (n, d) of ``crops`` (n, h, w, 3) uint8 RGB of the net's size.

        Raises CheckpointError where the output is not one vector per face.
        """
        outputs = self.executor.forward(to_input(crops, self.spec))
        vectors = np.asarray(outputs[self.output], np.float32)
        if vectors.shape[:1] != (len(crops),) or vectors.size == 0:
            raise CheckpointError(
                f"{self.name}: the output {self.output} has shape {vectors.shape}, not one row a face"
            )
        return vectors.reshape(len(crops), -1)

    def describe(self) -> str:
        """Return in a line what goes in and comes out."""
        height, width = self.spec.size
        means = sorted(set(self.spec.mean))
        stds = sorted({round(1 / scale, 6) for scale in self.spec.scale})
        shown = "0..255" if self.spec.plain else f"(x - {_numbers(means)}) / {_numbers(stds)}"
        return (
            f"{self.name}: {self.spec.colour} {height}x{width}, {shown} ({self.why}); {self.template.name} crops; "
            f"output {self.output}"
        )


def open_embedder(
    model: str, wishes: Wishes, *, engine: str = "auto", gpu_ids: str | None = None, threads: int | None = None
) -> Embedder:
    """Open ``model``: an .onnx file, ``PREFIX,EPOCH`` of an MXNet checkpoint, or the name of a model of ours.

    What goes in follows, in this order, from ``wishes``, from what the model says of itself (``prefix.json``, or the
    metadata of a file that we exported), and from the graph: one that subtracts, multiplies or normalises before its
    first layer takes 0..255, any other (x - 127.5) / 127.5; both RGB, 112x112 where the graph has no size of its own,
    in arcface crops. Raises UsageError for an engine that can't run it and for an output that isn't there,
    CheckpointError for a model that can't be used.
    """
    if model.endswith(".onnx"):
        return _open_onnx(Path(model).expanduser(), wishes, engine=engine, gpu_ids=gpu_ids, threads=threads)
    found = find_model(model)
    checkpoint = load_checkpoint(found.prefix, found.epoch)
    info, graph = checkpoint.info, checkpoint.graph
    inner = [f"{node.name}_output" for node in graph.nodes if not node.is_variable]
    output = _choose_output(wishes.output, graph.outputs(), known=inner, source=str(checkpoint.prefix))
    graph = graph.select([output])
    spec, why = _input(info, wishes, shape=None, first=_first_operators(graph), source=str(checkpoint.prefix))
    chosen, _ = choose_executor(engine, gpu_ids)
    # Without the parameters of what follows the embedding.
    params = {name: checkpoint.params[name] for name in graph.parameters()}
    lean = dataclasses.replace(checkpoint, graph=graph, params=params)
    files = (symbol_path(checkpoint.prefix), params_path(checkpoint.prefix, checkpoint.epoch))
    return Embedder(
        name=f"{checkpoint.prefix.name},{checkpoint.epoch}",
        spec=spec,
        why=why,
        output=output,
        template=_template(info, wishes),
        files={path.name: sha256_file(path) for path in files},
        executor=open_executor(lean, engine=chosen, gpu_ids=gpu_ids, threads=threads),
    )


def _open_onnx(path: Path, wishes: Wishes, *, engine: str, gpu_ids: str | None, threads: int | None) -> Embedder:
    from agegender.deploy.open_net import check_runs_onnx
    from agegender.executor.onnx_executor import ONNXFile
    from agegender.executor.onnx_runtime import choose_providers

    check_runs_onnx(engine, path)
    file = ONNXFile(path, providers=choose_providers(gpu_ids), threads=threads)
    output = _choose_output(wishes.output, file.outputs, known=file.outputs, source=str(path))
    info = _onnx_info(file.metadata, path)
    first = _onnx_operators(path) if info is None else []
    spec, why = _input(info, wishes, shape=file.shape[1:], first=first, source=str(path))
    return Embedder(
        name=path.name,
        spec=spec,
        why=why,
        output=output,
        template=_template(info, wishes),
        files={path.name: sha256_file(path)},
        executor=file,
    )


def _onnx_info(metadata: dict[str, str], path: Path) -> ModelInfo | None:
    text = metadata.get(METADATA_KEY)
    try:
        return None if text is None else info_from_json(json.loads(text), path)
    except ValueError as error:
        raise CheckpointError(f"{path}: the metadata {METADATA_KEY} is not JSON: {error}") from error


def _choose_output(wanted: str | None, outputs: Sequence[str], *, known: Sequence[str], source: str) -> str:
    """Return the output that is the embedding: the one asked for, ``fc1``, or the only one there is."""
    if wanted is not None:
        for name in (wanted, f"{wanted}_output"):
            if name in known:
                return name
        raise UsageError(f"--embedding_output {wanted}: {source} has no such output (it has {', '.join(outputs)})")
    for name in EMBEDDING_OUTPUTS:
        if name in known:
            return name
    if len(outputs) != 1:
        raise UsageError(f"{source} has the outputs {', '.join(outputs)}; --embedding_output says which to take")
    return outputs[0]


def _input(
    info: ModelInfo | None,
    wishes: Wishes,
    *,
    shape: Sequence[int | None] | None,
    first: Iterable[str],
    source: str,
) -> tuple[InputSpec, str]:
    """Return what goes into the net, and in words where that is known from."""
    if info is not None and info.data_shape is not None:
        try:
            spec, why = InputSpec.from_info(info.input), "as the model says"
        except UsageError as error:
            raise CheckpointError(f"{source}: {error}") from error
    else:
        channels, *sides = shape or (3, None, None)
        if channels not in (3, None):
            raise CheckpointError(f"{source} takes {channels} channels, not pictures in 3 colours")
        size = tuple(side or wishes.side or USUAL_SIDE for side in sides)
        normalises = any(op in _NORMALISE for op in first)
        why = "the graph normalises" if normalises else "the graph doesn't normalise"
        mean, scale = (0.0, 1.0) if normalises else (USUAL_MEAN, 1 / USUAL_STD)
        spec = InputSpec((size[0], size[1]), "RGB", (mean,) * 3, (scale,) * 3)
    return _as_wished(spec, why, wishes, fixed=shape)


def _as_wished(
    spec: InputSpec, why: str, wishes: Wishes, *, fixed: Sequence[int | None] | None
) -> tuple[InputSpec, str]:
    changes: dict[str, Any] = {}
    if wishes.side is not None:
        own = tuple(fixed[1:]) if fixed is not None else (None, None)
        if any(side not in (None, wishes.side) for side in own):
            raise UsageError(f"--side {wishes.side}: the model takes {own[0]}x{own[1]} and nothing else")
        changes["size"] = (wishes.side, wishes.side)
    if wishes.mean is not None:
        changes["mean"] = _three(wishes.mean, "--mean")
    if wishes.std is not None:
        std = _three(wishes.std, "--std")
        if min(std) <= 0:
            raise UsageError(f"--std {_numbers(std)}: a deviation is larger than 0")
        changes["scale"] = tuple(1 / value for value in std)
    # Who gives one of the two means the usual other: nothing is subtracted, or divided by.
    if ("mean" in changes) != ("scale" in changes):
        changes |= {"scale": (1.0,) * 3} if "mean" in changes else {"mean": (0.0,) * 3}
    if wishes.bgr:
        changes["colour"] = "BGR"
    asked = changes.keys() - {"size"}
    return dataclasses.replace(spec, **changes), "as asked" if asked else why


def _three(values: tuple[float, ...], flag: str) -> tuple[float, float, float]:
    if len(values) not in (1, 3):
        raise UsageError(f"{flag} takes one number or three, one per colour in the net's order, not {len(values)}")
    three = values * 3 if len(values) == 1 else values
    return three[0], three[1], three[2]


def _template(info: ModelInfo | None, wishes: Wishes) -> Template:
    if info is not None and info.template:
        template, _ = Template.from_json(info.template)
        if wishes.template not in (None, template.name):
            raise UsageError(f"the model was trained on {template.name!r} crops, not on {wishes.template!r}")
        return template
    return get_template(wishes.template or USUAL_TEMPLATE)


def _first_operators(graph: Graph) -> list[str]:
    """Return what is done to the input before the first layer with weights."""
    reached = {position for position, node in enumerate(graph.nodes) if node.name == graph.input_name()}
    found: list[str] = []
    for position, node in enumerate(graph.nodes):
        if node.is_variable or not any(source in reached for source, _ in node.inputs):
            continue
        if node.op not in _NORMALISE | _PASS:
            break
        found.append(node.op)
        reached.add(position)
    return found


def _onnx_operators(path: Path) -> list[str]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constant = {each.name for each in graph.initializer}
    reached = {each.name for each in graph.input if each.name not in constant}
    found: list[str] = []
    for node in graph.node:
        if not reached.intersection(node.input):
            continue
        if node.op_type not in _NORMALISE | _PASS:
            break
        found.append(node.op_type)
        reached.update(node.output)
    return found


def _numbers(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
