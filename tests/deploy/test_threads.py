"""Several threads: large batches in parts, and one predictor that many call at once, tell the same as one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agegender.deploy.batch_parts import InParts
from agegender.deploy.face import Face
from agegender.deploy.mtcnn import open_mtcnn
from agegender.deploy.predict import Predictor
from agegender.executor import open_executor
from agegender.face.photo import read_photo
from agegender.graph import load_checkpoint


def faces(count: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(4).uniform(0, 255, (count, 3, 64, 64)).astype(np.float32)


def assert_same(found: Sequence[Face], expected: Sequence[Face]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=1e-3)
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1e-3)
        assert (one.gender, one.score) == (other.gender, pytest.approx(other.score, abs=1e-5))
        assert one.gender_probability == pytest.approx(other.gender_probability, abs=1e-4)
        assert one.age == pytest.approx(other.age, abs=1e-2)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 8, 15])
def test_parts_are_the_whole(untrained_model: Path, count: int) -> None:
    executor = open_executor(load_checkpoint(untrained_model), engine="onnxruntime", gpu_ids="cpu", threads=2)
    sizes: list[int] = []

    class Watched:
        def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
            sizes.append(len(data))
            return executor.forward(data)

    whole, parts = executor.forward(faces(count)), InParts(Watched(), workers=2).forward(faces(count))
    assert (sum(sizes), max(sizes) <= 4) == (count, True)
    assert list(parts) == list(whole)
    for name, array in whole.items():
        assert parts[name].shape == array.shape
        np.testing.assert_allclose(parts[name], array, atol=1e-5)


def test_only_those_that_threads_may_call_get_parts(untrained_model: Path) -> None:
    def opened(**how: Any) -> bool:
        return isinstance(Predictor(untrained_model, detector=None, gpu_ids="cpu", **how).reader._executor, InParts)

    assert opened(engine="onnxruntime", threads=2)
    assert not opened(engine="onnxruntime", threads=1)
    assert not opened(engine="mxnet", threads=2)


def test_one_predictor_for_many_threads(untrained_model: Path, root: Path) -> None:
    people = read_photo(root / "test.jpg")
    # Eight faces in one, so that the net gets parts too; another size each, so that sessions open meanwhile.
    photos = [
        people,
        np.tile(people[::3, ::3], (2, 2, 1)),
        np.ascontiguousarray(people[70:, 185:400]),
        people[::2, ::2],
    ]
    photos = [np.ascontiguousarray(photo) for photo in photos]
    alone = Predictor(untrained_model, gpu_ids="cpu", engine="onnxruntime", threads=1)
    expected = [alone.predict(photo) for photo in photos]
    assert max(len(found) for found in expected) > 4
    shared = Predictor(untrained_model, detector=open_mtcnn(engine="onnxruntime", threads=3), gpu_ids="cpu", threads=3)
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(shared.predict, photos * 4), expected * 4, strict=True):
            assert_same(found, wanted)
