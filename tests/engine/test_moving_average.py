from __future__ import annotations

import numpy as np
import pytest

from agegender.engine.average import MovingAverage
from agegender.errors import CheckpointError
from agegender.executor.mxnet_runtime import load_mxnet


def test_average_follows_the_formula_and_can_be_restored() -> None:
    nd = load_mxnet().nd
    rng = np.random.default_rng(0)
    values = {f"arg:p{number}": rng.normal(size=(3, 2)).astype(np.float32) for number in range(70)}
    average = MovingAverage({name: nd.array(value) for name, value in values.items()}, decay=0.7)
    expected = {name: value.astype(np.float64) for name, value in values.items()}
    for step in range(1, 30):
        new = {name: rng.normal(size=(3, 2)).astype(np.float32) for name in values}
        average.update({name: nd.array(value) for name, value in new.items()}, step=step)
        decay = min(0.7, (1 + step) / (10 + step))
        expected = {name: decay * expected[name] + (1 - decay) * new[name] for name in values}
    for name, array in average.arrays().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-6)

    other = MovingAverage({name: nd.array(value) for name, value in values.items()}, decay=0.7)
    other.restore(average.arrays())
    for name, array in other.arrays().items():
        np.testing.assert_array_equal(array, average.arrays()[name])
    with pytest.raises(CheckpointError, match=r"no moving average of arg:p0; was it trained with --ema\?"):
        other.restore({})
