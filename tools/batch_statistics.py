"""BatchNorm's statistics of a checkpoint whose weights were changed by hand, counted anew on faces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy.typing as npt
import torch
from tqdm import tqdm

from agegender.errors import UsageError
from agegender.executor.torch_graph import GraphModule
from agegender.face.preprocess import to_input
from agegender.graph.checkpoint import Checkpoint
from agegender.input_shape import size_of
from agegender.pipeline.loader import Loader
from agegender.recordio import open_records

BATCH = 64
# 12,800 faces: a channel's mean is then known to a hundredth of its deviation.
BATCHES = 200


def recounted(checkpoint: Checkpoint, data: str, *, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Return the parameters of ``checkpoint`` with statistics over faces drawn from the records ``data``.

    As many as 200 batches of 64, mirrored at random as in training; the set has to be in the checkpoint's template.
    Raises UsageError for a checkpoint that says no input size, and what ``open_records`` and the loader raise.
    """
    if checkpoint.info is None or checkpoint.info.data_shape is None:
        raise UsageError(f"{checkpoint.prefix} doesn't say how large its input is: nothing can be counted")
    module = GraphModule(checkpoint.graph, checkpoint.params)
    size = size_of(checkpoint.info.data_shape)
    with (
        open_records(data) as records,
        Loader(records, batch_size=BATCH, size=size, shuffle=True, seed=seed) as loader,
    ):
        wanted = min(BATCHES, max(1, len(records) // BATCH))
        with tqdm(total=wanted, unit="batches", desc="BatchNorm", disable=None) as progress:

            def batches() -> Iterator[torch.Tensor]:
                for batch in islice(loader.epoch(0), wanted):
                    yield torch.from_numpy(to_input(batch.data))
                    progress.update()

            module.recount(batches())
    counted = module.export_params()
    return {name: counted[name] if name.startswith("aux:") else array for name, array in checkpoint.params.items()}
