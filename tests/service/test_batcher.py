"""Batches of rows of many: full, in time, in order, and nobody gets another's error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from agegender.service.batcher import Batcher


class Doubler:
    """Doubles rows; remembers its batches, waits where it is told to, and can't bear 13."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, rows: list[int]) -> Sequence[int]:
        assert self.go.wait(10)
        self.batches.append(rows)
        if 13 in rows:
            raise ValueError("13")
        if 666 in rows:
            raise SystemExit
        return [2 * row for row in rows]


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


@pytest.fixture
def batcher(doubler: Doubler) -> Iterator[Batcher[int, int]]:
    batcher = Batcher(doubler, max_batch=4, max_wait=5, name="doubler")
    yield batcher
    batcher.stop()


def test_what_waited_goes_together_in_order(batcher: Batcher[int, int], doubler: Doubler) -> None:
    doubler.go.clear()
    first = batcher.submit([0])
    while batcher._waiting_rows():
        time.sleep(0.001)
    futures = [batcher.submit(rows) for rows in ([1, 2], [3], [4], [5, 6, 7])]
    doubler.go.set()
    assert first.result(5) == [0]
    assert [future.result(5) for future in futures] == [[2, 4], [6], [8], [10, 12, 14]]
    assert doubler.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]


def test_more_than_a_batch_is_cut(batcher: Batcher[int, int], doubler: Doubler) -> None:
    assert batcher.submit(range(10)).result(5) == list(range(0, 20, 2))
    assert doubler.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_no_rows(batcher: Batcher[int, int], doubler: Doubler) -> None:
    assert batcher.submit([]).result(0) == []
    assert doubler.batches == []


def test_an_error_is_for_its_owner_alone(batcher: Batcher[int, int], doubler: Doubler) -> None:
    doubler.go.clear()
    futures = [batcher.submit([row]) for row in (1, 12, 13, 14)]
    doubler.go.set()
    assert [future.result(5) for future in futures if future is not futures[2]] == [[2], [24], [28]]
    with pytest.raises(ValueError, match="13"):
        futures[2].result(5)
    assert batcher.problem is None


def test_a_wait_for_what_is_to_come() -> None:
    doubler, coming = Doubler(), True
    batcher = Batcher(doubler, max_batch=4, max_wait=0.2, more_to_come=lambda: coming)
    start = time.monotonic()
    assert batcher.submit([1]).result(5) == [2]
    assert 0.2 <= time.monotonic() - start < 1
    first = batcher.submit([1])
    time.sleep(0.02)
    start = time.monotonic()
    batcher.submit([2])
    coming = False
    batcher.nudge()
    assert first.result(5) == [2]
    assert time.monotonic() - start < 0.1
    assert doubler.batches == [[1], [1, 2]]
    batcher.stop()


def test_a_crash_is_told_to_all(batcher: Batcher[int, int], doubler: Doubler) -> None:
    doubler.go.clear()
    futures = [batcher.submit([row]) for row in (666, 1, 2, 3, 4, 5)]
    doubler.go.set()
    for future in futures:
        with pytest.raises(RuntimeError, match=r"thread doubler has crashed \(SystemExit\)"):
            future.result(5)
    assert batcher.problem == "thread doubler has crashed (SystemExit)"
    with pytest.raises(RuntimeError, match="doubler has ended"):
        batcher.submit([1])


def test_a_net_that_loses_rows() -> None:
    batcher: Batcher[int, int] = Batcher(lambda rows: rows[1:], max_batch=4, max_wait=0)
    with pytest.raises(RuntimeError, match="2 results for 3 rows"):
        batcher.submit([1, 2, 3]).result(5)
    batcher.stop()
