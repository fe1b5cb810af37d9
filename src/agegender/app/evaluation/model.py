"""The model that eval scores: a checkpoint on any executor, or an exported file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from agegender.deploy.net import read_description, read_outputs, read_readout
from agegender.deploy.open_net import check_onnx_passes, check_runs_onnx, open_onnx
from agegender.errors import UsageError
from agegender.executor import open_executor
from agegender.executor.base import Executor
from agegender.executor.choice import choose_engine
from agegender.executor.monte_carlo import with_passes
from agegender.face.preprocess import to_input
from agegender.graph.checkpoint import Checkpoint, load_checkpoint, params_path, symbol_path
from agegender.graph.info import ModelInfo, info_path
from agegender.graph.lookup import ModelRef
from agegender.input_shape import is_vector
from agegender.readout import Reading

if TYPE_CHECKING:
    from agegender.executor.onnx_executor import ONNXFile

# From a batch of crops (n, h, w, 3) uint8 RGB, of the net's size, or of embeddings (n, 1, 1, d) float32, to what the
# net tells of them, uncorrected.
Read = Callable[[npt.NDArray[Any]], Reading]


@dataclass(frozen=True, kw_only=True)
class EvalModel:
    """A model: ``source`` is where ``info`` is written, ``files`` are all that belong to it.

    ``epoch`` is None where an exported file doesn't tell; such a file is ``onnx``, and ``checkpoint`` is None.
    """

    prefix: Path
    epoch: int | None
    info: ModelInfo | None
    source: Path
    files: tuple[Path, ...]
    checkpoint: Checkpoint | None = None
    onnx: ONNXFile | None = None

    def open(self, engine: str, gpu_ids: str | None, *, mc_dropout: int | None = None, seed: int = 0) -> Read:
        """Return the model ready to read faces on ``engine`` (auto: as in training); ``model_crop`` comes first.

        ``mc_dropout`` and ``seed`` as for ``Predictor``. Raises UsageError for an engine that can't run it or passes
        of a net without dropout, and what ``open_executor`` raises.
        """
        assert self.info is not None
        executor = self._executor(engine, gpu_ids, mc_dropout=mc_dropout, seed=seed)
        shape = self.info.data_shape
        if shape is not None and is_vector(shape):
            vectors = read_readout(self.info, self.source)
            return lambda batch: read_outputs(vectors, executor, to_input(batch))
        spec, readout = read_description(self.info, self.source)
        return lambda batch: read_outputs(readout, executor, to_input(batch, spec))

    def _executor(self, engine: str, gpu_ids: str | None, *, mc_dropout: int | None, seed: int) -> Executor:
        if self.onnx is not None:
            check_runs_onnx(engine, self.prefix)
            check_onnx_passes(mc_dropout, self.prefix)
            return self.onnx
        assert self.checkpoint is not None
        chosen, _ = choose_engine(engine, gpu_ids)

        def open_plain(part: Checkpoint, gpu_ids: str | None = gpu_ids) -> Executor:
            return open_executor(part, engine=chosen, gpu_ids=gpu_ids)

        return with_passes(self.checkpoint, open_plain, passes=mc_dropout, seed=seed)


def open_eval_model(found: ModelRef | Path, *, gpu_ids: str | None = None) -> EvalModel:
    """Load what ``found`` names: a checkpoint, or an .onnx file, which is opened at once, on ``gpu_ids``.

    Raises CheckpointError and GraphError for one that can't be used, UsageError for a checkpoint that tells neither
    age nor gender as ours do and has no readout.
    """
    if isinstance(found, Path):
        file, info, source = open_onnx(found, gpu_ids=gpu_ids)
        return EvalModel(prefix=found, epoch=None, info=info, source=source, files=(found, source), onnx=file)
    checkpoint = load_checkpoint(found.prefix, found.epoch)
    prefix = checkpoint.prefix
    described = checkpoint.info
    # A net that learned one of the two has the outputs of that one.
    learned = "both" if described is None else described.task
    wanted = {"age_output"} if learned == "age" else {"gender_softmax_output"}
    missing = (wanted if learned != "both" else wanted | {"age_output"}) - set(checkpoint.graph.outputs())
    if missing and (described is None or not described.readout):
        there = ", ".join(checkpoint.graph.outputs())
        raise UsageError(
            f"{prefix} has no output {', '.join(sorted(missing))} (it has {there}); tools/convert.py writes down "
            "what the outputs of an old model mean"
        )
    source = info_path(prefix)
    files = (symbol_path(prefix), params_path(prefix, checkpoint.epoch), source)
    return EvalModel(
        prefix=prefix, epoch=checkpoint.epoch, info=described, source=source, files=files, checkpoint=checkpoint
    )
