from __future__ import annotations

import numpy as np
import pytest

from agegender.engine.states import convert_states

ARRAYS = {
    "arg:w": np.float32([1, 2]),
    "opt0:w": np.float32([0.5, -1]),
    "opt1:w": np.float32([3, 4]),
    "ema:arg:w": np.float32([5, 6]),
}


@pytest.mark.parametrize("optimizer", ["sgd", "nag"])
def test_momentum_goes_over_to_the_other_engine_and_back(optimizer: str) -> None:
    there = convert_states(ARRAYS, optimizer=optimizer, lr=0.1, source="mxnet", target="torch")
    np.testing.assert_allclose(there["opt0:w"], [-5, 10], rtol=1e-6)
    back = convert_states(there, optimizer=optimizer, lr=0.1, source="torch", target="mxnet")
    for name, array in ARRAYS.items():
        np.testing.assert_allclose(back[name], array, rtol=1e-6, err_msg=name)
        assert back[name].dtype == np.float32


@pytest.mark.parametrize(("optimizer", "source"), [("sgd", "torch"), ("adam", "mxnet"), ("rmsprop", "mxnet")])
def test_what_is_the_same_stays_as_it_is(optimizer: str, source: str) -> None:
    there = convert_states(ARRAYS, optimizer=optimizer, lr=0.1, source=source, target="torch")
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(there[name], array)


def test_a_rate_of_nothing_has_left_no_momentum() -> None:
    there = convert_states(ARRAYS, optimizer="sgd", lr=0.0, source="mxnet", target="torch")
    np.testing.assert_array_equal(there["opt0:w"], [0, 0])
