"""Tars that are cut off, too large in some part, or two in one."""

from __future__ import annotations

import io
import logging
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from agegender.dataset.exchange.entry import MAX_BYTES, Entry
from agegender.dataset.exchange.tar_members import MAX_HEADER, read_members
from agegender.dataset.exchange.webdataset_shards import WebDatasetShards, write_webdataset
from agegender.errors import RecordError

FACE = bytes(range(256)) * 5  # 1280 bytes: three blocks, the last one not full
MEMBER = 512 + 3 * 512


def _tar(path: Path, *names: str, form: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(FACE)
            tar.addfile(info, io.BytesIO(FACE))
    return path


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.USTAR_FORMAT)


def test_a_tar_without_an_end_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _tar(tmp_path / "a.tar", "a.jpg", "b.jpg")
    path.write_bytes(path.read_bytes()[: 2 * MEMBER])
    assert list(read_members(path)) == [("a.jpg", FACE), ("b.jpg", FACE)]
    assert caplog.record_tuples == [
        (
            "agegender.dataset.exchange.tar_members",
            logging.WARNING,
            f"{path}: ends after 'b.jpg', which is whole, without an end marker: were there more members?",
        )
    ]
    caplog.clear()
    assert len(list(read_members(path, quiet=True))) == 2
    assert caplog.record_tuples == []


def test_a_whole_tar_is_read_without_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        long = "é" * 30 + "/" + "x" * 200 + ".jpg"
        names = ["a.jpg"] if form == tarfile.USTAR_FORMAT else ["a.jpg", long]
        assert list(read_members(_tar(tmp_path / "a.tar", *names, form=form))) == [(name, FACE) for name in names]
    assert caplog.record_tuples == []


# Every place but the ends of the two members: within a header, within the data, and within what fills the last block.
@pytest.mark.parametrize("size", [1, 300, 512, 513, 1000, 512 + len(FACE), MEMBER - 1, MEMBER + 1, MEMBER + 600])
def test_a_cut_member_is_an_error(tmp_path: Path, size: int) -> None:
    path = _tar(tmp_path / "a.tar", "a.jpg", "b.jpg")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RecordError, match=rf"^{path}: (damaged at or after|after) "):
        list(read_members(path))


def test_two_tars_in_one_file_are_refused(tmp_path: Path) -> None:
    path = _tar(tmp_path / "a.tar", "a.jpg")
    path.write_bytes(path.read_bytes() + _tar(tmp_path / "b.tar", "b.jpg").read_bytes())
    with pytest.raises(
        RecordError, match=rf"after 'a\.jpg', from byte {MEMBER:,} on, comes no member: damaged, or two"
    ):
        list(read_members(path))


def test_a_damaged_header_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = _tar(tmp_path / "a.tar", "a.jpg", "b.jpg")
    data = bytearray(path.read_bytes())
    data[MEMBER] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordError, match="comes no member"):  # tarfile itself stops there without a word
        list(read_members(path))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_long_headers_are_limited(tmp_path: Path, kind: bytes) -> None:
    # The header says so; what it announces is not there and must not be waited for.
    (tmp_path / "a.tar").write_bytes(_header("x", 7 << 30, kind) + bytes(1024))
    with pytest.raises(RecordError, match=rf"a header of {7 << 30:,} bytes is over {MAX_HEADER:,}"):
        list(read_members(tmp_path / "a.tar"))


def test_a_chain_of_long_headers_is_an_error(tmp_path: Path) -> None:
    link = _header("x", 10, tarfile.GNUTYPE_LONGNAME) + b"a.jpg\0".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(link * 3000 + bytes(1024))
    with pytest.raises(RecordError, match="damaged at or after 'its beginning'"):
        list(read_members(tmp_path / "a.tar"))


def test_members_are_limited(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(_header("a.jpg", MAX_BYTES + 1) + bytes(1024))
    with pytest.raises(RecordError, match=r"'a\.jpg' is refused: 67,108,865 bytes are no face"):
        list(read_members(tmp_path / "a.tar"))


def test_compressed_tars_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(RecordError, match=r"damaged at or after 'its beginning' \(.*\); plain tars are read"):
        list(read_members(tmp_path / "a.tar"))


def test_memory_stays_flat(tmp_path: Path) -> None:
    entries = (Entry(f"{number:08d}", 0, 30, bytes(20_000)) for number in range(1000))
    tracemalloc.start()
    try:
        paths = write_webdataset(tmp_path, "f", entries, per_shard=1000)
        assert sum(1 for _ in WebDatasetShards(paths).read(images=True)) == 1000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert paths[0].stat().st_size > 20_000_000
    assert peak < 4_000_000
