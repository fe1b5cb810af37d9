"""Interruptions: nothing half-done under the final names, and going on gives the same bytes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agegender.dataset import pack as packing
from agegender.dataset.config import PackConfig
from agegender.dataset.face_record import FaceSample
from agegender.dataset.journal import JOURNAL, PARTIAL, Journal
from agegender.dataset.report import PackReport
from agegender.errors import AgeGenderError, DataError, UsageError

DrawFiles = Callable[..., list[FaceSample]]
SIZE = 48
SRC = Path(packing.__file__).parents[2]


class StoppedError(Exception):
    """Stands for a kill: nothing is done in answer to it."""


@pytest.fixture(autouse=True)
def _note_every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "STATE_SECONDS", 0.0)
    monkeypatch.setattr(packing, "_CHUNK", 4)


def packed(samples: list[FaceSample], output: Path, *, stop_at: int | None = None, **options: Any) -> PackReport:
    values: dict[str, Any] = {"image_size": SIZE, "val_ratio": 0.25, "workers": 2, "shards": 2, **options}

    def progress(phase: str, done: int, total: int) -> None:
        if phase == packing.PACKING and stop_at is not None and done >= stop_at:
            raise StoppedError

    return packing.pack(samples, PackConfig(output=str(output), **values), progress=progress)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def spoiled(faces: list[FaceSample]) -> list[FaceSample]:
    """Make some of the faces unreadable, so that there is something to skip."""
    for number in range(0, len(faces), 7):
        faces[number].path.write_bytes(b"no picture %d" % number)
    return faces


@pytest.mark.parametrize("stops", [(0,), (4,), (30,), (40,), (8, 8, 20, 39)])
def test_resumed_run_gives_the_same_bytes(draw_files: DrawFiles, tmp_path: Path, stops: tuple[int, ...]) -> None:
    faces = spoiled(draw_files(40, size=64))
    whole = packed(faces, tmp_path / "whole")
    for number, stop in enumerate(stops):
        with pytest.raises(StoppedError):
            packed(faces, tmp_path / "cut", stop_at=stop, resume=number > 0)
        assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == [PARTIAL]
    report = packed(faces, tmp_path / "cut", resume=True, workers=1)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    # The state is noted after the progress is told, so that of the last chunk is lost.
    assert max(stops) - 4 <= report.resumed <= max(stops)
    assert (report.splits, report.sources) == (whole.splits, whole.sources)


def test_what_lies_beyond_the_last_state_is_cut_off(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(24)
    packed(faces, tmp_path / "whole")
    with pytest.raises(StoppedError):
        packed(faces, tmp_path / "cut", stop_at=12)
    for path in (tmp_path / "cut" / PARTIAL).iterdir():
        with open(path, "ab") as file:
            file.write(b'{"done": 20, "ski')  # also what a kill leaves of a journal's line
    packed(faces, tmp_path / "cut", resume=True)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_an_old_set_stays_until_the_new_one_is_complete(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(24)
    packed(faces[:12], tmp_path / "set")
    old = contents(tmp_path / "set")
    with pytest.raises(StoppedError):
        packed(faces, tmp_path / "set", stop_at=20)
    files = {path.name for path in (tmp_path / "set").iterdir()}
    assert files == {*old, PARTIAL}
    assert {name: hashlib.sha256((tmp_path / "set" / name).read_bytes()).hexdigest() for name in old} == old


def test_resuming_other_data_or_options_is_refused(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(24)
    with pytest.raises(StoppedError):
        packed(faces, tmp_path / "set", stop_at=8)
    with pytest.raises(UsageError) as error:
        packed(faces, tmp_path / "set", resume=True, seed=1, quality=90)
    assert "quality, seed, data differ" in str(error.value)
    assert "start again without --resume" in str(error.value)
    faces[5].path.write_bytes(faces[5].path.read_bytes() + b"\0")
    with pytest.raises(UsageError, match=r"\(data differ\)"):
        packed(faces, tmp_path / "set", resume=True)
    packed(faces, tmp_path / "set", resume=False)
    assert not (tmp_path / "set" / PARTIAL).exists()


def test_resume_with_nothing_to_resume_starts(
    draw_files: DrawFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert packed(draw_files(8), tmp_path / "set", resume=True).resumed == 0
    assert "nothing to resume" in caplog.text


def test_starting_anew_says_what_it_drops(
    draw_files: DrawFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faces = draw_files(8)
    with pytest.raises(StoppedError):
        packed(faces, tmp_path / "set", stop_at=4)
    caplog.set_level("INFO")
    packed(faces, tmp_path / "set")
    assert "dropping what an interrupted run left" in caplog.text


def test_partial_file_shorter_than_noted_is_an_error(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(24)
    with pytest.raises(StoppedError):
        packed(faces, tmp_path / "set", stop_at=20)
    records = tmp_path / "set" / PARTIAL / "train-00000-of-00002.rec"
    os.truncate(records, records.stat().st_size // 2)
    with pytest.raises(DataError, match="is shorter than its journal says; start again without --resume"):
        packed(faces, tmp_path / "set", resume=True)


@pytest.mark.parametrize("renames", [0, 1, 5, 11])
def test_kill_between_the_renames_is_finished_by_the_next_run(
    draw_files: DrawFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    faces = draw_files(24)
    packed(faces, tmp_path / "whole")
    packed(faces[:12], tmp_path / "cut", test_ratio=0.2)
    calls: list[str] = []
    replace = os.replace

    def stopping(source: Any, target: Any) -> None:
        if Path(source).parent.name == PARTIAL != Path(target).parent.name:
            if len(calls) == renames:
                raise StoppedError
            calls.append(str(target))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stopping)
        with pytest.raises(StoppedError):
            packed(faces, tmp_path / "cut")
    # The next run may even be one of other data that fails: the set is whole before it begins.
    with pytest.raises(StoppedError):
        packed(faces[:10], tmp_path / "cut", stop_at=4)
    for path in (tmp_path / "cut" / PARTIAL).iterdir():
        path.unlink()
    (tmp_path / "cut" / PARTIAL).rmdir()
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_two_runs_at_once_are_refused(draw_files: DrawFiles, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    (tmp_path / "set").mkdir()
    journal = Journal(tmp_path / "set")
    try:
        with pytest.raises(UsageError, match="another run is packing into"):
            packed(draw_files(8), tmp_path / "set")
    finally:
        journal.close()
    assert packed(draw_files(8), tmp_path / "set").packed == 8


def test_dead_worker_ends_the_job(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = draw_files(8, template=None)
    config = PackConfig(output=str(tmp_path / "set"), image_size=SIZE, workers=2)
    with pytest.raises(AgeGenderError, match=r"a packing worker died near .*\.jpg"):
        packing.pack(faces, config, make_detector=partial(os._exit, 3))
    assert not list((tmp_path / "set").glob("*.rec"))


def test_error_of_opening_the_detector_is_told(draw_files: DrawFiles, tmp_path: Path) -> None:
    from agegender.deploy.mtcnn import open_mtcnn

    faces = draw_files(4, template=None)
    config = PackConfig(output=str(tmp_path / "set"), image_size=SIZE, workers=1)
    with pytest.raises(AgeGenderError, match="does not exist"):
        packing.pack(faces, config, make_detector=partial(open_mtcnn, tmp_path / "no_models", gpu_ids="cpu"))


def command(*arguments: object) -> list[str]:
    """Return the command line of a run that notes its state after every few faces."""
    code = f"""
