"""Shipping a run: one epoch, its description, the manifest."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from agegender.errors import CheckpointError
from agegender.files import sha256_file
from agegender.graph.checkpoint import load_checkpoint, save_checkpoint
from agegender.graph.info import read_info, write_info
from tools.manifest import describe
from tools.ship import ship


@pytest.fixture
def run_prefix(root: Path, tmp_path: Path) -> Path:
    """A run with two epochs, made of the shipped model."""
    shipped = load_checkpoint(root / "models" / "ssrnet" / "ssrnet")
    prefix = tmp_path / "runs" / "model"
    prefix.parent.mkdir()
    for epoch in (3, 4):
        save_checkpoint(prefix, epoch, graph=shipped.graph, params=shipped.params)
    assert shipped.info is not None
    metrics = {"3": {"MAE": 5.0}, "4": {"MAE": 6.0}}
    write_info(prefix, dataclasses.replace(shipped.info, best=3, last=4, metrics=metrics))
    return prefix


def test_the_best_epoch_is_shipped_alone(run_prefix: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "mine" / "mine"
    assert ship(run_prefix, target, epoch="last") == target.parent
    assert ship(run_prefix, target, epoch="best") == target.parent
    assert sorted(path.name for path in target.parent.iterdir()) == [
        "mine-0003.params",
        "mine-symbol.json",
        "mine.json",
    ]
    info = read_info(target)
    assert info is not None
    assert (info.best, info.last, info.metrics) == (3, 3, {"3": {"MAE": 5.0}})
    source, copy = load_checkpoint(run_prefix, 3), load_checkpoint(target)
    assert all(np.array_equal(source.params[name], copy.params[name]) for name in source.params)
    listed = describe(tmp_path / "models")["files"]["mine/mine-0003.params"]
    assert listed["sha256"] == sha256_file(target.parent / "mine-0003.params")


def test_models_of_drawn_faces_and_undescribed_ones_are_refused(run_prefix: Path, tmp_path: Path) -> None:
    info = read_info(run_prefix)
    assert info is not None
    write_info(run_prefix, dataclasses.replace(info, synthetic=True))
    with pytest.raises(CheckpointError, match="was trained on drawn faces"):
        ship(run_prefix, tmp_path / "models" / "mine" / "mine", epoch=3)
    run_prefix.with_name("model.json").unlink()
    with pytest.raises(CheckpointError, match=r"model\.json is missing"):
        ship(run_prefix, tmp_path / "models" / "mine" / "mine", epoch=3)


def test_the_manifest_lists_what_is_shipped(root: Path) -> None:
    assert describe(root / "models") == json.loads((root / "models" / "manifest.json").read_text(encoding="utf-8"))
