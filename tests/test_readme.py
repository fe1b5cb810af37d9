"""Every command in the READMEs runs, in their order, on a small tree of faces; links and pictures exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from agegender.dataset.problems import Problems
from agegender.dataset.sources import synthetic_source
from agegender.face.photo import write_photo

READMES = ("README.md", "README.zh.md")
# Training goes once over a few small faces, instead of 200 times over a data set.
SHORTER = ["--end_epoch", "1", "--batch_size", "8", "--data_shape", "3,32,32"]
NO_GPU = "--gpu_ids"


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


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A folder as a user has it: the checkout's scripts and UTKFace-like chips under dataset/."""
    house = tmp_path_factory.mktemp("house")
    for name in (
        "create_dataset.py",
        "show_age_distribution.py",
        "train.py",
        "eval.py",
        "infer.py",
        "tools",
        "test.jpg",
    ):
        (house / name).symlink_to(root / name)
    chips = house / "dataset" / "UTKFace"
    for folder in (chips, house / "photos"):
        folder.mkdir(parents=True)
    rows = ["path,gender,age"]
    for number, sample in enumerate(synthetic_source(40, seed=1).samples(house, Problems())):
        name = f"{sample.age}_{1 - sample.gender}_0_{number:017d}.jpg.chip.jpg"
        assert sample.image is not None
        write_photo(chips / name, sample.image)
        rows.append(f"dataset/UTKFace/{name},{sample.gender},{sample.age}")
    # These faces are drawn; real ones, for the detector, are on the test photo.
    (house / "my_faces.csv").write_text("\n".join(["path,gender,age", "test.jpg,0,38"]) + "\n", encoding="utf-8")
    shutil.copy(root / "test.jpg", house / "photos" / "party.jpg")
    shutil.copy(next(chips.iterdir()), house / "crop.jpg")
    return house


def run(command: str, *, folder: Path) -> Outcome:
    """Run one line of the README, training shortened."""
    words = shlex.split(command)
    if "train.py" in words:
        words += SHORTER
    words = [sys.executable if word == "python" else word for word in words]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "COLUMNS": "200"}
    done = subprocess.run(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_both_readmes_have_commands(root: Path) -> None:
    english, chinese = (commands_of(root / name) for name in READMES)
    assert len(english) > 20
    assert set(chinese) <= set(english)


@pytest.mark.timeout(500)
def test_every_command_runs(house: Path, root: Path) -> None:
    failed: list[str] = []
    for command in commands_of(root / "README.md"):
        if command.startswith("make "):
            done = subprocess.run(["make", "-n", command.split()[1]], cwd=root, capture_output=True, text=True)
            ended = Outcome(done.returncode, done.stdout, done.stderr)
        else:
            ended = run(command, folder=house)
        if NO_GPU in command:
            # No test machine has two GPUs: the answer has to be one clear line.
            fine = ended.code == 2 and "GPU" in ended.errors.splitlines()[-1]
        else:
            fine = ended.code == 0
        if not fine or "Traceback" in ended.errors:
            failed.append(f"{command}\n  exit code {ended.code}\n  {ended.errors[-600:]}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(
    "name",
    [
        *READMES,
        "CONTRIBUTING.md",
        "dataset/README.md",
        *(f"docs/{page}.md" for page in ("formats", "deploy", "old-models")),
    ],
)
def test_links_and_pictures_exist(name: str, root: Path) -> None:
    page = root / name
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing
