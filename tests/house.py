"""A folder as a user has it, and the commands of a page run in it, shortened: for the tests of what READMEs say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from agegender.dataset.problems import Problems
from agegender.dataset.sources import synthetic_source
from agegender.face.photo import write_photo

SCRIPTS = ("create_dataset.py", "show_age_distribution.py", "train.py", "eval.py", "infer.py", "tools", "test.jpg")
# Training goes once over a few small faces, instead of 200 times over a data set.
SHORTER = ["--end_epoch", "1", "--batch_size", "8", "--data_shape", "3,32,32"]


@dataclass(frozen=True)
class Outcome:
    """What a command ended with."""

    code: int
    output: str
    errors: str


def commands_of(readme: Path) -> list[str]:
    """The lines of all ``shell`` blocks."""
    blocks = re.findall(r"^```shell\n(.*?)^```", readme.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def furnish(house: Path, root: Path) -> Path:
    """Put the checkout's scripts, UTKFace-like chips under dataset/ and a few photos into ``house``; return it."""
    for name in SCRIPTS:
        (house / name).symlink_to(root / name)
    chips = house / "dataset" / "UTKFace"
    for folder in (chips, house / "photos"):
        folder.mkdir(parents=True)
    for number, sample in enumerate(synthetic_source(40, seed=1).samples(house, Problems())):
        name = f"{sample.age}_{1 - sample.gender}_0_{number:017d}.jpg.chip.jpg"
        assert sample.image is not None
        write_photo(chips / name, sample.image)
    # These faces are drawn; real ones, for the detector, are on the test photo.
    (house / "my_faces.csv").write_text("\n".join(["path,gender,age", "test.jpg,0,38"]) + "\n", encoding="utf-8")
    shutil.copy(root / "test.jpg", house / "photos" / "party.jpg")
    shutil.copy(next(chips.iterdir()), house / "crop.jpg")
    return house


def run(command: str, *, folder: Path) -> Outcome:
    """Run one line of a page in ``folder``, training shortened."""
    words = shlex.split(command)
    if "train.py" in words or "tools/cross_validate.py" in words:
        words += SHORTER
    words = [sys.executable if word == "python" else word for word in words]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "COLUMNS": "200"}
    done = subprocess.run(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
