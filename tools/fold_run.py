"""One network of a cross-validation: trained without a fold by train.py, then scored."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agegender.app.evaluation.faces import RecordFaces, model_crop
from agegender.app.evaluation.model import open_eval_model
from agegender.dataset.folds import PackedFaces, table_of
from agegender.dataset.manifest import csv_rows, record_names
from agegender.errors import INTERRUPTED, DataError
from agegender.files import sha256_file, write_bytes, write_json
from agegender.graph.lookup import find_model
from agegender.metrics import ScoreKeeper
from agegender.pipeline.config import LoaderConfig
from agegender.pipeline.set_info import read_set_info
from agegender.recordio import open_records
from agegender.recordio.index import index_path

ROOT = Path(__file__).resolve().parents[1]
SPLITS = ("train", "val", "test")
RESULT = "result.json"
_POLL_SECONDS = 0.5


class StopError(Exception):
    """The user wants the job to end; what is trained so far is saved."""


@dataclass(frozen=True, kw_only=True)
class FoldRun:
    """The network that is tested on ``fold``: ``folder`` gets its sets, its checkpoints and ``result.json``."""

    folder: Path
    fold: int
    seed: int

    @property
    def prefix(self) -> Path:
        """Where its checkpoints go."""
        return self.folder / "model"

    def result(self) -> dict[str, Any] | None:
        """Return what it reached, None where it isn't finished."""
        try:
            found = json.loads((self.folder / RESULT).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DataError(f"{self.folder / RESULT} is no JSON ({error}); remove it to score the fold again") from None
        return dict(found)

    def epochs(self) -> int:
        """Return how many epochs are trained."""
        try:
            with (self.folder / "history.csv").open(newline="", encoding="utf-8") as file:
                return sum(1 for _ in csv.DictReader(file))
        except FileNotFoundError:
            return 0


def lay_sets(
    run: FoldRun, faces: PackedFaces, stems: Mapping[str, Sequence[int]], *, parts: Path, info: Mapping[str, Any]
) -> None:
    """Lay out train, val and test for a fold: shards that are links to the files of ``parts``, no copies.

    ``info`` is the JSON of the set that the faces come from.
    """
    own = f"fold-{run.fold}-"
    chosen = {
        "train": [stem for stem in stems if stem.endswith("-fit") and not stem.startswith(own)],
        "val": [stem for stem in stems if stem.endswith("-val") and not stem.startswith(own)],
        "test": [stem for stem in stems if stem.startswith(own)],
    }
    folder = run.folder / "dataset"
    folder.mkdir(parents=True, exist_ok=True)
    for split, names in chosen.items():
        digests = {}
        for stem, name in zip(names, record_names(split, len(names))):
            source, target = parts / f"{stem}.rec", folder / name
            for old, new in ((source, target), (index_path(source), index_path(target))):
                _link(old, new)
                digests[new.name] = sha256_file(old)
        members = [face for stem in names for face in stems[stem]]
        write_bytes(folder / f"{split}.csv", csv_rows(table_of(faces, members)))
        sources = Counter(faces.samples[face].source for face in members)
        own_part = {"split": split, "records": len(members), "sources": dict(sources), "sha256": digests}
        write_json(folder / f"{split}.json", {**info, **own_part})


def train(
    run: FoldRun, flags: Sequence[str], *, device: str | None, stop: threading.Event, progress: Callable[[int], None]
) -> None:
    """Train by train.py, or go on where it was left; its output goes to ``train.log`` in the run's folder.

    ``progress`` is told how many epochs there are. Raises StopError after ``stop`` is set, when the training has saved
    what it has, and DataError, with the last line of the log, where the training fails.
    """
    command = [sys.executable, str(ROOT / "train.py"), *flags, "--seed", str(run.seed)]
    command += ["--data_dir", str(run.folder / "dataset"), "--prefix", str(run.prefix)]
    command += ["--gpu_ids", device] if device is not None else []
    command += ["--resume"] if run.prefix.with_name("model.json").exists() else []
    log = run.folder / "train.log"
    with log.open("ab") as output:
        # In a session of its own: Ctrl-C reaches it once, from here, and not a second time, which would break it off.
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        told = False
        while process.poll() is None:
            progress(run.epochs())
            if stop.is_set() and not told:
                os.kill(process.pid, signal.SIGINT)
                told = True
            time.sleep(_POLL_SECONDS)
    progress(run.epochs())
    if process.returncode == INTERRUPTED or (told and process.returncode):
        raise StopError
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise DataError(f"{run.folder}: the training ended with {process.returncode}: {lines[-1] if lines else ''}")


def score(run: FoldRun, *, engine: str, device: str | None) -> dict[str, Any]:
    """Score the best epoch on train, val and test, write ``result.json`` and return what it says."""
    model = open_eval_model(find_model(str(run.prefix)))
    read, crop = model.open(engine, device), model_crop(model)
    result: dict[str, Any] = {"fold": run.fold, "seed": run.seed, "epoch": model.epoch}
    for split in SPLITS:
        path = run.folder / "dataset" / f"{split}.rec"
        info = read_set_info(path)
        assert info is not None
        keeper = ScoreKeeper()
        with open_records(path) as records:
            plain = LoaderConfig(rand_mirror=False)
            faces = RecordFaces(records, crop, batch_size=128, config=plain, label_order=info.labels)
            for batch in faces.batches():
                reading = read(batch.data)
                keeper.update(labels=batch.labels, gender_probability=reading.gender, age=reading.age)
        result[split] = keeper.compute().as_json()
    write_json(run.folder / RESULT, result)
    return result


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
