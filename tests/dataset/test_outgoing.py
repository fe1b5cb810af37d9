"""Files of an earlier set that the new one has no successor for: which, and that each is named."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from agegender.dataset.config import PackConfig
from agegender.dataset.face_record import FaceSample
from agegender.dataset.outgoing import by_pattern, outgoing_files, tell_outgoing
from agegender.dataset.pack import pack
from agegender.dataset.problems import Problems
from agegender.dataset.sources import synthetic_source

SIZE = 32
KINDS = ("csv", "idx", "json", "lst", "rec")


def samples(folder: Path, count: int = 10) -> list[FaceSample]:
    return list(synthetic_source(count, seed=1).samples(folder, Problems()))


def packed(output: Path, faces: list[FaceSample], **options: object) -> None:
    pack(faces, PackConfig(output=str(output), image_size=SIZE, workers=1, **options))  # type: ignore[arg-type]


def names(split: str) -> str:
    return ", ".join(f"{split}.{kind}" for kind in KINDS)


def going(output: Path, files: str) -> str:
    return f"{output}: the new set has no {files}; the old ones will be removed when it is complete"


def test_every_file_that_goes_is_named_before_the_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    out = tmp_path / "out"
    packed(out, samples(tmp_path), val_ratio=0.2, test_ratio=0.2)
    assert caplog.messages == []
    packed(out, samples(tmp_path), val_ratio=0.2, test_ratio=0.2)
    assert caplog.messages == []
    packed(out, samples(tmp_path), val_ratio=0.2)
    assert caplog.messages == [going(out, names("test"))]
    assert not list(out.glob("test.*")) and len(list(out.glob("val.*"))) == len(KINDS)
    caplog.clear()
    packed(out, samples(tmp_path), val_ratio=0, shards=4)
    assert caplog.messages == [going(out, f"train.idx, train.rec, {names('val')}")]
    caplog.clear()
    packed(out, samples(tmp_path), val_ratio=0, shards=3)
    four = "train-*-of-00004.idx (4 files), train-*-of-00004.rec (4 files)"
    assert caplog.messages == [going(out, four)]
    assert len(list(out.glob("train-*"))) == 6


def test_a_set_that_got_no_face_is_named_at_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    out, bad = tmp_path / "out", tmp_path / "bad.jpg"
    packed(out, samples(tmp_path), val_ratio=0, test_ratio=0.2)
    bad.write_bytes(b"no picture")
    packed(out, [*samples(tmp_path), FaceSample(bad, 0, 30, "own", split="test", template="utkface")], val_ratio=0)
    assert caplog.messages == [going(out, names("test"))]
    assert not list(out.glob("test.*"))


def test_files_of_others_stay_unnamed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for name in ("test.rec", "test.json", "notes.txt"):
        (tmp_path / name).write_text("{}")
    assert outgoing_files(tmp_path, ("train", "test"), coming=()) == []
    tell_outgoing(tmp_path, [])
    packed(tmp_path, samples(tmp_path), val_ratio=0)
    assert caplog.messages == []
    assert (tmp_path / "test.rec").read_text() == "{}"


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        ([], []),
        (["test.rec"], ["test.rec"]),
        (["train-00000-of-00001.rec"], ["train-*-of-00001.rec"]),
        (
            [f"train-{n:05d}-of-00002.{kind}" for n in range(2) for kind in ("idx", "rec")],
            ["train-*-of-00002.idx (2 files)", "train-*-of-00002.rec (2 files)"],
        ),
        (["train-00000-of-00002.rec", "train-00000-of-00003.rec"], ["train-*-of-00002.rec", "train-*-of-00003.rec"]),
    ],
)
def test_shards_are_shown_as_one(files: list[str], shown: list[str]) -> None:
    assert by_pattern(files) == shown
