"""Means, deviations and entropies of several passes, against plain loops and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.doubt import Doubt, entropy
from agegender.errors import CheckpointError
from agegender.passes import plain, read_passes
from agegender.readout import Part, Readout

pytestmark = pytest.mark.quick

OURS = Readout(
    "dex",
    gender=Part(("gender_softmax_output",), "probabilities"),
    age=Part(("age_output",), "number"),
    distribution=Part(("age_softmax_output",), "probabilities"),
    embedding="fc1_output",
)


def outputs(faces: int, passes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(faces)
    ages = rng.dirichlet(np.full(101, 0.3), (faces, 1 + passes)).astype(np.float32)
    return {
        "fc1_output": rng.normal(0, 1, (faces, 1 + passes, 4)).astype(np.float32),
        "gender_softmax_output": rng.dirichlet((1, 1), (faces, 1 + passes)).astype(np.float32),
        "age_softmax_output": ages,
        "age_output": (ages @ np.arange(101, dtype=np.float32))[..., None],
    }


def test_what_passes_say_together() -> None:
    told = outputs(3, 5)
    reading = read_passes(OURS, told)
    doubt = reading.doubt
    assert doubt is not None
    for face in range(3):
        ages = [float(told["age_output"][face, each, 0]) for each in range(1, 6)]
        mean = sum(ages) / 5
        assert reading.age is not None and reading.age[face] == pytest.approx(mean, abs=1e-4)
        deviation = (sum((age - mean) ** 2 for age in ages) / 4) ** 0.5
        gender, mass = (
            np.mean([told[name][face, each] for each in range(1, 6)], axis=0)
            for name in ("gender_softmax_output", "age_softmax_output")
        )
        expected = {
            "age_deviation": deviation,
            "age_entropy": scipy.stats.entropy(mass, base=2),
            "gender_entropy": scipy.stats.entropy(gender, base=2),
        }
        assert doubt.of(face) == pytest.approx(expected, abs=1e-4)
        assert reading.gender is not None and reading.distribution is not None
        np.testing.assert_allclose(reading.gender[face], gender, atol=1e-6)
        np.testing.assert_allclose(reading.distribution[face], mass, atol=1e-6)
    # The first pass is the plain net's, whose embedding stays.
    single = OURS.read({name: array[:, 0] for name, array in told.items()})
    for name in ("gender", "age", "distribution", "embedding"):
        np.testing.assert_array_equal(getattr(plain(reading), name), getattr(single, name))
    np.testing.assert_array_equal(reading.embedding, single.embedding)
    assert plain(single) is single


def test_what_a_net_does_not_tell_has_no_doubt() -> None:
    told = outputs(2, 3)
    gender = read_passes(Readout("dex", gender=OURS.gender), told)
    assert gender.age is None and gender.doubt is not None
    assert gender.doubt.of(1) == {
        "age_deviation": None,
        "age_entropy": None,
        "gender_entropy": pytest.approx(float(scipy.stats.entropy(gender.gender[1], base=2)), abs=1e-4),  # type: ignore[index]
    }
    # Of an age that no dropout reaches there is no deviation; 0 would say that it is sure.
    number = Readout("ssr", age=OURS.age)
    steady = read_passes(number, told, steady={"age_output"}).doubt
    moved = read_passes(number, told).doubt
    assert steady is not None and moved is not None
    assert (steady.age_deviation, steady.age_entropy) == (None, None) and moved.age_deviation is not None
    only = Readout("dex", distribution=OURS.distribution)
    assert read_passes(only, told, steady={"age_softmax_output"}).doubt.age_deviation is None  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match="the net has no output 'age_output'"):
        read_passes(number, {"fc1_output": told["fc1_output"]})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=101).filter(lambda values: sum(values) > 1e-3))
def test_entropy_is_scipys_and_within_its_bounds(values: list[float]) -> None:
    mass = np.array(values) / sum(values)
    found = entropy(mass)
    assert found == pytest.approx(scipy.stats.entropy(mass, base=2), abs=1e-9)
    assert 0 <= found <= np.log2(len(values)) + 1e-9


def test_entropies_of_what_is_certain_and_of_what_is_not_known_at_all() -> None:
    np.testing.assert_allclose(entropy([[1, 0], [0.5, 0.5]]), [0, 1])
    assert entropy(np.full(101, 1 / 101)) == pytest.approx(6.658, abs=1e-3)
    assert Doubt().of(0) == {"age_deviation": None, "age_entropy": None, "gender_entropy": None}
