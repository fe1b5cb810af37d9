"""Swin trained from its own small weights on both engines, exported, and used on every executor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.engine.test_head_training import answers, bright, trained

__all__ = ["bright"]  # the fixture

SWIN = ["--network", "swin_s", "--width", "0.083", "--depths", "2,2", "--window", "3", "--data_shape", "3,32,32"]
SWIN += ["--embedding", "16", "--drop_path", "0.1", "--lr", "0.003"]


@pytest.mark.parametrize(("engine", "head"), [("mxnet", "dex"), ("torch", "reg")])
def test_swin_learns_and_says_the_same_everywhere(
    bright: Path,
    engine: str,
    head: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    model, info = trained(bright, [*SWIN, "--engine", engine, "--head", head])
    assert (info.network, info.head) == ("swin_s", head)
    assert list(info.arguments["depths"]) == [2, 2]
    found = answers(model, info, capsys)
    assert np.ptp(found["age_output"]) > 0
