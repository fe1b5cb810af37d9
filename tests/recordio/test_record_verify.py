"""Damage of every kind: what verify says, what repair saves, and that the damaged file is left alone."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agegender.errors import RecordError, UsageError
from agegender.files import sha256_file, write_json
from agegender.recordio import (
    Header,
    RecordFile,
    RecordWriter,
    pack,
    read_index,
    rebuild_index,
    repair,
    unpack,
    verify,
)
from agegender.recordio.layout import MAGIC_BYTES, frame

MakeSet = Callable[..., Path]
JPEG = b"\xff\xd8\xff body \xff\xd9"


def _problems(path: Path, **options: object) -> list[str]:
    return [str(problem) for problem in verify(path, **options).problems]  # type: ignore[arg-type]


def _damage(path: Path, offset: int, change: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + len(change)] = change
    path.write_bytes(data)


def _saved_keys(path: Path) -> list[int]:
    with RecordFile(path) as records:
        assert [unpack(payload)[0].id for payload in records] == records.keys.tolist()
        return records.keys.tolist()


def _repaired(path: Path) -> tuple[list[int], list[str]]:
    """Repair a set and return the keys that are left and what was lost; the source must not change."""
    before = path.read_bytes()
    target = path.with_name("repaired.rec")
    result = repair(path, target)
    assert path.read_bytes() == before
    assert verify(target).ok
    keys = _saved_keys(target)
    assert result.records == len(keys)
    return keys, [str(problem) for problem in result.lost]


def test_a_good_set(make_set: MakeSet) -> None:
    path = make_set(30)
    report = verify(path)
    assert (report.ok, report.records, report.size) == (True, 30, path.stat().st_size)


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_a_torn_tail(make_set: MakeSet, cut: int) -> None:
    path = make_set(10)
    last = read_index(path.with_suffix(".idx"))[1][9]
    path.write_bytes(path.read_bytes()[:-cut])
    left = path.stat().st_size - last
    lost = rf"record key 9 at byte {last}: it announces \d+ bytes, but the file ends after {left - 8} of them"
    (problem,) = _problems(path)
    assert problem.endswith(f"({left} bytes hold no whole record)")
    keys, (reason,) = _repaired(path)
    assert keys == list(range(9))
    for text in (problem, reason):
        assert re.match(lost, text)


def test_a_tail_torn_within_the_head(make_set: MakeSet) -> None:
    path = make_set(3)
    last = int(read_index(path.with_suffix(".idx"))[1][2])
    path.write_bytes(path.read_bytes()[: last + 5])
    assert _problems(path) == [
        f"record key 2 at byte {last}: the file ends before it, at byte {last + 5} (5 bytes hold no whole record)"
    ]
    assert _repaired(path)[0] == [0, 1]


def test_zeros_after_a_power_cut(make_set: MakeSet) -> None:
    path = make_set(3)
    size = path.stat().st_size
    with open(path, "ab") as file:
        file.write(bytes(4096))
    assert _problems(path) == [
        f"at byte {size}: no record starts there (0x00000000 instead of 0xced7230a) (4096 bytes hold no whole record)"
    ]
    assert _repaired(path)[0] == [0, 1, 2]


@pytest.mark.parametrize("bit", [0, 9, 31])
def test_a_flipped_bit_in_the_magic_is_mended(make_set: MakeSet, bit: int) -> None:
    path = make_set(10)
    offset = int(read_index(path.with_suffix(".idx"))[1][4])
    word = struct.unpack_from("<I", path.read_bytes(), offset)[0] ^ 1 << bit
    _damage(path, offset, struct.pack("<I", word))
    assert _problems(path) == [f"record key 4 at byte {offset}: its magic is damaged, the rest is whole"]
    assert _repaired(path) == (list(range(10)), [])


@pytest.mark.parametrize("bit", [3, 8, 20, 28, 29, 30, 31])
def test_a_flipped_bit_in_the_length_loses_that_record(make_set: MakeSet, bit: int) -> None:
    path = make_set(10)
    offset = int(read_index(path.with_suffix(".idx"))[1][4])
    word = struct.unpack_from("<I", path.read_bytes(), offset + 4)[0] ^ 1 << bit
    _damage(path, offset + 4, struct.pack("<I", word))
    (problem,) = _problems(path)
    assert problem.startswith(f"record key 4 at byte {offset}: ")
    keys, lost = _repaired(path)
    assert keys == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert lost == [problem]


def test_a_stretch_of_several_records(make_set: MakeSet) -> None:
    path = make_set(10)
    offsets = read_index(path.with_suffix(".idx"))[1]
    begin, end = int(offsets[3]), int(offsets[6])
    _damage(path, begin, random.Random(1).randbytes(end - begin))
    assert _problems(path) == [
        f"record key 3 at byte {begin}: no record starts there "
        f"(0x{struct.unpack_from('<I', path.read_bytes(), begin)[0]:08x} instead of 0xced7230a) "
        f"({end - begin} bytes hold no whole record); with keys 4, 5"
    ]
    assert _repaired(path)[0] == [0, 1, 2, 6, 7, 8, 9]


def test_nothing_left(tmp_path: Path) -> None:
    path = tmp_path / "train.rec"
    path.write_bytes(bytes(100))
    assert _problems(path)[0].startswith("at byte 0: no record starts there")
    with pytest.raises(RecordError, match=r"train\.rec has no whole record: nothing to save"):
        repair(path, tmp_path / "new.rec")
    assert [name.name for name in tmp_path.iterdir()] == ["train.rec"]


def test_parts_out_of_order(tmp_path: Path) -> None:
    """A record in three parts of which some are missing goes as a whole, its neighbours stay."""
    split = frame(pack(Header(np.array([1, 20], np.float32), 1), MAGIC_BYTES + b"abcd" + MAGIC_BYTES + JPEG))
    others = [frame(pack(Header(np.array([1, 20], np.float32), key), JPEG)) for key in (0, 2)]
    first, second, third = (b"" if not part else MAGIC_BYTES + part for part in split.split(MAGIC_BYTES)[1:])
    for number, parts in enumerate(([first], [first, second], [first, second, second], [second, third], [third])):
        path = tmp_path / f"{number}.rec"
        path.write_bytes(others[0] + b"".join(parts) + others[1])
        (problem, _) = _problems(path)
        assert problem.startswith(f"at byte {len(others[0])}: ")
        result = repair(path, tmp_path / f"{number}-repaired.rec")
        assert (result.records, len(result.lost)) == (2, 1)
        assert _saved_keys(result.target) == [0, 2]


def test_a_magic_that_was_not_split_is_mended(tmp_path: Path) -> None:
    """Writers that don't split payloads exist; MXNet's iterator loses its way in their files."""
    payloads = [pack(Header(np.array([1, 20], np.float32), key), MAGIC_BYTES * 2 + JPEG) for key in range(3)]
    raw = [MAGIC_BYTES + struct.pack("<I", len(payload)) + payload + bytes(-len(payload) % 4) for payload in payloads]
    (tmp_path / "train.rec").write_bytes(b"".join(raw))
    path = tmp_path / "train.rec"
    problems = _problems(path, check=None)
    assert len(problems) == 4
    assert problems[1].startswith(
        f"record key 1 at byte {len(raw[0])}: its payload has an aligned magic that is not split"
    )
    repair(path, tmp_path / "new.rec")
    with RecordFile(tmp_path / "new.rec") as records:
        assert [bytes(payload) for payload in records] == payloads
    assert verify(tmp_path / "new.rec", check=None).ok


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"too short", "a record of 9 bytes is shorter than its 24-byte image header"),
        (pack(Header(np.array([1, np.nan], np.float32), 1), JPEG), "its labels [1.0, nan] are not finite"),
        (pack(Header(np.array([1, 20], np.float32), 1), b""), "its body is empty"),
        (pack(Header(np.array([1, 20], np.float32), 1), b"GIF89a"), "its body is no JPEG (it starts with 47 49 46 38)"),
        (pack(Header(np.array([1, 20], np.float32), 1), JPEG[:-2]), "its JPEG has no end marker: cut off"),
        (
            pack(Header(np.array([2, 20], np.float32), 1), JPEG),
            "its gender 2 is none of 0 = female, 1 = male, -1 = unknown",
        ),
        (pack(Header(np.array([1, 130], np.float32), 1), JPEG), "its age 130 is not within 0..100 (-1 = unknown)"),
        (pack(Header(np.array([-1, -1], np.float32), 1), JPEG), None),
        (pack(Header(np.array([1, 20], np.float32), 1), b"\x89PNG\r\n\x1a\n..."), None),
    ],
)
def test_what_is_wrong_inside(tmp_path: Path, payload: bytes, reason: str | None) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(0, pack(Header(np.array([1, 20], np.float32), 0), JPEG))
        offset = writer.write(1, payload)
    expected = [f"record key 1 at byte {offset}: {reason}"] if reason else []
    assert _problems(tmp_path / "train.rec", label_order="gender,age") == expected


def test_repair_can_leave_bad_bodies_out(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key, body in enumerate((JPEG, b"", JPEG)):
            writer.write(key, pack(Header(np.array([1, 20], np.float32), key), body))
    from agegender.recordio.body import jpeg_problem

    result = repair(tmp_path / "train.rec", tmp_path / "new.rec", check=jpeg_problem)
    assert _saved_keys(result.target) == [0, 2]
    assert [problem.reason for problem in result.lost] == ["its body is empty"]


def test_padding_is_checked(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(0, pack(Header(np.array([1, 20], np.float32), 0), JPEG))
    size = (tmp_path / "train.rec").stat().st_size
    _damage(tmp_path / "train.rec", size - 1, b"\x01")
    assert _problems(tmp_path / "train.rec") == ["record key 0 at byte 0: its padding is not zero"]


def test_index_against_records(make_set: MakeSet) -> None:
    path = make_set(5)
    index = path.with_suffix(".idx")
    lines = index.read_text().splitlines()
    offsets = [line.split("\t")[1] for line in lines]
    index.write_text("\n".join([*lines[:3], f"3\t{int(offsets[3]) + 4}", f"0\t{offsets[4]}"]) + "\n")
    assert _problems(path) == [
        f"record key 3 at byte {int(offsets[3]) + 4}: the .idx names it, but no record starts there",
        f"at byte {offsets[3]}: the .idx does not name this record",
        "the .idx has the key 0 more than once",
    ]


def test_many_differences_are_counted(make_set: MakeSet) -> None:
    path = make_set(60)
    keys, offsets = read_index(path.with_suffix(".idx"))
    offsets = np.where(np.arange(60) < 25, offsets + 4, offsets)
    path.with_suffix(".idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in zip(keys, offsets)))
    problems = _problems(path)
    assert len(problems) == 41
    assert problems[-1] == "10 more differences between the .idx and the records"


def test_an_index_of_another_file_is_called_that(make_set: MakeSet) -> None:
    path = make_set(60)
    keys, offsets = read_index(path.with_suffix(".idx"))
    path.with_suffix(".idx").write_text("".join(f"{key}\t{offset + 4}\n" for key, offset in zip(keys, offsets)))
    assert _problems(path) == [
        f"the .idx is not this file's: it names 0 of the 60 records, all of them whole; "
        f"tools/rec.py index {path} writes the right one"
    ]


def test_a_lost_and_a_damaged_index(make_set: MakeSet) -> None:
    path = make_set(5, first_key=30)
    index = path.with_suffix(".idx")
    before = index.read_bytes()
    index.write_bytes(b"nonsense\n")
    assert _problems(path) == [f"{index}:1: 'nonsense' is not 'key<TAB>offset'; tools/rec.py index rebuilds the file"]
    index.unlink()
    assert _problems(path) == ["train.idx is missing; tools/rec.py index writes it anew"]
    assert rebuild_index(path) == 5
    assert index.read_bytes() == before
    assert verify(path).ok


def test_rebuilding_numbers_what_has_no_keys(tmp_path: Path) -> None:
    """Raw payloads, and image records that share one id, get the keys 0..n-1."""
    same = pack(Header(np.array([1.0], np.float32), 7), JPEG)
    for name, payloads in (("raw", [b"", b"abc", b"x" * 50]), ("same", [same] * 3)):
        path = tmp_path / f"{name}.rec"
        path.write_bytes(b"".join(map(frame, payloads)))
        assert rebuild_index(path) == 3
        assert read_index(path.with_suffix(".idx"))[0].tolist() == [0, 1, 2]


def test_rebuilding_refuses_damage(make_set: MakeSet) -> None:
    path = make_set(5)
    before = path.with_suffix(".idx").read_bytes()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecordError, match=r"train\.rec is damaged; tools/rec\.py verify says where"):
        rebuild_index(path)
    assert path.with_suffix(".idx").read_bytes() == before
    with pytest.raises(RecordError, match=r"there is no .*val\.rec"):
        rebuild_index(path.with_name("val.rec"))


def test_digest_of_the_set(make_set: MakeSet) -> None:
    path = make_set(5)
    write_json(path.with_suffix(".json"), {"sha256": {"train.rec": sha256_file(path)}})
    assert verify(path).ok
    # A bit within a JPEG's picture data is seen by nothing else.
    offset = int(read_index(path.with_suffix(".idx"))[1][3]) - 20
    _damage(path, offset, bytes([path.read_bytes()[offset] ^ 1]))
    assert _problems(path) == ["its SHA-256 is not the one in train.json: some bytes have changed"]
    path.with_suffix(".json").write_text("{")
    assert _problems(path)[0].startswith("train.json is no JSON: ")
    path.with_suffix(".json").write_text('{"other": 1}')
    assert verify(path).ok


def test_repair_cuts_the_tables(make_set: MakeSet) -> None:
    path = make_set(4)
    offset = int(read_index(path.with_suffix(".idx"))[1][2])
    _damage(path, offset + 4, b"\xff\xff\xff\xff")
    path.with_suffix(".csv").write_text("key,path,source\n" + "".join(f'{key},"a,{key}.jpg",x\n' for key in range(4)))
    path.with_suffix(".lst").write_text("".join(f'{key}\t1\t20\t"{key}.jpg\n' for key in range(4)))
    write_json(path.with_suffix(".json"), {"records": 4, "template": {"name": "utkface"}, "sha256": {"train.rec": "0"}})
    target = path.with_name("new.rec")
    assert repair(path, target).records == 3
    assert target.with_suffix(".csv").read_text() == 'key,path,source\n0,"a,0.jpg",x\n1,"a,1.jpg",x\n3,"a,3.jpg",x\n'
    assert target.with_suffix(".lst").read_text() == '0\t1\t20\t"0.jpg\n1\t1\t20\t"1.jpg\n3\t1\t20\t"3.jpg\n'
    assert json.loads(target.with_suffix(".json").read_text()) == {
        "records": 3,
        "template": {"name": "utkface"},
        "sha256": {"new.rec": sha256_file(target)},
        "repaired_from": "train.rec",
    }
    assert verify(target).ok


@pytest.mark.parametrize("name", ["train.rec", "other.rec"])
def test_repair_never_overwrites(make_set: MakeSet, name: str) -> None:
    path = make_set(2)
    make_set(2, name="other.rec")
    with pytest.raises(UsageError, match=rf"{name} exists; repair writes a new file and leaves others alone"):
        repair(path, path.with_name(name))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_damage_is_reported_and_survived(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever happens to a file: verify reports, repair saves a good set or says there is nothing, reading refuses."""
    labels = np.array([1, 20], np.float32)
    bodies = [JPEG, MAGIC_BYTES + JPEG, b"abcd" + MAGIC_BYTES * 2, JPEG * 9, b""]
    framed = [frame(pack(Header(labels, key), body)) for key, body in enumerate(bodies)]
    original = b"".join(framed)
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "remove"]))
        if kind == "flip":
            damaged[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut" and place:
            del damaged[place:]
        elif kind == "insert":
            damaged[place:place] = data.draw(st.binary(min_size=1, max_size=9))
        elif len(damaged) > 1:
            del damaged[place : place + 1]
    for name in tmp_path.iterdir():
        name.unlink()
    path = tmp_path / "train.rec"
    path.write_bytes(damaged)
    offsets = np.cumsum([0, *map(len, framed[:-1])]).tolist()
    path.with_suffix(".idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in enumerate(offsets)))
    report = verify(path)
    assert all("\n" not in str(problem) for problem in report.problems)
    for reader in (RecordFile, lambda name: list(RecordFile(name))):
        try:
            reader(path)
        except RecordError as error:
            assert "train" in str(error)
    try:
        result = repair(path, tmp_path / "new.rec")
    except RecordError as error:
        assert "nothing to save" in str(error)
        return
    assert result.records == report.records
    again = verify(tmp_path / "new.rec", check=None)
    structure = [
        str(problem) for problem in again.problems if "labels" not in str(problem) and "header" not in str(problem)
    ]
    assert structure == []
