"""Counts of ages and genders from samples, lists and records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agegender.dataset.face_record import FaceSample
from agegender.dataset.list_file import write_list
from agegender.dataset.stats import age_histogram, from_lists, from_records
from agegender.errors import DataError, LabelError, UsageError
from agegender.recordio import Header, RecordWriter, pack


def sample(gender: int, age: int, source: str = "A") -> FaceSample:
    return FaceSample(Path(f"{source}/{gender}_{age}.jpg"), gender, age, source)


def write_records(path: Path, labels: list[tuple[float, float]], table: str = "") -> Path:
    with RecordWriter(path) as writer:
        for key, label in enumerate(labels):
            writer.write(key, pack(Header(np.array(label, np.float32), key), b"jpeg"))
    if table:
        path.with_suffix(".csv").write_text(table)
    return path


def test_samples_are_counted_per_source_age_and_gender() -> None:
    samples = [sample(0, 30), sample(0, 30), sample(1, 30), sample(-1, 0), sample(1, -1), sample(1, 100, "B")]
    histogram = age_histogram(samples)
    first = histogram.sources["A"]
    assert (first.female[30], first.male[30], first.unknown[0], first.no_age) == (2, 1, 1, 1)
    assert [first.count(gender) for gender in ("female", "male", "unknown")] == [2, 2, 1]
    assert (first.total, histogram.sources["B"].male[100], histogram.total) == (5, 1, 6)


def test_odd_labels_count_as_unknown() -> None:
    ages = age_histogram([]).of("x")
    ages.add([0, 1, 7, np.nan, 0.0], [np.nan, -3, 20.9, 150, np.inf])
    assert (ages.unknown[20], ages.unknown[100], ages.no_age, ages.total) == (1, 1, 3, 5)


def test_lists_of_one_source_add_up(tmp_path: Path) -> None:
    for name in ("A_list.txt", "more.csv"):
        write_list(tmp_path / name, [sample(0, 5), sample(1, 6)])
    histogram = from_lists([tmp_path / "A_list.txt", tmp_path / "more.csv"])
    assert list(histogram.sources) == ["A"]
    assert (histogram.sources["A"].female[5], histogram.total) == (2, 4)
    (tmp_path / "bad.csv").write_text("a.jpg,0,500\n")
    with pytest.raises(LabelError, match=r"bad\.csv:1: age '500' is not within"):
        from_lists([tmp_path / "bad.csv"])


def test_records_are_counted_per_source_of_their_table(tmp_path: Path) -> None:
    table = "key,path,source\n2,c.jpg,B\n0,a.jpg,A\n1,b.jpg,A\n"
    path = write_records(tmp_path / "train.rec", [(0, 30), (1, 31), (-1, 32), (0, 33)], table)
    histogram = from_records([path])
    assert list(histogram.sources) == ["B", "A", "train"]
    assert histogram.sources["A"].female[30] == histogram.sources["A"].male[31] == 1
    assert histogram.sources["B"].unknown[32] == histogram.sources["train"].female[33] == 1


def test_records_without_a_table_and_with_labels_the_other_way_round(tmp_path: Path) -> None:
    path = write_records(tmp_path / "ssr.rec", [(30, 0), (31, 1)])
    histogram = from_records([path], label_order="age,gender")
    assert histogram.sources["ssr"].female[30] == histogram.sources["ssr"].male[31] == 1
    with pytest.raises(UsageError, match="label order 'age' is none of gender,age, age,gender"):
        from_records([path], label_order="age")


def test_a_table_without_the_columns_is_named(tmp_path: Path) -> None:
    path = write_records(tmp_path / "x.rec", [(0, 1)], "id,file\n0,a\n")
    with pytest.raises(DataError, match=r"x\.csv: no columns 'key' and 'source'"):
        from_records([path])
