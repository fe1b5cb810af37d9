"""Shards read as one set, and insightface's range header."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agegender.errors import RecordError
from agegender.recordio import Header, RecordWriter, find_shards, open_records, pack, set_json, unpack, verify

MakeSet = Callable[..., Path]


@pytest.fixture
def shards(make_set: MakeSet) -> list[Path]:
    """Three shards of 4, 5 and 6 records with keys 0..14."""
    names = [f"train-{number:05d}-of-00003.rec" for number in range(3)]
    return [make_set(4 + i, name=name, first_key=(0, 4, 9)[i]) for i, name in enumerate(names)]


@pytest.mark.parametrize("name", ["train.rec", "train-*.rec", "train-0000?-of-00003.rec"])
def test_shards_are_one_set(shards: list[Path], name: str) -> None:
    with open_records(shards[0].parent / name) as records:
        assert len(records) == 15
        assert records.keys.tolist() == list(range(15))
        assert [unpack(records.read(position))[0].id for position in range(15)] == list(range(15))
        assert [unpack(payload)[0].id for payload in records] == list(range(15))
        assert [records.path_of(position).name[6:11] for position in (0, 3, 4, 8, 9, 14)] == [
            "00000", "00000", "00001", "00001", "00002", "00002",
        ]  # fmt: skip
        assert records.labels().tolist() == [[key % 2, key % 101] for key in range(15)]
        assert records.find(9) == 9
        assert records.path == shards[0]
        with pytest.raises(RecordError, match=r"no position 15, only 0\.\.14"):
            records.read(15)


def test_one_shard_by_its_name(shards: list[Path]) -> None:
    with open_records(shards[1]) as records:
        assert records.keys.tolist() == [4, 5, 6, 7, 8]


def test_missing_shards_are_named(shards: list[Path]) -> None:
    shards[1].unlink()
    with pytest.raises(RecordError, match=r"1 of 3 shards are missing, the first is train-00001-of-00003\.rec"):
        open_records(shards[0].parent / "train.rec")


def test_shards_of_two_sets_are_refused(shards: list[Path], make_set: MakeSet) -> None:
    make_set(1, name="train-00000-of-00001.rec")
    with pytest.raises(RecordError, match=r"there are shards of several sets \(of 1, 3\)"):
        open_records(shards[0].parent / "train.rec")


def test_a_pattern_that_fits_nothing(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no \.rec file fits .*val-\*\.rec"):
        open_records(tmp_path / "val-*.rec")


def test_a_whole_file_wins_over_shards(shards: list[Path], make_set: MakeSet) -> None:
    path = make_set(2)
    assert find_shards(path) == [path]


def test_set_json_of_files_and_shards() -> None:
    assert set_json(Path("a/train.rec")) == Path("a/train.json")
    assert set_json(Path("a/my-set-00001-of-00003.rec")) == Path("a/my-set.json")


def test_digest_tells_sets_apart(make_set: MakeSet) -> None:
    digests = []
    for count, key in ((5, 0), (5, 0), (6, 0), (5, 1)):
        with open_records(make_set(count, first_key=key)) as records:
            digests.append(records.digest())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert all(len(digest) == 64 for digest in digests)


def _insightface_set(path: Path) -> None:
    """Six images (keys 1..6) of two people, then their identity records (7, 8); the range header is written last."""
    with RecordWriter(path) as writer:
        for key in range(1, 7):
            writer.write(
                key, pack(Header(np.array([key > 3, 30 + key], np.float32), key), b"\xff\xd8\xff image \xff\xd9")
            )
        for key, (begin, end) in ((7, (1, 4)), (8, (4, 7))):
            writer.write(key, pack(Header(np.array([begin, end], np.float32), key), b""))
        writer.write(0, pack(Header(np.array([7, 9], np.float32), 0), b""))


def test_range_header_leaves_the_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _insightface_set(tmp_path / "train.rec")
    with caplog.at_level(logging.INFO), open_records(tmp_path / "train.rec") as records:
        assert records.keys.tolist() == [1, 2, 3, 4, 5, 6]
        assert records.labels().tolist() == [[0, 31], [0, 32], [0, 33], [1, 34], [1, 35], [1, 36]]
    assert "record 0 is a range header; 6 images, 2 identities" in caplog.text
    # The bodies of header and identities are empty, which is no damage there.
    assert verify(tmp_path / "train.rec").problems == []


def test_our_own_record_0_is_a_face(make_set: MakeSet) -> None:
    with open_records(make_set(60)) as records:
        assert len(records) == 60
        assert records.keys[0] == 0


@pytest.mark.parametrize("label", [[1, 2], [0, 37], [3, 99], [7, 5], [float("nan"), 8]])
def test_an_empty_face_is_no_range_header(tmp_path: Path, label: list[float]) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(0, pack(Header(np.array(label, np.float32), 0), b""))
        writer.write(1, pack(Header(np.array([1, 2], np.float32), 1), b"x"))
    with open_records(tmp_path / "train.rec") as records:
        assert records.keys.tolist() == [0, 1]
