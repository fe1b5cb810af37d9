"""docs/recipes.md: SSR-Net's way, IMDB, WIKI, then MegaAge, runs as it stands there, on small trees of those sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agegender.graph import load_checkpoint
from tests.face_sets import FaceSets
from tests.house import commands_of, furnish, run

COUNT = 24


@pytest.mark.timeout(200)
def test_imdb_then_wiki_then_megaage(tmp_path: Path, root: Path) -> None:
    house = furnish(tmp_path, root)
    sets = FaceSets(house / "dataset", root / "test.jpg", count=COUNT)
    for part in ("imdb", "wiki"):
        sets.imdb_wiki(part)
    sets.megaage_asian()
    commands = [line for line in commands_of(root / "docs" / "recipes.md") if "packed/" in line]
    assert len(commands) == 6
    said = []
    for command in commands:
        ended = run(command, folder=house)
        assert ended.code == 0, f"{command}\n{ended.errors[-600:]}"
        said.append(ended.errors)
    # Each stage takes all that the one before has learned.
    for text, stage in zip(said[4:], ("imdb", "wiki"), strict=True):
        assert f"runs/{stage}/model-0001.params: 76 of 76 parameters taken" in text, text[:600]
    assert "backbone_lr 0.1: the 36 parameters below fc1 move at 0.1 of the rate" in said[5]
    assert json.loads((house / "runs" / "megaage" / "model.json").read_text())["config"]["backbone_lr"] == 0.1
    wiki, tuned = (load_checkpoint(house / "runs" / name / "model", 1).params for name in ("wiki", "megaage"))
    moved = {name: float(np.abs(tuned[name] - wiki[name]).max()) for name in wiki}
    # Adam goes about one rate a step: a tenth of it below, and all of it in the head.
    assert 0 < moved["arg:stream1_conv2_weight"] < 0.3 * moved["arg:age_stage1_fc_weight"]
