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
    batcher.work_off()
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


def test_a_helper_answers_what_is_ready_in_its_own_thread() -> None:
    seen: list[str] = []

    def run(rows: list[int]) -> list[int]:
        seen.append(threading.current_thread().name)
        return [2 * row for row in rows]

    coming = False
    batcher: Batcher[int, int] = Batcher(
        run, max_batch=4, max_wait=0.05, more_to_come=lambda: coming, helped=True, name="net"
    )
    mine = threading.current_thread().name
    first = batcher.submit([1, 2])
    assert not first.done()
    batcher.work_off()
    assert first.result(0) == [2, 4]
    # A full batch is ready, whatever else is to come; what is left waits for others, and the thread answers it.
    coming = True
    futures = [batcher.submit(rows) for rows in ([1, 2], [3, 4], [5])]
    batcher.work_off()
    assert [future.done() for future in futures] == [True, True, False]
    assert [future.result(5) for future in futures] == [[2, 4], [6, 8], [10]]
    assert seen == [mine, mine, "net"]
    # And with nothing more to come, the helper who says so answers at once.
    last = batcher.submit([6])
    batcher.work_off()
    coming = False
    batcher.work_off()
    assert last.result(0) == [12]
    batcher.stop()


def test_helpers_work_side_by_side() -> None:
    both = threading.Barrier(2)

    def run(rows: list[int]) -> list[int]:
        both.wait(5)
        return rows

    batcher: Batcher[int, int] = Batcher(run, max_batch=1, max_wait=0, helped=True)
    futures = [batcher.submit([row]) for row in range(2)]
    other = threading.Thread(target=batcher.work_off)
    other.start()
    batcher.work_off()
    other.join(5)
    assert [future.result(0) for future in futures] == [[0], [1]]
    batcher.stop()


def test_a_helper_that_crashes_tells_all(doubler: Doubler) -> None:
    batcher = Batcher(doubler, max_batch=1, max_wait=5, helped=True, name="net")
    futures = [batcher.submit([row]) for row in (666, 1)]
    with pytest.raises(SystemExit):
        batcher.work_off()
    for future in futures:
        with pytest.raises(RuntimeError, match=r"thread MainThread has crashed \(SystemExit\)"):
            future.result(0)
    assert batcher.problem == "thread MainThread has crashed (SystemExit)"
    with pytest.raises(RuntimeError, match="net has ended"):
        batcher.submit([1])
    batcher.stop()
