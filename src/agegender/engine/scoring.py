"""Scoring on a validation set with the same devices and the same uint8 batches as training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt

from agegender.engine.losses import IMAGE, scoring_symbol
from agegender.engine.module import SILENT
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.input_shape import Size, face_memory
from agegender.metrics import ScoreKeeper, Scores
from agegender.pipeline.batch import Batch


class Scorer:
    """The inference graph, scored in batches of ``rows`` faces of ``size`` (see ``Batch``), on what ``task`` learns."""

    def __init__(self, inference: Any, *, contexts: list[Any], rows: int, size: Size, task: str = "both") -> None:
        mx = load_mxnet()
        self._symbol = scoring_symbol(inference)
        self._contexts = contexts
        self._task = task
        shape, kind = face_memory(size)
        self._shape = mx.io.DataDesc(IMAGE, (rows, *shape), kind, layout="NHWC")

    def score(self, batches: Iterable[Batch], params: Mapping[str, npt.NDArray[Any]]) -> Scores:
        """Return the scores of ``params`` (named ``arg:...``, ``aux:...``) over ``batches``."""
        mx = load_mxnet()
        module = self._bind(params)
        keeper = ScoreKeeper()
        for batch in batches:
            module.forward(mx.io.DataBatch(data=[mx.nd.array(batch.data, dtype=batch.data.dtype)]), is_train=False)
            told = [output.asnumpy()[: batch.valid] for output in module.get_outputs()]
            found = dict(zip(self._symbol.list_outputs(), told, strict=True))
            keeper.update(
                gender_probability=None if self._task == "age" else found["gender_softmax_output"],
                age=None if self._task == "gender" else found["age_output"],
                labels=batch.known_labels[: batch.valid],
            )
        return keeper.compute()

    def _bind(self, params: Mapping[str, npt.NDArray[Any]]) -> Any:
        """Return a new module with ``params``.

        New each time: on CPU MXNet fuses convolution and BatchNorm and keeps the folded weights of the first forward
        pass, whatever parameters are set later (MAE 11.2 was reported where it was 5.7).
        """
        mx = load_mxnet()
        module = mx.mod.Module(
            self._symbol, data_names=[IMAGE], label_names=None, context=self._contexts, logger=SILENT
        )
        module.bind(data_shapes=[self._shape], for_training=False)
        arrays = {name: mx.nd.array(array, dtype=array.dtype) for name, array in params.items()}
        args, aux = (
            {name[4:]: array for name, array in arrays.items() if name.startswith(kind)} for kind in ("arg:", "aux:")
        )
        module.set_params(args, aux, allow_extra=True)
        return module
