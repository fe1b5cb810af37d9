"""Framing and image headers, byte by byte and on damaged bytes."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agegender.errors import RecordError
from agegender.recordio import Header, label_of, pack, parse_labels, unpack
from agegender.recordio.layout import MAGIC, MAGIC_BYTES, MAX_PAYLOAD, frame, frame_images
from agegender.recordio.reader import read_record

WORDS = st.lists(st.sampled_from([MAGIC_BYTES, b"abcd", b"a", b"\x0a\x23", bytes(4)]), max_size=12).map(b"".join)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", MAGIC_BYTES + struct.pack("<I", 0)),
        (b"abcde", MAGIC_BYTES + struct.pack("<I", 5) + b"abcde\0\0\0"),
        # Not at a multiple of 4: not split.
        (b"a" + MAGIC_BYTES, MAGIC_BYTES + struct.pack("<I", 5) + b"a" + MAGIC_BYTES + b"\0\0\0"),
        # First part empty (flag 1), middle part empty (flag 2), last part of one byte (flag 3).
        (
            MAGIC_BYTES * 2 + b"z",
            b"".join(MAGIC_BYTES + struct.pack("<I", flag << 29 | n) for flag, n in ((1, 0), (2, 0), (3, 1)))
            + b"z\0\0\0",
        ),
    ],
)
def test_frame_bytes(payload: bytes, expected: bytes) -> None:
    assert frame(payload) == expected


@given(WORDS)
def test_what_is_framed_reads_back(payload: bytes) -> None:
    data = frame(payload)
    read, end = read_record(data, 0, size=len(data))
    assert bytes(read) == payload
    assert end == len(data)
    # The magic is nowhere aligned but at the head of a part, which is what finding the way back rests on.
    heads = [place for place in range(0, len(data), 4) if data[place : place + 4] == MAGIC_BYTES]
    parts, place = [], 0
    while place < len(data):
        parts.append(place)
        place += 8 + (struct.unpack_from("<I", data, place + 4)[0] % (1 << 29) + 3) // 4 * 4
    assert heads == parts


class _Huge(bytes):
    """Claims a length that would take half a gigabyte."""

    def __len__(self) -> int:
        return MAX_PAYLOAD + 1


def test_too_long_a_payload_is_refused() -> None:
    with pytest.raises(
        RecordError, match=r"a record of 536870912 bytes is too long for RecordIO \(at most 536870911\)"
    ):
        frame(_Huge())


@pytest.mark.parametrize("label", [[1.0], [1, 37], [0, 30, 25, 35, 2.5]])
def test_header_reads_back(label: list[float]) -> None:
    payload = pack(Header(np.array(label, np.float32), 7, 9), b"body")
    header, body = unpack(payload)
    assert header.label.dtype == np.float32
    assert header.label.tolist() == label
    assert (header.id, header.id2, bytes(body)) == (7, 9, b"body")
    assert struct.unpack_from("<I", payload)[0] == (0 if len(label) == 1 else len(label))


def test_labels_that_are_not_there_are_unknown() -> None:
    one = pack(Header(np.array([5], np.float32), 0), b"")
    three = pack(Header(np.array([1, 40, 38], np.float32), 0), b"")
    assert label_of(one, 3).tolist() == [5, -1, -1]
    assert label_of(three, 2).tolist() == [1, 40]
    assert parse_labels([one, three], width=2).tolist() == [[5, -1], [1, 40]]
    assert parse_labels([], width=2).shape == (0, 2)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (Header(np.empty(0, np.float32), 3), r"record 3: the labels have shape \(0,\), not \(n,\) with n at least 1"),
        (Header(np.zeros((2, 2), np.float32), 3), r"record 3: the labels have shape \(2, 2\)"),
        (Header(np.zeros(2, np.float32), -1), r"record ids \(-1, 0\) are not whole numbers within 0\.\.2\^64-1"),
        (Header(np.zeros(1, np.float32), 2**64), r"record ids \(18446744073709551616, 0\)"),
    ],
)
def test_headers_that_can_not_be_packed(header: Header, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        pack(header, b"")


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "a record of 0 bytes is shorter than its 24-byte image header"),
        (struct.pack("<IfQQ", 2, 0, 0, 0) + bytes(4), "a record of 28 bytes announces 2 labels, more than fit into it"),
        (struct.pack("<IfQQ", 2**32 - 1, 0, 0, 0), "announces 4294967295 labels"),
    ],
)
def test_headers_that_can_not_be_read(payload: bytes, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        unpack(payload)
    with pytest.raises(RecordError, match=message):
        label_of(payload, 2)


@given(st.binary(max_size=80))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    _only_record_errors(unpack, payload)
    _only_record_errors(label_of, payload, 2)


@given(st.binary(max_size=80) | WORDS, st.integers(0, 19).map(lambda word: 4 * word))
def test_any_bytes_are_read_or_refused(data: bytes, offset: int) -> None:
    result = _only_record_errors(read_record, data, offset, size=len(data))
    if result is not None:
        assert len(result[0]) <= len(data)


@given(WORDS, st.data())
def test_a_flipped_bit_never_breaks_the_reader(payload: bytes, draw: Any) -> None:
    data = bytearray(frame(payload))
    bit = draw.draw(st.integers(0, 8 * len(data) - 1))
    data[bit // 8] ^= 1 << bit % 8
    _only_record_errors(read_record, bytes(data), 0, size=len(data))


@pytest.mark.parametrize("size", [8, 60, 100])
def test_a_huge_length_takes_no_memory(size: int) -> None:
    data = (
        MAGIC_BYTES + struct.pack("<I", 1 << 29 | 8) + b"abcdefgh" + MAGIC_BYTES + struct.pack("<I", 2**31 - 1 - 2**29)
    )
    whole = MAGIC_BYTES + struct.pack("<I", 2**29 - 1)
    tracemalloc.start()
    try:
        for bytes_ in (data.ljust(size, b"\0"), whole.ljust(size, b"\0")):
            with pytest.raises(RecordError, match=r"bytes, but the file ends after|the file ends before it"):
                read_record(bytes_, 0, size=size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def _only_record_errors(function: Any, *arguments: Any, **named: Any) -> Any:
    try:
        return function(*arguments, **named)
    except RecordError:
        return None


@pytest.mark.parametrize("body", [b"", b"abc", b"abcd" * 10, b"xxxx" + MAGIC_BYTES + b"tail", b"x" + MAGIC_BYTES])
@pytest.mark.parametrize("key", [0, 7, MAGIC, 2**63])
def test_quick_framing_gives_the_same_bytes(body: bytes, key: int) -> None:
    labels = [np.array([1, 30], np.float32), np.array([0, 4, 3, 5, 1.5], np.float32)]
    bodies = [b"before", body, b"after it"]
    faces = [(label.tobytes(), key, one) for label in labels for one in bodies]
    expected = [frame(pack(Header(label, key), one)) for label in labels for one in bodies]
    assert frame_images(faces) == (b"".join(expected), [len(one) for one in expected])


def test_quick_framing_of_nothing_is_nothing() -> None:
    assert frame_images([]) == (b"", [])
