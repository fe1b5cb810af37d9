"""What stands under the final names when writing ends well, badly, or on a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agegender.errors import RecordError
from agegender.recordio import RecordFile, RecordWriter, write_index

ROOT = Path(__file__).resolve().parents[2]


def test_final_names_appear_at_the_end(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        assert [writer.write(key, b"abcde") for key in range(3)] == [0, 16, 32]
        assert not (tmp_path / "train.rec").exists()
        assert not (tmp_path / "train.idx").exists()
    assert sorted(name.name for name in tmp_path.iterdir()) == ["train.idx", "train.rec"]
    assert (tmp_path / "train.idx").read_bytes() == b"0\t0\n1\t16\n2\t32\n"
    assert (writer.records, writer.bytes) == (3, 48)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "train.rec").write_bytes(b"old")
    with pytest.raises(error), RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(0, b"new")
        raise error
    assert [name.name for name in tmp_path.iterdir()] == ["train.rec"]
    assert (tmp_path / "train.rec").read_bytes() == b"old"


@pytest.mark.parametrize("key", [-1, 2**63])
def test_keys_out_of_range(tmp_path: Path, key: int) -> None:
    message = rf"train\.rec: record key {key} is not within 0\.\.2\^63-1"
    with pytest.raises(RecordError, match=message), RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(key, b"")
    assert list(tmp_path.iterdir()) == []


def test_keys_given_twice(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "train.rec")
    for key in (5, 3, 5, 4, 3):
        writer.write(key, b"")
    with pytest.raises(RecordError, match=r"train\.rec: key 3 was written more than once \(2 such records\)"):
        writer.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RecordError, match=r"record 6 was written after the file was closed"):
        writer.write(6, b"")


def test_keys_in_any_order(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key in (5, 3, 2**62):
            writer.write(key, b"%d" % key)
    with RecordFile(tmp_path / "train.rec") as records:
        assert {int(key): bytes(payload) for key, payload in zip(records.keys, records, strict=True)} == {
            5: b"5",
            3: b"3",
            2**62: b"4611686018427387904",
        }


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"can't write .*train\.rec: No such file or directory; nothing half-written"):
        RecordWriter(tmp_path / "absent" / "train.rec")


def test_an_index_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"train\.idx: a record file can't be named \.idx"):
        RecordWriter(tmp_path / "train.idx")


WRITE = """
import sys
sys.path.insert(0, sys.argv[2])
from agegender.errors import RecordError
from agegender.recordio import RecordWriter
try:
    with RecordWriter(sys.argv[1]) as writer:
        for key in range(int(sys.argv[3])):
            writer.write(key, bytes(1000))
except RecordError as error:
    print(error)
    sys.exit(1)
"""


def _write_in_another_process(path: Path, count: int, *, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit_files() -> None:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails with "File too large"
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-c", WRITE, str(path), str(ROOT / "src"), str(count)]
    prepare: Callable[[], None] | None = limit_files if limit else None
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=prepare, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits on file sizes are a Unix thing")
@pytest.mark.parametrize("count", [5000, 150])
def test_a_full_disk_while_writing(tmp_path: Path, count: int) -> None:
    """Full in the middle of writing, and full only when the buffers are flushed at the end."""
    (tmp_path / "train.rec").write_bytes(b"old")
    done = _write_in_another_process(tmp_path / "train.rec", count, limit=100_000)
    assert (done.returncode, done.stderr) == (1, "")
    assert (
        done.stdout
        == f"can't write {tmp_path}/train.rec: File too large; nothing half-written is left under that name\n"
    )
    assert [name.name for name in tmp_path.iterdir()] == ["train.rec"]
    assert (tmp_path / "train.rec").read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_full_tmpfs(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this container may not mount a tmpfs")
    try:
        done = _write_in_another_process(tmp_path / "train.rec", 5000)
        assert (done.returncode, done.stderr) == (1, "")
        assert "train.rec: No space left on device" in done.stdout
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_write_index_in_chunks(tmp_path: Path) -> None:
    keys = np.arange(70_000, dtype=np.int64)
    write_index(tmp_path / "train.idx", keys, offsets=keys * 16)
    lines = (tmp_path / "train.idx").read_bytes().splitlines()
    assert len(lines) == 70_000
    assert lines[65_536] == b"65536\t1048576"
