"""Opening what tells age and gender: a checkpoint, an exported ONNX file, or a pair of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.deploy.batch_parts import InParts
from agegender.deploy.net import FaceReader, Net
from agegender.deploy.pair import Pair
from agegender.errors import CheckpointError, UsageError
from agegender.executor import open_executor
from agegender.executor.base import Executor
from agegender.executor.choice import choose_executor
from agegender.executor.monte_carlo import with_passes
from agegender.graph.checkpoint import Checkpoint, load_checkpoint
from agegender.graph.info import ModelInfo, info_from_json, info_path, read_info
from agegender.graph.lookup import ModelRef, find_model

if TYPE_CHECKING:
    from agegender.executor.onnx_executor import ONNXFile

# Under this key an exported file holds what prefix.json says.
METADATA_KEY = "agegender"


def open_reader(
    model: str | Path | ModelRef | FaceReader | None = None,
    *,
    age: str | Path | None = None,
    gender: str | Path | None = None,
    template: str | None = None,
    **how: Any,
) -> FaceReader:
    """Return the net ``model``, or the pair of nets ``age`` and ``gender``; see ``Predictor`` for the arguments.

    Raises UsageError for half a pair and for a pair beside a model, and what ``open_net`` raises.
    """
    if age is None and gender is None:
        if model is None or isinstance(model, str | Path | ModelRef):
            return open_net(model, template=template, **how)
        if how.get("mc_dropout") is not None:
            raise UsageError(f"mc_dropout {how['mc_dropout']} is for a model that is opened by its name or path")
        return model
    if age is None or gender is None:
        missing, there = ("--age_model", "--gender_model") if age is None else ("--gender_model", "--age_model")
        raise UsageError(f"{there} needs {missing} beside it: together they take the place of --model")
    if model is not None:
        raise UsageError(f"--model {model} and a pair (--age_model, --gender_model): which one is it to be?")
    # A template is for the net that doesn't know its own; the other may have another.
    nets = [open_net(name, template=template, template_if_unknown=True, **how) for name in (age, gender)]
    return Pair(age=nets[0], gender=nets[1])


def open_net(
    model: str | Path | ModelRef | None = None,
    *,
    template: str | None = None,
    template_if_unknown: bool = False,
    engine: str = "auto",
    gpu_ids: str | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    mc_dropout: int | None = None,
    seed: int = 0,
) -> Net:
    """Return a net on an executor; see ``Predictor`` for the arguments and errors."""
    if isinstance(model, str | Path) and str(model).endswith(".onnx"):
        path = Path(model).expanduser()
        check_runs_onnx(engine, path)
        check_onnx_passes(mc_dropout, path)
        file, info, source = open_onnx(path, gpu_ids=gpu_ids, providers=providers, threads=threads)
        return Net(info, _in_parts(file), source=source, template=template)
    found = model if isinstance(model, ModelRef) else find_model(None if model is None else str(model), takes="photos")
    checkpoint = load_checkpoint(found.prefix, found.epoch)
    if providers is not None and engine == "auto":
        engine = "onnxruntime"
    chosen, _ = choose_executor(engine, gpu_ids)
    if template_if_unknown and checkpoint.info is not None and checkpoint.info.template:
        template = None

    def open_plain(part: Checkpoint, gpu_ids: str | None = gpu_ids) -> Executor:
        return _in_parts(open_executor(part, engine=chosen, gpu_ids=gpu_ids, providers=providers, threads=threads))

    executor = with_passes(checkpoint, open_plain, passes=mc_dropout, seed=seed)
    source = info_path(checkpoint.prefix)
    return Net(checkpoint.info, executor, source=source, template=template, epoch=checkpoint.epoch)


def _in_parts(executor: Executor) -> Executor:
    """Give large batches to several threads where the executor takes them and the processor has them."""
    workers = getattr(executor, "workers", 1)
    return InParts(executor, workers=workers) if workers > 1 else executor


def check_runs_onnx(engine: str, path: Path) -> None:
    """Raise UsageError where ``engine`` is one that can't run the .onnx file ``path``."""
    if engine not in ("auto", "onnxruntime"):
        raise UsageError(f"--engine {engine} can't run {path}: an .onnx file runs on onnxruntime")


def check_onnx_passes(mc_dropout: int | None, path: Path) -> None:
    """Raise UsageError where Monte Carlo dropout is asked of the .onnx file ``path``."""
    if mc_dropout is not None:
        raise UsageError(
            f"mc_dropout {mc_dropout}: {path} holds no dropout any more (an exported file is for inference); name the "
            "checkpoint that it was exported from, PREFIX,EPOCH, which runs on onnxruntime as well"
        )


def open_onnx(
    path: Path,
    *,
    gpu_ids: str | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
) -> tuple[ONNXFile, ModelInfo, Path]:
    """Open an .onnx file; return it, what it says of itself or what is written beside it, and where that is.

    Raises CheckpointError where the file can't be run or neither says anything, DeviceError for a device that isn't
    there.
    """
    from agegender.executor.onnx_executor import ONNXFile
    from agegender.executor.onnx_runtime import choose_providers

    file = ONNXFile(path, providers=choose_providers(gpu_ids, providers=providers), threads=threads)
    return file, *_onnx_info(path, file.metadata)


def _onnx_info(path: Path, metadata: Mapping[str, str]) -> tuple[ModelInfo, Path]:
    text = metadata.get(METADATA_KEY)
    if text is not None:
        try:
            return info_from_json(json.loads(text), path), path
        except ValueError as error:
            raise CheckpointError(f"{path}: the metadata {METADATA_KEY} is not JSON: {error}") from error
    # Exported by others: what it means may be written beside it by hand.
    prefix = path.with_suffix("")
    beside = read_info(prefix)
    if beside is None:
        raise CheckpointError(
            f"{path} doesn't say what it is: it has no metadata {METADATA_KEY} (tools/export.py writes it), and "
            f"{info_path(prefix)} does not exist"
        )
    return beside, info_path(prefix)
