"""Long runs of infer.py: killed, interrupted, resumed, and fed for ever."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agegender.app.inference.config import InferConfig
from agegender.app.inference.photos import Run
from agegender.app.inference.results import JsonFile
from agegender.app.inference.sources import Listed
from agegender.app.inference.targets import Targets
from agegender.face.photo import write_photo

PHOTOS = 12


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small pictures, one of them broken."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(PHOTOS):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8)
        write_photo(folder / f"{number:02}.png", pixels)
    (folder / "05.png").write_bytes(b"no picture")
    return folder


class Fed:
    """A run of infer.py that gets its photos one by one on standard input, and writes both files."""

    def __init__(self, root: Path, folder: Path, *flags: str, listed: bool = True) -> None:
        self.lines, self.table = folder / "faces.jsonl", folder / "faces.csv"
        files = ["--json", str(self.lines), "--csv", str(self.table), "--output", str(folder / "out")]
        how = ["--model", "ssrnet", "--gpu_ids", "cpu", "--detector", "none", "--lang", "en"]
        source = ["--image", "-"] if listed else []
        self.process = subprocess.Popen(
            [sys.executable, str(root / "infer.py"), *how, *files, *source, *flags],
            env={**os.environ, "AGEGENDER_MODELS": str(root / "models"), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def feed(self, photos: list[Path]) -> None:
        """Name ``photos`` and wait until all that were named so far are in both files."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(os.fsencode(photo) + b"\n" for photo in photos))
        self.process.stdin.flush()
        limit = time.monotonic() + 60
        while not self.table.exists() or str(photos[-1]) not in self.table.read_text():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < limit
            time.sleep(0.02)

    def end(self) -> tuple[int, str, str]:
        """Close standard input; exit code, output and errors."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out.decode(), err.decode()


def results(folder: Path) -> tuple[bytes, bytes, list[str]]:
    pictures = sorted(path.relative_to(folder).as_posix() for path in (folder / "out").rglob("*.png"))
    return (folder / "faces.jsonl").read_bytes(), (folder / "faces.csv").read_bytes(), pictures


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_goes_on(root: Path, photos: Path, tmp_path: Path, blow: signal.Signals) -> None:
    names = sorted(photos.iterdir())
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    for folder in (unbroken, broken):
        folder.mkdir()
    whole = Fed(root, unbroken)
    whole.feed(names)
    code, out, err = whole.end()
    assert (code, out) == (1, f"written to {whole.lines}, {whole.table}: photos {PHOTOS}, faces {PHOTOS - 1}\n")
    assert err.splitlines()[-1] == f"1 of {PHOTOS} photos could not be read"

    stopped = Fed(root, broken)
    stopped.feed(names[:7])
    stopped.process.send_signal(blow)
    if blow == signal.SIGINT:
        # Standard input is still open: the photos that may come don't hold up the end.
        assert stopped.process.wait(30) == 130
        said = stopped.end()[2].splitlines()[-1]
        files = f"{stopped.lines}, {stopped.table}"
        assert said == f"stopped; photos done: 7, all in {files}; the same command with --resume goes on"
    else:
        assert stopped.end()[0] == -signal.SIGKILL
    assert results(unbroken)[0].startswith(results(broken)[0])
    assert len(results(broken)[0].splitlines()) == 7
    # As a full disk or a power cut leaves them: the last photo is whole in neither.
    for file in (stopped.lines, stopped.table):
        file.write_bytes(file.read_bytes()[:-9])
    before = (broken / "out").rglob("*.png")
    stamps = {path: path.stat().st_mtime_ns for path in before if path.name < "06"}

    resumed = Fed(root, broken, "--resume")
    resumed.feed(names)
    code, out, err = resumed.end()
    files = f"{resumed.lines}, {resumed.table}"
    assert (code, out) == (1, f"written to {files}: photos {PHOTOS - 6}, faces {PHOTOS - 6}\n")
    assert err.splitlines()[-2:] == [
        f"in {files} already and left out: 6",
        f"could not be read before: 1 (why stands in {files})",
    ]
    assert results(broken) == results(unbroken)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_a_photo_in_one_file_is_added_to_the_other(root: Path, photos: Path, tmp_path: Path) -> None:
    run = Fed(root, tmp_path)
    run.feed(sorted(photos.iterdir()))
    run.end()
    whole = results(tmp_path)
    kept = b"".join(whole[0].splitlines(keepends=True)[:4])
    run.lines.write_bytes(kept)
    again = Fed(root, tmp_path, "--image", str(photos), "--resume", listed=False)
    code, out, _ = again.end()
    assert (code, out.split(": ")[-1]) == (1, f"photos {PHOTOS - 4}, faces {PHOTOS - 5}\n")
    assert results(tmp_path)[:2] == whole[:2]


class Feed(io.RawIOBase):
    """A list of a million photos, none of which is there; counts what was asked for."""

    def __init__(self, file: Path) -> None:
        self.file, self.asked, self.furthest = file, 0, 0

    def read(self, size: int = -1) -> bytes:
        done = self.file.read_bytes().count(b"\n") if self.asked % 50 == 0 else None
        if done is not None:
            self.furthest = max(self.furthest, self.asked - done)
        self.asked += 1
        return f"nowhere/{self.asked:06}.jpg\n".encode() if self.asked <= 1000 else b""


def test_a_run_asks_for_no_more_than_it_can_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What waits between the list and the results has a fixed size, so that memory doesn't grow with the list."""
    config = InferConfig(output="none", json=str(tmp_path / "faces.jsonl"))
    results = JsonFile(tmp_path / "faces.jsonl")
    feed = Feed(results.path)
    sources = [Listed(feed)]
    run = Run(config=config, lang="en", predictor=NoModel(), results=[results])  # type: ignore[arg-type]
    assert run(sources, Targets(sources, "none")) == 1
    results.close()
    images = [json.loads(line)["image"] for line in results.path.read_text().splitlines()]
    assert images == [f"nowhere/{number:06}.jpg" for number in range(1, 1001)]
    assert (run.tally.photos, run.tally.failed) == (1000, 1000)
    assert feed.furthest <= 6
    assert capsys.readouterr().err.splitlines()[-1] == "1000 of 1000 photos could not be read"


class NoModel:
    """Stands where no photo can be read and so no model is asked."""