import sys
sys.path.insert(0, {str(SRC)!r})
from agegender.app.cli import run_command
from agegender.dataset import pack
pack.STATE_SECONDS, pack._CHUNK = 0.0, 4
sys.exit(run_command("pack", sys.argv[1:], prog="create_dataset.py"))
"""
    return [sys.executable, "-c", code, *map(str, arguments)]


SYNTHETIC = ("--synthetic", 160, "--image_size", 32, "--workers", 2, "--lang", "en")


def wait_for_states(process: subprocess.Popen[Any], folder: Path, lines: int) -> None:
    """Wait until the journal of a running job has so many lines."""
    journal = folder / PARTIAL / JOURNAL
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise ChildProcessError(f"the job ended with {process.returncode}")
        if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.01)
    raise TimeoutError(f"{journal} did not get {lines} lines")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic set, packed without interruption."""
    folder = tmp_path_factory.mktemp("unbroken")
    subprocess.run(command(*SYNTHETIC, "--output", folder), check=True, capture_output=True)
    return folder


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_kill_and_resume_give_the_same_bytes(unbroken: Path, tmp_path: Path) -> None:
    with subprocess.Popen(command(*SYNTHETIC, "--output", tmp_path), stderr=subprocess.DEVNULL) as process:
        wait_for_states(process, tmp_path, 8)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [PARTIAL]
    resumed = subprocess.run(
        command(*SYNTHETIC, "--output", tmp_path, "--resume"), check=True, capture_output=True, text=True
    )
    assert "went on after " in resumed.stdout
    assert contents(tmp_path) == contents(unbroken)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_interrupt_says_how_to_go_on(tmp_path: Path) -> None:
    process = subprocess.Popen(command(*SYNTHETIC, "--output", tmp_path), stderr=subprocess.PIPE, text=True)
    with process:
        wait_for_states(process, tmp_path, 4)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 130
    assert "nothing is lost: the same command with --resume goes on from here" in said
    assert "Traceback" not in said
    state = json.loads((tmp_path / PARTIAL / JOURNAL).read_text().splitlines()[-1])
    assert 0 < state["done"] < 160


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_leaves_no_set_and_goes_on(unbroken: Path, small_disk: Path) -> None:
    full = subprocess.run(command(*SYNTHETIC, "--output", small_disk), capture_output=True, text=True)
    assert full.returncode == 1
    assert os.strerror(errno.ENOSPC) in full.stderr
    assert "the same command with --resume goes on from here" in full.stderr
    assert "Traceback" not in full.stderr
    assert [path.name for path in small_disk.iterdir()] == [PARTIAL]
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    resumed = subprocess.run(
        command(*SYNTHETIC, "--output", small_disk, "--resume"), check=True, capture_output=True, text=True
    )
    assert "went on after " in resumed.stdout
    assert contents(small_disk) == contents(unbroken)
