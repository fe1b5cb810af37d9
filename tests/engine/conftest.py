"""A tiny network on tiny faces: everything the engine does, in fractions of a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from agegender.engine.config import TrainConfig
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.recordio import Header, RecordWriter, pack

SIDE = 16


def write_faces(path: Path, *, count: int, seed: int, gender: bool = True, age: bool = True) -> None:
    """Write noise whose brightness follows the age and whose colour follows the gender."""
    rng = np.random.default_rng(seed)
    with RecordWriter(path) as writer:
        for key in range(count):
            genders, years = key % 2, int(rng.integers(0, 101))
            image = rng.integers(0, 60, (20, 20, 3)) + years
            image[..., 0 if genders else 2] += 90
            label = np.array([genders if gender else -1, years if age else -1], np.float32)
            body = simplejpeg.encode_jpeg(image.astype(np.uint8), quality=95)
            writer.write(key, pack(Header(label=label, id=key), body))


@pytest.fixture(scope="session")
def write() -> Callable[..., None]:
    """The function ``write_faces``."""
    return write_faces


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.rec (72 faces) and val.rec (20)."""
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder / "train.rec", count=72, seed=1)
    write_faces(folder / "val.rec", count=20, seed=2)
    return folder


@pytest.fixture(scope="session")
def make_network() -> Callable[..., str]:
    """Return a function that builds the JSON of a network with our outputs, with BatchNorm and dropout or without."""
    mx = load_mxnet()

    def build(*, batch_norm: bool = True, dropout: bool = True, embedding: int = 8) -> str:
        body = (mx.sym.Variable("data") - 127.5) * 0.0078125
        body = mx.sym.Convolution(body, num_filter=8, kernel=(3, 3), stride=(2, 2), name="conv1")
        if batch_norm:
            body = mx.sym.BatchNorm(body, fix_gamma=False, name="bn1")
        body = mx.sym.Activation(body, act_type="relu", name="relu1")
        body = mx.sym.Pooling(body, kernel=(3, 3), stride=(2, 2), pool_type="avg", name="pool1")
        if dropout:
            body = mx.sym.Dropout(body, p=0.2, name="drop1")
        fc1 = mx.sym.FullyConnected(mx.sym.flatten(body), num_hidden=embedding, name="fc1")
        gender = mx.sym.softmax(mx.sym.FullyConnected(fc1, num_hidden=2, name="gender_logits"), name="gender_softmax")
        ages = mx.sym.softmax(mx.sym.FullyConnected(fc1, num_hidden=101, name="age_logits"), name="age_softmax")
        years = mx.sym.reshape(mx.sym.arange(start=0, stop=101), shape=(101, 1), name="years")
        network = mx.sym.Group([fc1, gender, ages, mx.sym.dot(ages, years, name="age")])
        text: str = network.tojson()
        return text

    return build


@pytest.fixture
def configure(faces: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Return a function that makes a resolved configuration for the tiny network."""

    def make(**changes: Any) -> TrainConfig:
        values: dict[str, Any] = {
            "network": "tiny",
            "gpu_ids": "cpu",
            "data_dir": str(faces),
            "prefix": str(tmp_path / "run" / "model"),
            "end_epoch": 2,
            "data_shape": (3, SIDE, SIDE),
            "head": "dex",
            "embedding": 8,
            "age_loss": "dldl",
            "batch_size": 8,
            "optimizer": "adam",
            "lr": 0.01,
            "wd": 1e-4,
            "frequent": 3,
        }
        return TrainConfig(**{**values, **changes})

    return make


@pytest.fixture(autouse=True)
def no_files_left(tmp_path: Path) -> Iterator[None]:
    """No training leaves temporary files behind."""
    yield
    assert not list(tmp_path.rglob("*.tmp"))
