"""Reading ahead: in order, never further than allowed, and no thread is left."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from agegender.app.inference.ahead import ReadAhead

pytestmark = pytest.mark.quick


class Counter:
    """Yields numbers for ever and counts them."""

    def __init__(self) -> None:
        self.drawn = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            self.drawn += 1
            yield self.drawn - 1


class Picture(np.ndarray):
    """An array that can be watched."""


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 3), (4, 2)])
def test_what_is_in_memory_does_not_grow(workers: int, ahead: int) -> None:
    items = Counter()
    alive: list[weakref.ref[Picture]] = []
    most = 0

    def read(number: int) -> Picture:
        picture = np.full((4, 4), number).view(Picture)
        alive.append(weakref.ref(picture))
        return picture

    photos = ReadAhead(items, read, workers=workers, ahead=ahead)
    for taken, (number, future) in enumerate(photos):
        assert number == taken
        assert (future.result() == number).all()
        # With the caller, waiting, and one that was drawn and has no room yet.
        assert items.drawn <= taken + 1 + ahead + 1
        most = max(most, sum(one() is not None for one in alive[-20 * (ahead + workers) :]))
        if taken == 3000:
            break
    photos.close()
    assert most <= ahead + 2


def test_order_is_kept_and_errors_stay_with_their_photo() -> None:
    def read(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        if number % 5 == 0:
            raise ValueError(str(number))
        return number * 10

    photos = ReadAhead(range(40), read, workers=3, ahead=4)
    seen = []
    for number, future in photos:
        seen.append(number)
        error = future.exception()
        assert str(error) == str(number) if number % 5 == 0 else future.result() == number * 10
    photos.close()
    assert seen == list(range(40))


def test_an_error_of_the_source_comes_after_what_came_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the drive is gone")

    photos = ReadAhead(items(), float, workers=2, ahead=8)
    seen = []
    with pytest.raises(OSError, match="the drive is gone"):
        for number, future in photos:
            seen.append((number, future.result()))
    photos.close()
    assert seen == [(1, 1.0), (2, 2.0)]


def test_a_late_item_holds_up_none_that_is_there() -> None:
    come = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        assert come.wait(10)
        yield 2

    photos = ReadAhead(items(), float, workers=2, ahead=4)
    stream = iter(photos)
    assert next(stream)[0] == 1
    come.set()
    assert next(stream)[0] == 2
    assert next(stream, None) is None
    photos.close()


def test_threads_end_when_nobody_wants_more() -> None:
    before = set(threading.enumerate())
    photos = ReadAhead(Counter(), float, workers=2, ahead=2)
    next(iter(photos))
    started = set(threading.enumerate()) - before
    assert started
    photos.close()
    for thread in started:
        thread.join(5)
        assert not thread.is_alive()
