"""Mean and deviation over folds and seeds, against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agegender.metrics.spread import Spread, over_folds, spread

pytestmark = pytest.mark.quick


def test_the_deviation_is_that_of_a_sample() -> None:
    values = [5.0, 7.0, 6.5, 4.0]
    found = spread(values)
    assert (found.mean, found.n) == (pytest.approx(np.mean(values)), 4)
    assert found.std == pytest.approx(np.std(values, ddof=1))


@pytest.mark.parametrize(("values", "n"), [([], 0), ([None, math.nan], 0), ([3.0, None], 1)])
def test_little_is_known_of_few_values(values: list[float | None], n: int) -> None:
    found = spread(values)
    assert found.n == n
    assert math.isnan(found.std)
    assert math.isnan(found.mean) == (n == 0)


def test_seeds_are_averaged_before_folds() -> None:
    each, total = over_folds([(1, 4.0), (0, 1.0), (0, 3.0), (1, 8.0)])
    assert each == {0: Spread(2.0, pytest.approx(math.sqrt(2)), 2), 1: Spread(6.0, pytest.approx(math.sqrt(8)), 2)}
    assert (total.mean, total.n) == (4.0, 2)
    assert total.std == pytest.approx(np.std([2.0, 6.0], ddof=1))
