"""Nets on embeddings: which ones they are, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agegender.deploy.vector_net import VectorNet, open_vector_net
from agegender.errors import CheckpointError
from agegender.graph import ModelInfo


class Echo:
    """Tells the first number of each embedding as the age."""

    def forward(self, data: np.ndarray) -> dict[str, np.ndarray]:
        assert data.shape[1:] == (4, 1, 1)
        return {"age_output": data[:, :1, 0, 0]}


def info(shape: list[int]) -> ModelInfo:
    part = {"outputs": ["age_output"], "form": "number"}
    return ModelInfo(input={"shape": shape}, readout={"layout": "ssr", "age": part})


def test_it_reads_rows() -> None:
    net = VectorNet(info([4, 1, 1]), Echo(), source=Path("net.json"))
    assert net.width == 4
    reading = net.read(np.array([[30, 0, 0, 0], [41, 1, 2, 3]], np.float32))
    assert reading.age is not None
    assert reading.age.tolist() == [30, 41]
    assert reading.gender is None
    with pytest.raises(ValueError, match=r"embeddings have shape \(2, 3\), not \(n, 4\)"):
        net.read(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("described", "line"),
    [
        (None, "net.json doesn't say what goes into the model"),
        (ModelInfo(), "net.json doesn't say what goes into the model"),
        (info([3, 64, 64]), r"net.json: the model takes pictures \[3, 64, 64\], not embeddings \[width, 1, 1\]"),
        (info([3, 1, 1]), "net.json: the model takes pictures"),
    ],
)
def test_other_models(described: ModelInfo | None, line: str) -> None:
    with pytest.raises(CheckpointError, match=line):
        VectorNet(described, Echo(), source=Path("net.json"))


def test_a_net_on_pictures_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"ssrnet.json: the model takes pictures \[3, 64, 64\]"):
        open_vector_net("ssrnet", gpu_ids="cpu")
