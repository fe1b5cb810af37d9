"""Every command in the READMEs runs, in their order, on a small tree of faces; links and pictures exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.house import Outcome, commands_of, furnish, run

READMES = ("README.md", "README.zh.md")
NO_GPU = "--gpu_ids"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A folder as a user has it: the checkout's scripts and UTKFace-like chips under dataset/."""
    return furnish(tmp_path_factory.mktemp("house"), root)


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
        *(f"docs/{page}.md" for page in ("formats", "deploy", "old-models", "fairness", "recipes", "embeddings")),
    ],
)
def test_links_and_pictures_exist(name: str, root: Path) -> None:
    page = root / name
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing
