"""The split: subjects stay together, own splits win, the file order and the data root do not matter."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.dataset.face_record import FaceSample
from agegender.dataset.split import split
from agegender.errors import UsageError


def faces(count: int, *, root: str = "dataset", source: str = "UTKFace", subjects: int = 0) -> list[FaceSample]:
    return [
        FaceSample(
            Path(root) / source / f"{number}.jpg",
            number % 2,
            number % 91,
            source,
            subject=f"person {number % subjects}" if subjects else "",
        )
        for number in range(count)
    ]


def names(parts: dict[str, list[FaceSample]]) -> dict[str, list[str]]:
    return {part: [sample.path.name for sample in samples] for part, samples in parts.items()}


def test_the_same_seed_gives_the_same_split_in_any_order_and_place() -> None:
    samples = faces(500)
    shuffled = random.Random(1).sample(samples, len(samples))
    first = split(samples, val_ratio=0.1, test_ratio=0.2, seed=3)
    assert split(shuffled, val_ratio=0.1, test_ratio=0.2, seed=3) == first
    elsewhere = split(faces(500, root="/data/faces"), val_ratio=0.1, test_ratio=0.2, seed=3)
    assert names(elsewhere) == names(first)
    assert names(split(samples, val_ratio=0.1, test_ratio=0.2, seed=4)) != names(first)


def test_shares_hold_in_every_source_and_age_band() -> None:
    samples = faces(1820) + faces(910, source="AFAD")
    parts = split(samples, val_ratio=0.1, test_ratio=0.2, seed=0)
    assert {part: len(chosen) for part, chosen in parts.items()} == {"train": 1911, "val": 273, "test": 546}
    assert Counter(sample.source for sample in parts["val"]) == {"UTKFace": 182, "AFAD": 91}
    bands = Counter((sample.age // 10, sample.gender) for sample in parts["val"] if sample.source == "UTKFace")
    assert all(9 <= bands[band, gender] <= 11 for band in range(9) for gender in (0, 1))


def test_a_subject_stays_on_one_side() -> None:
    parts = split(faces(600, subjects=40), val_ratio=0.1, test_ratio=0.1, seed=0)
    people = {part: {sample.subject for sample in samples} for part, samples in parts.items()}
    assert {part: len(who) for part, who in people.items()} == {"train": 32, "val": 4, "test": 4}
    assert not people["train"] & people["val"] | people["train"] & people["test"] | people["val"] & people["test"]


def test_own_splits_win_and_pull_their_subject_along() -> None:
    samples = [
        FaceSample(Path("a/1.jpg"), 0, 1, "X", subject="anna", split="test"),
        FaceSample(Path("a/2.jpg"), 0, 2, "X", subject="anna"),
        FaceSample(Path("a/3.jpg"), 0, 2, "X", subject="anna", split="train"),
        FaceSample(Path("a/4.jpg"), 0, 2, "X", split="val"),
        FaceSample(Path("a/5.jpg"), 0, 2, "X"),
    ]
    parts = split(samples, val_ratio=0.0, test_ratio=0.0, seed=0)
    assert names(parts) == {"train": ["3.jpg", "5.jpg"], "val": ["4.jpg"], "test": ["1.jpg", "2.jpg"]}


def test_adding_data_moves_few_of_the_old_faces() -> None:
    before = split(faces(1000), val_ratio=0.1, test_ratio=0.0, seed=0)
    after = split(faces(1100), val_ratio=0.1, test_ratio=0.0, seed=0)
    assert len(set(before["val"]) & set(after["train"])) <= 20


def test_small_sets_still_get_a_val_side() -> None:
    assert {part: len(chosen) for part, chosen in split(faces(3), val_ratio=0.05, test_ratio=0, seed=0).items()} == {
        "train": 2,
        "val": 1,
        "test": 0,
    }
    assert len(split(faces(1), val_ratio=0.5, test_ratio=0, seed=0)["train"]) == 1
    assert split([], val_ratio=0.5, test_ratio=0, seed=0) == {"train": [], "val": [], "test": []}


@pytest.mark.parametrize(
    ("val", "test", "error"),
    [
        (-0.1, 0.0, r"val_ratio -0.1 is not within 0\.\.1"),
        (0.0, 1.0, r"test_ratio 1.0 is not within 0\.\.1"),
        (0.6, 0.4, "val_ratio 0.6 and test_ratio 0.4 leave nothing to train on"),
    ],
)
def test_impossible_ratios(val: float, test: float, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        split(faces(10), val_ratio=val, test_ratio=test, seed=0)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(-1, 1), st.integers(-1, 100), st.sampled_from(["", "", "a", "b", "c", "d"])), max_size=60
    ),
    val=st.floats(0, 0.49),
    test=st.floats(0, 0.49),
    seed=st.integers(0, 5),
)
def test_every_face_is_on_exactly_one_side(
    rows: list[tuple[int, int, str]], val: float, test: float, seed: int
) -> None:
    samples = [FaceSample(Path(f"{i}.jpg"), g, a, "X", subject=who) for i, (g, a, who) in enumerate(rows)]
    parts = split(samples, val_ratio=val, test_ratio=test, seed=seed)
    assert sorted(sample.path for part in parts.values() for sample in part) == sorted(s.path for s in samples)
    for who in "abcd":
        assert sum(any(sample.subject == who for sample in part) for part in parts.values()) <= 1
