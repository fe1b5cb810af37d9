"""Exact duplicates: one stays, contradictions all go, nothing is read that need not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from agegender.dataset.duplicates import drop_duplicates
from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import CONTRADICTION, DUPLICATE, MISSING, Problems
from agegender.dataset.sources.synthetic import synthetic_sample


def face(path: Path, content: str, gender: int = 0, age: int = 30, split: str = "") -> FaceSample:
    path.write_text(content)
    return FaceSample(path, gender, age, "X", split=split)


def run(samples: list[FaceSample]) -> tuple[list[str], dict[str, str]]:
    problems = Problems()
    kept = drop_duplicates(samples, problems)
    return [sample.path.name for sample in kept], {Path(row.path).name: row.reason for row in problems}


def test_one_of_each_stays_in_the_given_order(tmp_path: Path) -> None:
    samples = [
        face(tmp_path / "z", "same"),
        face(tmp_path / "other", "else"),
        face(tmp_path / "a", "same"),
        face(tmp_path / "alone", "longer than all"),
        face(tmp_path / "m", "same"),
    ]
    assert run(samples) == (["other", "a", "alone"], {"z": DUPLICATE, "m": DUPLICATE})


def test_the_strictest_split_stays_then_the_better_labels(tmp_path: Path) -> None:
    samples = [
        face(tmp_path / "a", "one"),
        face(tmp_path / "b", "one", split="train"),
        face(tmp_path / "c", "one", split="test", gender=-1),
        face(tmp_path / "d", "two", gender=-1),
        face(tmp_path / "e", "two"),
    ]
    assert run(samples)[0] == ["c", "e"]


@pytest.mark.parametrize(
    ("labels", "detail"),
    [
        ([(0, 30), (1, 30)], "gender 0, but the same picture is b (1)"),
        ([(0, 30), (0, 31)], "age 30, but the same picture is b (31)"),
        ([(0, 30), (0, 31), (-1, 30)], "age 30, but the same picture is b (31), c (30)"),
    ],
)
def test_contradicting_labels_drop_all(tmp_path: Path, labels: list[tuple[int, int]], detail: str) -> None:
    samples = [face(tmp_path / name, "same", *label) for name, label in zip("abc", labels)]
    problems = Problems()
    assert drop_duplicates(samples, problems) == []
    assert problems.counts("X") == {CONTRADICTION: len(labels)}
    assert problems.rows[0].detail == detail


def test_unknown_labels_contradict_nothing(tmp_path: Path) -> None:
    samples = [face(tmp_path / "a", "same", -1, 30), face(tmp_path / "b", "same", 1, -1)]
    assert run(samples) == (["a"], {"b": DUPLICATE})


def test_a_file_listed_twice_is_a_duplicate(tmp_path: Path) -> None:
    sample = face(tmp_path / "a", "alone")
    assert run([sample, sample]) == (["a"], {"a": DUPLICATE})


def test_absent_files_are_problems_and_drawn_faces_pass(tmp_path: Path) -> None:
    drawn = [synthetic_sample(0), synthetic_sample(1)]
    problems = Problems()
    assert drop_duplicates([FaceSample(tmp_path / "none", 0, 1, "X"), *drawn], problems) == drawn
    assert problems.counts() == {MISSING: 1}


def test_progress_counts_the_files_that_are_read(tmp_path: Path) -> None:
    samples = [face(tmp_path / str(number), f"{number:04d}") for number in range(50)]
    samples.append(face(tmp_path / "long", "of another size, so not read"))
    calls: list[tuple[int, int]] = []
    drop_duplicates(samples, Problems(), workers=3, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 50) for number in range(1, 51)]
