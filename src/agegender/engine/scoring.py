"""Scoring on a validation set with the same devices and the same uint8 batches as training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.engine.losses import IMAGE, scoring_symbol
from agegender.engine.module import _quiet
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.metrics import ScoreKeeper, Scores
from agegender.pipeline.batch import Batch


class Scorer:
    """The inference graph bound for scoring batches of ``rows`` faces of ``size`` (height, width)."""

    def __init__(self, inference: Any, *, contexts: list[Any], rows: int, size: tuple[int, int]) -> None:
        mx = load_mxnet()
        self._module = mx.mod.Module(
            scoring_symbol(inference), data_names=[IMAGE], label_names=None, context=contexts, logger=_quiet
        )
        shape = mx.io.DataDesc(IMAGE, (rows, *size, 3), np.uint8, layout="NHWC")
        self._module.bind(data_shapes=[shape], for_training=False)

    def score(self, batches: Iterable[Batch], params: Mapping[str, npt.NDArray[Any]]) -> Scores:
        """Return the scores of ``params`` (named ``arg:...``, ``aux:...``) over ``batches``."""
        mx = load_mxnet()
        arrays = {name: mx.nd.array(array, dtype=array.dtype) for name, array in params.items()}
        self._module.set_params(
            *(
                {name[4:]: array for name, array in arrays.items() if name.startswith(kind)}
                for kind in ("arg:", "aux:")
            ),
            allow_extra=True,
        )
        keeper = ScoreKeeper()
        for batch in batches:
            self._module.forward(mx.io.DataBatch(data=[mx.nd.array(batch.data, dtype=np.uint8)]), is_train=False)
            gender, age = (output.asnumpy()[: batch.valid] for output in self._module.get_outputs())
            keeper.update(gender_probability=gender, age=age, labels=batch.labels[: batch.valid])
        return keeper.compute()
