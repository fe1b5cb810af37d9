"""The wheel: what an installed agegender carries, and what it leaves to the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from agegender.graph import builtin_defaults

SKIPPED = (".venv", ".git", "runs", "output", "build", "__pycache__", ".mypy_cache", ".ruff_cache", "UTKFace", "*.rec")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A folder with the unpacked wheel, built from a copy of the checkout."""

    copy = tmp_path_factory.mktemp("checkout") / "agegender"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(*SKIPPED))
    wheels = copy / "wheels"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", wheels, copy]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = wheels.glob("agegender-*.whl")
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def test_models_graphs_and_typeface_are_in_the_package(installed: Path) -> None:
    package = installed / "agegender"
    assert (package / "models" / "m50" / "m50-symbol.json").is_file()
    assert (package / "models" / "mtcnn" / "pnet-0001.params").is_file()
    assert (package / "graph" / "builtin" / "m50.json").is_file()
    assert list((package / "plots" / "fonts").iterdir())


def test_nothing_else_lands_in_site_packages(installed: Path) -> None:
    assert sorted(path.name.split("-")[0] for path in installed.iterdir()) == ["agegender", "agegender"]


def test_the_installed_package_finds_its_own_model(installed: Path, tmp_path: Path) -> None:
    code = "from agegender.graph.lookup import find_model; print(find_model(None).prefix)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(run.stdout.strip()) == installed / "agegender" / "models" / "m50" / "m50"


def test_the_installed_package_knows_every_network(installed: Path, tmp_path: Path) -> None:
    code = """
from agegender.app.networks import build_network, find_symbols, packaged_networks
from agegender.engine.config import TrainConfig
assert find_symbols() is None
config = build_network(TrainConfig(network="ssrnet", head="ssr")).config
print(*packaged_networks(), config.optimizer, config.lr, config.data_shape)
"""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout == f"{' '.join(builtin_defaults())} adam 0.001 (3, 64, 64)\n"


def test_the_command_lists_what_it_can_do(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "agegender", "--help"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    for name in ("pack", "ages", "train", "eval", "infer", "export"):
        assert f"\n    {name} " in run.stdout
