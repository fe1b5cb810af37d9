"""Drawn faces: the same by (seed, index), in the template's positions, named, and worth learning from."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from agegender.dataset.problems import Problems
from agegender.dataset.sources import synthetic_source
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.dataset.sources.synthetic_face import EYE_DX, EYE_Y, MIDDLE, MOUTH_DX, MOUTH_Y, NOSE_Y, draw_face
from agegender.face.templates import get_template


def test_a_face_depends_on_seed_and_number_alone() -> None:
    first, again = synthetic_sample(5, seed=1), synthetic_sample(5, seed=1)
    assert (first.gender, first.age, first.group, first.path) == (again.gender, again.age, again.group, again.path)
    image = first.image
    assert image is not None
    assert (image.shape, image.dtype) == ((112, 112, 3), np.uint8)
    np.testing.assert_array_equal(image, again.image)
    np.testing.assert_array_equal(image, pickle.loads(pickle.dumps(first)).image)
    assert not np.array_equal(image, synthetic_sample(5, seed=2).image)
    assert not np.array_equal(image, synthetic_sample(6, seed=1).image)


def test_the_source_names_them_synthetic_and_holds_no_pixels() -> None:
    source = synthetic_source(200, seed=3, size=64)
    samples = list(source.samples(Path("dataset"), Problems()))
    assert (source.name, source.found(Path("dataset")), synthetic_source(0).found(Path("dataset"))) == (
        "synthetic",
        True,
        False,
    )
    assert {sample.source for sample in samples} == {"synthetic"}
    assert {sample.template for sample in samples} == {"utkface"}
    assert samples[7].path == Path("synthetic/3/0000007.jpg")
    assert len({sample.path for sample in samples}) == 200
    assert samples[0].image is not None
    assert samples[0].image.shape == (64, 64, 3)
    ages = [sample.age for sample in samples]
    assert min(ages) <= 5
    assert max(ages) >= 85
    assert 70 <= sum(sample.gender for sample in samples) <= 130


def test_eyes_nose_and_mouth_lie_where_the_template_has_them() -> None:
    drawn = [
        (MIDDLE - EYE_DX, EYE_Y),
        (MIDDLE + EYE_DX, EYE_Y),
        (MIDDLE, NOSE_Y),
        (MIDDLE - MOUTH_DX, MOUTH_Y),
        (MIDDLE + MOUTH_DX, MOUTH_Y),
    ]
    np.testing.assert_allclose(drawn, get_template("utkface").points, atol=0.004)


@pytest.mark.parametrize("gender", [0, 1])
@pytest.mark.parametrize("age", [0, 1, 2, 13, 14, 17, 18, 45, 90, 100])
def test_every_label_can_be_drawn(gender: int, age: int) -> None:
    for number in range(5):
        image = draw_face(np.random.default_rng(number), gender=gender, age=age, tone=number, size=48)
        assert image.shape == (48, 48, 3)
        assert image.std() > 8


def test_looks_follow_the_labels() -> None:
    """Ridge regression on 16x16 gray pixels, the plainest of learners, has to beat chance by far."""
    samples = [synthetic_sample(number, seed=9, size=48) for number in range(700)]
    images = np.stack([np.asarray(sample.image, np.float64) for sample in samples])
    small = images.reshape(-1, 16, 3, 16, 3, 3).mean(axis=(2, 4)).reshape(len(samples), -1)
    small = (small - small.mean(1, keepdims=True)) / small.std(1, keepdims=True)
    inputs = np.concatenate([small, np.ones((len(samples), 1))], axis=1)
    targets = np.array([(sample.gender, sample.age) for sample in samples], np.float64)
    train, test = slice(0, 500), slice(500, 700)
    gram = inputs[train].T @ inputs[train] + 300.0 * np.eye(inputs.shape[1])
    predicted = inputs[test] @ np.linalg.solve(gram, inputs[train].T @ targets[train])
    accuracy = np.mean((predicted[:, 0] > 0.5) == targets[test, 0])
    error = np.abs(predicted[:, 1] - targets[test, 1]).mean()
    chance = np.abs(targets[test, 1] - np.median(targets[train, 1])).mean()
    assert accuracy > 0.75
    assert error < 0.65 * chance


def test_older_faces_have_grayer_hair_on_average() -> None:
    def top(age: int) -> float:
        images = [
            draw_face(np.random.default_rng(n), gender=0, age=age, tone=n % 3, size=48)[:4].mean() for n in range(40)
        ]
        return float(np.mean(images))

    assert all(younger < older for younger, older in pairwise([top(30), top(55), top(85)]))
