"""One seed, one order: whatever the threads, the ranks, or the batch an epoch is entered at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agegender.errors import DataError, UsageError
from agegender.pipeline import Batch, Loader, LoaderConfig
from agegender.pipeline.sampling import balance_by_age
from agegender.recordio import RecordSet

MakeSet = Callable[..., RecordSet]
EVERYTHING = LoaderConfig(rand_mirror=True, cutoff=6, color=0.3, jitter=0.1, jpeg=0.5)


def with_threads(threads: int, config: LoaderConfig = EVERYTHING) -> LoaderConfig:
    return LoaderConfig(**{**vars(config), "loader_threads": threads})


def copied(batches: Iterable[Batch]) -> list[tuple[npt.NDArray[Any], ...]]:
    return [(batch.data.copy(), batch.labels.copy(), batch.keys.copy(), np.array(batch.valid)) for batch in batches]


def assert_same(one: list[tuple[npt.NDArray[Any], ...]], other: list[tuple[npt.NDArray[Any], ...]]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other):
        for a, b in zip(left, right):
            np.testing.assert_array_equal(a, b)


def keys_of(batches: Iterable[Batch]) -> list[int]:
    return [int(key) for batch in batches for key in batch.keys[: batch.valid]]


def test_threads_change_nothing(make_set: MakeSet) -> None:
    records = make_set(150)
    runs = []
    for threads in (1, 2, 3):
        config = with_threads(threads)
        with Loader(records, batch_size=70, size=(32, 32), config=config, shuffle=True, seed=7) as loader:
            runs.append(copied(loader.epoch(2)))
    assert_same(runs[0], runs[1])
    assert_same(runs[0], runs[2])


@pytest.mark.parametrize("start", [0, 1, 4, 5])
def test_entered_late_an_epoch_goes_on_as_unbroken(make_set: MakeSet, start: int) -> None:
    with Loader(make_set(33), batch_size=7, size=(32, 32), config=EVERYTHING, shuffle=True, seed=3) as loader:
        whole = copied(loader.epoch(1))
        assert len(whole) == loader.batches_per_epoch == 5
        assert_same(copied(loader.epoch(1, start_batch=start)), whole[start:])


def test_every_record_once_and_another_order_each_epoch(make_set: MakeSet) -> None:
    with Loader(make_set(40), batch_size=8, size=(16, 16), shuffle=True, seed=1) as loader:
        orders = [keys_of(loader.epoch(epoch)) for epoch in range(3)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != list(range(40))


def test_seeds_differ_and_repeat(make_set: MakeSet) -> None:
    records = make_set(40)
    orders = []
    for seed in (1, 2, 1):
        with Loader(records, batch_size=8, size=(16, 16), shuffle=True, seed=seed) as loader:
            orders.append(keys_of(loader.epoch(0)))
    assert orders[0] == orders[2] != orders[1]


def test_augmentation_differs_by_epoch_and_place(make_set: MakeSet) -> None:
    with Loader(make_set(1), batch_size=4, size=(48, 48), config=EVERYTHING, seed=1) as loader:
        first, second = (copied(loader.epoch(epoch))[0][0] for epoch in (0, 1))
    assert (first[0] != second[0]).any()
    assert (first[0] != first[1]).any(), "the same record, wrapped, gets draws of its own"


def test_ranks_share_out_the_batches_of_one_worker(make_set: MakeSet) -> None:
    records = make_set(50)
    alone = Loader(records, batch_size=12, size=(24, 24), config=EVERYTHING, shuffle=True, seed=5)
    ranks = [
        Loader(records, batch_size=4, size=(24, 24), config=EVERYTHING, shuffle=True, seed=5, rank=rank, world=3)
        for rank in range(3)
    ]
    assert {loader.batches_per_epoch for loader in ranks} == {alone.batches_per_epoch} == {5}
    for whole, *parts in zip(alone.epoch(1), *(loader.epoch(1) for loader in ranks), strict=True):
        np.testing.assert_array_equal(whole.data, np.concatenate([part.data for part in parts]))
        np.testing.assert_array_equal(whole.keys, np.concatenate([part.keys for part in parts]))
    for loader in (alone, *ranks):
        loader.close()


@pytest.mark.parametrize(("count", "world"), [(10, 3), (12, 3), (2, 3), (1, 2)])
def test_ranks_that_pad_see_every_sample_once(make_set: MakeSet, count: int, world: int) -> None:
    records = make_set(count)
    seen, batches = [], []
    for rank in range(world):
        with Loader(records, batch_size=2, size=(16, 16), rank=rank, world=world, last="partial") as loader:
            found = copied(loader.epoch(0))
        batches.append(len(found))
        for _data, _labels, keys, valid in found:
            seen += keys[:valid].tolist()
    assert sorted(seen) == list(range(count))
    assert len(set(batches)) == 1


def test_wrap_fills_from_the_start_of_the_epoch(make_set: MakeSet) -> None:
    with Loader(make_set(5), batch_size=4, size=(16, 16), last="wrap") as loader:
        assert [batch.keys.tolist() for batch in loader.epoch(0)] == [[0, 1, 2, 3], [4, 0, 1, 2]]
        assert all(batch.valid == 4 for batch in loader.epoch(0))
    with Loader(make_set(2), batch_size=5, size=(16, 16), last="wrap") as loader:
        assert [batch.keys.tolist() for batch in loader.epoch(0)] == [[0, 1, 0, 1, 0]]


def test_partial_pads_with_unknown(make_set: MakeSet) -> None:
    with Loader(make_set(6), batch_size=4, size=(16, 16), last="partial") as loader:
        for _epoch in range(2):
            first, last = copied(loader.epoch(0))
            assert first[3] == 4 and last[3] == 2
            data, labels, keys, _ = last
            assert keys.tolist() == [4, 5, -1, -1]
            assert labels.tolist() == [[0, 4], [1, 5], [-1, -1], [-1, -1]]
            assert data[:2].any() and not data[2:].any()


def test_shards_are_one_set(make_set: MakeSet) -> None:
    with Loader(make_set(11, shards=3), batch_size=4, size=(16, 16), shuffle=True, last="partial") as loader:
        assert sorted(keys_of(loader.epoch(0))) == list(range(11))


def test_an_order_of_ones_own(make_set: MakeSet) -> None:
    records = make_set(6)
    with Loader(records, batch_size=2, size=(16, 16), order=np.array([5, 5, 0])) as loader:
        assert loader.samples_per_epoch == 3
        assert [batch.keys.tolist() for batch in loader.epoch(0)] == [[5, 5], [0, 5]]
    labels = records.labels()
    by_epoch = Loader(
        records, batch_size=3, size=(16, 16), shuffle=True, order=lambda epoch: balance_by_age(labels, 1, epoch)
    )
    with by_epoch as loader:
        assert sorted(keys_of(loader.epoch(4))) == balance_by_age(labels, 1, 4).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size 0 is not 1 or more"),
        ({"rank": 2, "world": 2}, "rank 2 is not within 0..1"),
        ({"last": "drop"}, "last 'drop' is neither 'wrap' nor 'partial'"),
        ({"order": np.array([0, 3])}, "order goes beyond the 3 records"),
        ({"order": np.array([0.5])}, "order of shape (1,) and type float64 is no list of positions"),
        ({"label_order": "age"}, "label order 'age' is neither 'gender,age' nor 'age,gender'"),
    ],
)
def test_arguments_that_do_not_fit(make_set: MakeSet, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Loader(make_set(3), **{"batch_size": 2, "size": (16, 16), **arguments})
    assert str(caught.value) == message


def test_an_empty_set_is_named(make_set: MakeSet) -> None:
    with pytest.raises(DataError, match="the record set is empty"):
        Loader(make_set(0), batch_size=2, size=(16, 16))
