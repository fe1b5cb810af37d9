"""Access by position, by key and in order; labels; lost, wrong and damaged indices."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agegender.errors import RecordError
from agegender.recordio import Header, RecordFile, RecordWriter, open_records, pack, read_index, unpack
from agegender.recordio.layout import MAGIC_BYTES

MakeSet = Callable[..., Path]


def test_positions_keys_and_order(make_set: MakeSet) -> None:
    with RecordFile(make_set(5, first_key=40)) as records:
        assert len(records) == 5
        assert records.keys.tolist() == [40, 41, 42, 43, 44]
        assert records.keys.dtype == records.offsets.dtype == np.int64
        assert [unpack(payload)[0].id for payload in records] == [40, 41, 42, 43, 44]
        assert unpack(records.read(records.find(43)))[0].label.tolist() == [1, 43]
        with pytest.raises(RecordError, match=r"train\.rec: there is no record with key 7$"):
            records.find(7)


def test_one_damaged_record_does_not_close_the_others_off(make_set: MakeSet) -> None:
    path = make_set(12)
    with RecordFile(path) as records:
        offset = int(records.offsets[5])
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)
    with RecordFile(path) as records:
        assert unpack(records.read(4))[0].id == 4
        with pytest.raises(RecordError, match=rf"train\.rec: record key 5 at byte {offset}: no record starts there"):
            records.read(5)


@pytest.mark.parametrize("position", [-1, 5, 10**12])
def test_positions_out_of_range(make_set: MakeSet, position: int) -> None:
    path = make_set(5)
    with RecordFile(path) as records, pytest.raises(RecordError, match=rf"no position {position}, only 0\.\.4"):
        records.read(position)
    with open_records(path) as records, pytest.raises(RecordError, match=rf"no position {position}, only 0\.\.4"):
        records.read(position)


def test_a_payload_outlives_its_file(make_set: MakeSet) -> None:
    records = RecordFile(make_set(2))
    payload = records.read(1)
    records.close()
    assert unpack(payload)[0].id == 1


def test_threads_read_the_same(make_set: MakeSet) -> None:
    with RecordFile(make_set(50)) as records:
        expected = [bytes(payload) for payload in records]
        found: list[bool] = []
        read = lambda: found.append([bytes(payload) for payload in records] == expected)  # noqa: E731
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [True] * 4


def test_labels_of_all_kinds(tmp_path: Path) -> None:
    """Plain, scalar, long, and split over parts by a magic in the body or among the labels."""
    magic_label = np.frombuffer(MAGIC_BYTES, np.float32)[0]
    labels = [[0, 20], [31], [1, 40, 35, 45, 2], [0, 50], [magic_label, 60], [1, magic_label]]
    bodies = [b"x", b"", b"yy", b"abcd" + MAGIC_BYTES, b"", b""]
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key, (label, body) in enumerate(zip(labels, bodies, strict=True)):
            writer.write(key, pack(Header(np.array(label, np.float32), key), body))
    with open_records(tmp_path / "train.rec") as records:
        expected = [[0, 20], [31, -1], [1, 40], [0, 50], [magic_label, 60], [1, magic_label]]
        assert records.labels().tolist() == expected
        assert records.labels(5)[2].tolist() == [1, 40, 35, 45, 2]
        assert records.labels() is records.labels(2)
        with pytest.raises(ValueError, match="read-only"):
            records.labels()[0, 0] = 1


def test_labels_name_a_damaged_record(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(0, pack(Header(np.array([1, 2], np.float32), 0), b""))
        writer.write(17, b"no image")
    message = r"train\.rec: record key 17: a record of 8 bytes is shorter than its"
    with open_records(tmp_path / "train.rec") as records, pytest.raises(RecordError, match=message):
        records.labels()


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "train.rec"):
        pass
    with open_records(tmp_path / "train.rec") as records:
        assert len(records) == 0
        assert records.labels().shape == (0, 2)
        assert list(records) == []


def test_a_lost_index_is_scanned(make_set: MakeSet, caplog: pytest.LogCaptureFixture) -> None:
    path = make_set(9, first_key=3)
    keys, offsets = read_index(path.with_suffix(".idx"))
    path.with_suffix(".idx").unlink()
    with caplog.at_level(logging.INFO), RecordFile(path) as records:
        assert records.keys.tolist() == keys.tolist()
        assert records.offsets.tolist() == offsets.tolist()
    assert "train.rec has no train.idx: scanning it" in caplog.text
    assert not path.with_suffix(".idx").exists()


def test_a_lost_index_of_a_torn_file(make_set: MakeSet) -> None:
    path = make_set(9)
    path.with_suffix(".idx").unlink()
    os.truncate(path, path.stat().st_size - 3)
    with pytest.raises(RecordError, match=r"train\.rec is damaged; tools/rec\.py verify says where, repair writes"):
        RecordFile(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(b"\t", b" ", 1), r"train\.idx:1: '0 0' is not 'key<TAB>offset'"),
        (lambda text: text + b"12\n", r"train\.idx:13: '12' is not"),
        (lambda text: text.replace(b"3\t", b"three\t", 1), r"train\.idx:4: 'three"),
        (lambda text: text.replace(b"3\t", b"-3\t", 1), r"train\.idx:4: '-3"),
        (lambda text: text.replace(b"3\t", b"99999999999999999999\t", 1), r"train\.idx:4: '9{20}"),
        (lambda text: b"\xff\x00" * 40 + text, r"train\.idx:1: "),
        (lambda text: b"x" * 9_000_000, r"train\.idx:1: 'x{40}' is not"),
        (lambda text: text.replace(b"3\t", b"3\t1", 1), r"does not fit train\.rec \(key 3"),
        (lambda text: text.replace(b"0\t0", b"0\t2", 1), r"does not fit train\.rec \(key 0 is at byte 2, the file has"),
        (lambda text: b"", r"does not fit train\.rec \(it is empty, the file has \d+ bytes\)"),
        (lambda text: b"".join(text.splitlines(True)[1:]), r"does not fit train\.rec \(its records fill bytes [1-9]"),
        (lambda text: b"".join(text.splitlines(True)[:-1]), r"does not fit train\.rec \(its records fill bytes 0 to"),
        (lambda text: text[:-3], r"does not fit train\.rec"),
    ],
)
def test_wrong_indices(make_set: MakeSet, change: Callable[[bytes], bytes], message: str) -> None:
    path = make_set(12)
    index = path.with_suffix(".idx")
    index.write_bytes(change(index.read_bytes()))
    with pytest.raises(RecordError, match=message) as caught:
        RecordFile(path)
    assert "\n" not in str(caught.value)
    assert "tools/rec.py" in str(caught.value)


def test_another_sets_index(make_set: MakeSet, tmp_path: Path) -> None:
    path = make_set(12)
    with RecordWriter(tmp_path / "val.rec") as writer:
        for key in range(12):
            writer.write(key, bytes(40))
    path.with_suffix(".idx").write_bytes((tmp_path / "val.idx").read_bytes())
    with pytest.raises(
        RecordError, match=r"train\.idx does not fit train\.rec \(key \d+ at byte \d+: no record starts"
    ):
        RecordFile(path)


def test_an_index_of_part_of_the_records_can_be_given(make_set: MakeSet, tmp_path: Path) -> None:
    path = make_set(12)
    lines = path.with_suffix(".idx").read_text().splitlines()
    (tmp_path / "women.idx").write_text("".join(f"{line}\r\n" for line in lines[::2]))
    with RecordFile(path, index=tmp_path / "women.idx") as records:
        assert records.keys.tolist() == [0, 2, 4, 6, 8, 10]
        assert unpack(records.read(5))[0].id == 10


def test_reading_names_the_damaged_record(make_set: MakeSet) -> None:
    path = make_set(200)
    keys, offsets = read_index(path.with_suffix(".idx"))
    data = bytearray(path.read_bytes())
    # A record that the look at opening passes over.
    data[offsets[2]] ^= 1
    path.write_bytes(data)
    with RecordFile(path) as records:
        with pytest.raises(
            RecordError, match=rf"record key 2 at byte {offsets[2]}: no record starts there \(0xced7230b"
        ):
            records.read(2)
        assert unpack(records.read(3))[0].id == keys[3]


def test_missing_files_say_what_is_there(make_set: MakeSet, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"there is no .*val\.rec \(create_dataset\.py writes one\)"):
        RecordFile(tmp_path / "val.rec")
    make_set(2)
    with pytest.raises(RecordError, match=r"there is no .*val\.rec \(there are train\.rec\)"):
        open_records(tmp_path / "val.rec")
    with pytest.raises(RecordError, match=r"is a folder, not a \.rec file"):
        open_records(tmp_path)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=60)
    | st.lists(st.tuples(st.integers(0, 2**70), st.integers(0, 2**70)), max_size=6).map(
        lambda rows: "".join(f"{key}\t{offset}\n" for key, offset in rows).encode()
    )
    | st.text(alphabet="01239\t\n\r-", max_size=40).map(str.encode)
)
def test_any_index_is_read_or_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "train.idx"
    path.write_bytes(text)
    try:
        keys, offsets = read_index(path)
    except RecordError as error:
        assert "train.idx:" in str(error)
        return
    lines = [line.split(b"\t") for line in text.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n") if line.strip(b"\r")]
    assert [[int(field) for field in line] for line in lines] == np.stack([keys, offsets], 1).tolist()
