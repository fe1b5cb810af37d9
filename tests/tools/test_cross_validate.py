"""Cross-validation end to end: real trainings on drawn faces, gone on with after Ctrl-C, in parallel, on own folds."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.app.cli import main as agegender
from agegender.dataset.config import PackConfig
from agegender.dataset.face_record import FaceSample
from agegender.dataset.pack import pack
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.face.photo import write_photo
from agegender.pipeline.set_info import read_set_info
from agegender.recordio import Header, RecordWriter, open_records, unpack
from agegender.recordio import pack as pack_record
from tools.cross_validate import main

TINY = ["--network", "ssrnet", "--width", "0.25", "--data_shape", "3,32,32", "--batch_size", "8", "--engine", "mxnet"]
FACES = 36


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[FaceSample]:
    """Drawn faces as files, two of each person, the people in three folds."""
    folder = tmp_path_factory.mktemp("photos")
    samples = []
    for number in range(FACES):
        drawn = synthetic_sample(number)
        assert drawn.image is not None
        path = folder / f"{number:02d}.jpg"
        write_photo(path, drawn.image)
        person = number // 2
        samples.append(
            FaceSample(
                path, drawn.gender, drawn.age, "drawn", subject=f"p{person}", template="utkface", fold=f"f{person % 3}"
            )
        )
    return samples


def pack_set(samples: list[FaceSample], folder: Path, *, folds: bool) -> None:
    if not folds:
        samples = [
            FaceSample(s.path, s.gender, s.age, s.source, subject=s.subject, template="utkface") for s in samples
        ]
    pack(samples, PackConfig(output=str(folder), val_ratio=0.2))


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def subjects(path: Path) -> set[str]:
    return {row["subject"] for row in rows_of(path)}


def test_own_folds_two_seeds_two_at_a_time(
    photos: list[FaceSample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack_set(photos, Path("set"), folds=True)
    common = ["--data", "set/train.rec", "set/val.rec", "--seeds", "0,1", "--val_ratio", "0.2", "--jobs", "2"]
    assert main([*common, "--output", "cv", "--gpu_ids", "cpu", *TINY, "--end_epoch", "1"]) == 0
    printed = capsys.readouterr()
    assert "the set's own 3 folds; 36 faces" in printed.err
    lines = printed.out.splitlines()
    assert lines[0].startswith("| fold | train acc | val acc | test acc | train MAE |")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| f0", "| f1", "| f2", "| mean of 3"]

    rows = rows_of(Path("cv/results.csv"))
    assert len(rows) == 2 * 3 * 3
    found = json.loads(Path("cv/results.json").read_text())
    errors = np.array([[float(row["MAE"]) for row in rows if (row["fold"], row["split"]) == (fold, "test")]
                       for fold in ("f0", "f1", "f2")])  # fmt: skip
    assert found["summary"]["MAE"]["test"]["mean"] == pytest.approx(errors.mean())
    assert found["summary"]["MAE"]["test"]["std"] == pytest.approx(errors.mean(axis=1).std(ddof=1))
    assert Path("cv/results.png").stat().st_size > 10_000

    for fold in range(3):
        folder = Path(f"cv/seed-1/fold-{fold}/dataset")
        train, val, test = (subjects(folder / f"{split}.csv") for split in ("train", "val", "test"))
        assert test == {f"p{person}" for person in range(18) if person % 3 == fold}
        assert train | val | test == {f"p{person}" for person in range(18)}
        assert not (train & val or train & test or val & test)
        with open_records(folder / "test.rec") as records:
            info = read_set_info(folder / "test.rec")
            assert info is not None
            assert len(records) == info.records == 12
            assert info.raw["split_rule"] == {"folds": "the set's own 3 folds", "val_ratio": 0.2}

    # What eval.py says of the same fold.
    command = ["eval", "--model", "cv/seed-0/fold-2/model", "--data", "cv/seed-0/fold-2/dataset/test.rec"]
    assert agegender([*command, "--gpu_ids", "cpu"]) == 0
    one = next(row for row in rows if (row["seed"], row["fold"], row["split"]) == ("0", "f2", "test"))
    assert f"MAE={float(one['MAE']):.6f}" in capsys.readouterr().out

    # All is there: nothing is trained again.
    before = Path("cv/seed-0/fold-0/model.json").stat().st_mtime_ns
    again = [*common, "--output", "cv", "--gpu_ids", "cpu", *TINY, "--end_epoch", "1", "--resume"]
    assert main(again) == 0
    assert capsys.readouterr().out == printed.out
    assert Path("cv/seed-0/fold-0/model.json").stat().st_mtime_ns == before


def test_sigterm_saves_as_ctrl_c_does_and_resume_goes_on(photos: list[FaceSample], root: Path, tmp_path: Path) -> None:
    pack_set(photos, Path("set"), folds=False)
    command = [sys.executable, str(root / "tools" / "cross_validate.py"), "--data", "set/train.rec", "set/val.rec"]
    command += ["--folds", "2", "--output", "cv", "--gpu_ids", "cpu", "--", *TINY, "--end_epoch", "400"]
    with open("out.txt", "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        history = tmp_path / "cv" / "seed-0" / "fold-0" / "history.csv"
        deadline = time.monotonic() + 100
        while not history.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) == 130, Path("out.txt").read_text()
    told = Path("out.txt").read_text()
    assert "2 folds made with seed 0, a subject is in one fold only; 36 faces" in told
    assert "cross_validate.py: interrupted" in told
    # Not one of its trainings runs on.
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in lines if str(tmp_path).encode() in line]
    done = len(rows_of(history))
    log = Path("cv/seed-0/fold-0/train.log").read_text()
    assert 1 <= done < 400
    assert "go on with" in log

    # Fewer epochs are another protocol.
    refused = subprocess.run([*command[:2], "--resume", *command[2:-1], "5"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "cv was begun with other train: " in refused.stderr
    plan = json.loads(Path("cv/folds.json").read_text())
    plan["train"][-1] = str(done + 1)
    Path("cv/folds.json").write_text(json.dumps(plan))
    ended = subprocess.run([*command[:2], "--resume", *command[2:-1], str(done + 1)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert len(rows_of(history)) == done + 1
    assert [row["split"] for row in rows_of(Path("cv/results.csv"))] == ["train", "val", "test"] * 2


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--data", "no.rec"], "--data no.rec is not there"),
        (["--val_ratio", "1"], "--val_ratio 1 is not within 0..1"),
        (["--jobs", "0"], "--jobs 0 is not 1 or more"),
        (["--seeds", "1,1"], "--seeds '1,1' are not different whole numbers"),
        ([], "the set has no folds of its own; --folds 5 makes some"),
        (["--folds", "99"], "--folds 99 is not within 2..18"),
        (["--folds", "2", "--network", "ssrnt"], "did you mean 'ssrnet'?"),
        (["--folds", "2", "--prefix", "x"], "--prefix is not for train.py here"),
        (["--folds", "2", "--output", "set"], "set is not empty; --output names another folder"),
    ],
)
def test_wrong_usage(
    photos: list[FaceSample], flags: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pack_set(photos, Path("set"), folds=False)
    data = [] if "--data" in flags else ["--data", "set/train.rec", "set/val.rec"]
    assert main([*data, *TINY, *flags]) == 2
    assert error in capsys.readouterr().err
    assert not Path("runs").exists()


def test_own_folds_are_not_made_anew(photos: list[FaceSample], capsys: pytest.CaptureFixture[str]) -> None:
    pack_set(photos, Path("set"), folds=True)
    assert main(["--data", "set/train.rec", "--folds", "5", *TINY]) == 2
    assert "the set has 3 folds of its own, which are never shuffled; leave --folds out" in capsys.readouterr().err


def test_a_flag_that_train_does_not_know(photos: list[FaceSample], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--folds", "2", "--end_epochs", "3"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "cross_validate.py (flags of train.py): error: unrecognized arguments: --end_epochs 3; "
        "did you mean --end_epoch? (--help shows all flags)\n"
    )


def test_a_training_that_fails_is_named(photos: list[FaceSample], capsys: pytest.CaptureFixture[str]) -> None:
    pack_set(photos, Path("set"), folds=False)
    flags: list[Any] = ["--data", "set/train.rec", "set/val.rec", "--folds", "2", "--output", "cv", *TINY]
    assert main([*flags, "--gpu_ids", "7"]) == 1
    assert "cv/seed-0/fold-0: the training ended with 2: train.py: error:" in capsys.readouterr().err


def test_labels_in_the_other_order_are_scored_as_they_are_trained(photos: list[FaceSample]) -> None:
    pack_set(photos, Path("set"), folds=False)
    Path("turned").mkdir()
    with open_records("set/train.rec") as records, RecordWriter(Path("turned/train.rec")) as writer:
        for key, payload in enumerate(records):
            header, body = unpack(payload)
            writer.write(key, pack_record(Header(header.label[::-1].copy(), key), body))
    for name in ("train.csv", "train.json"):
        shutil.copy(Path("set", name), Path("turned", name))
    flags = ["--folds", "2", "--gpu_ids", "cpu", *TINY, "--end_epoch", "1", "--label_order", "age,gender"]
    assert main(["--data", "turned/train.rec", "--output", "cv", *flags]) == 0
    with open_records("set/train.rec") as records:
        ages = records.labels()[:, 1]
    rows = [row for row in rows_of(Path("cv/results.csv")) if row["split"] == "test"]
    assert sum(int(row["n_gender"]) for row in rows) == len(ages)
    assert all(float(row["MAE"]) <= max(100 - ages.min(), ages.max()) for row in rows)
    told = [json.loads(Path(f"cv/seed-0/fold-{fold}/dataset/test.json").read_text())["labels"] for fold in (0, 1)]
    assert told == ["age,gender"] * 2
