from __future__ import annotations

from typing import Any

import pytest

from agegender.engine.schedule import Schedule

pytestmark = pytest.mark.quick


def schedule(**changes: Any) -> Schedule:
    values: dict[str, Any] = {
        "base": 0.1,
        "kind": "step",
        "steps": (10, 30, 80),
        "warmup_epochs": 0,
        "end_epoch": 100,
        "batches_per_epoch": 4,
    }
    return Schedule(**{**values, **changes})


@pytest.mark.parametrize(
    ("epoch", "batch", "expected"),
    [(0, 0, 0.1), (9, 3, 0.1), (10, 0, 0.01), (29, 3, 0.01), (30, 0, 0.001), (80, 0, 1e-4), (99, 3, 1e-4)],
)
def test_step_falls_to_a_tenth_at_each_epoch_named(epoch: int, batch: int, expected: float) -> None:
    assert schedule().at(epoch, batch) == pytest.approx(expected)


@pytest.mark.parametrize(("epoch", "batch", "expected"), [(0, 0, 0.1), (50, 0, 0.05), (25, 0, 0.0853553), (100, 0, 0)])
def test_cosine_goes_from_base_to_zero(epoch: int, batch: int, expected: float) -> None:
    assert schedule(kind="cosine").at(epoch, batch) == pytest.approx(expected, abs=1e-6)


def test_cosine_moves_within_an_epoch() -> None:
    rates = [schedule(kind="cosine").at(3, batch) for batch in range(4)]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == 4


def test_warmup_rises_in_equal_steps_to_the_base() -> None:
    rates = [schedule(warmup_epochs=2).at(epoch, batch) for epoch in range(3) for batch in range(4)]
    assert rates[:8] == pytest.approx([0.1 * (step + 1) / 9 for step in range(8)])
    assert rates[8:] == pytest.approx([0.1] * 4)
