"""The shipped MTCNN weights are what the tool makes of the package mtcnn, and nothing else is unpickled."""

from __future__ import annotations

import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from agegender.errors import CheckpointError
from agegender.files import sha256_file
from tools import convert_mtcnn, manifest

needs_package = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mtcnn", "joblib", "lz4")),
    reason="the package mtcnn 1.0.0 (with joblib and lz4) is not installed",
)


@needs_package
def test_conversion_gives_the_shipped_bytes(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["convert_mtcnn.py", "--output", str(tmp_path)])
    assert convert_mtcnn.main() == 0
    for net in convert_mtcnn.KNOWN:
        name = f"{net}-0001.params"
        assert sha256_file(tmp_path / name) == sha256_file(root / "models" / "mtcnn" / name)


def test_layouts() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 2, 5, 7)).astype(np.float32)
    converted = convert_mtcnn._weight("rnet", "conv1", kernel)
    assert converted.shape == (7, 5, 3, 2)
    assert converted[6, 4, 2, 1] == kernel[2, 1, 4, 6]
    # A map that is flattened as (w, h, c) there and as (c, h, w) here must meet the same weights.
    dense = rng.normal(size=(3 * 3 * 64, 128)).astype(np.float32)
    features = rng.normal(size=(3, 3, 64)).astype(np.float32)
    expected = features.transpose(1, 0, 2).reshape(-1) @ dense
    ours = convert_mtcnn._weight("rnet", "fc4", dense) @ features.transpose(2, 0, 1).reshape(-1)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-3)


def test_other_pickles_are_not_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    (tmp_path / "pnet.lz4").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match=r"not the weights of mtcnn 1.0.0; nothing else is unpickled"):
        convert_mtcnn.unpickle("pnet", tmp_path / "pnet.lz4")
    assert not (tmp_path / "exploded").exists()


def test_the_manifest_is_that_of_the_shipped_files(root: Path) -> None:
    listed = json.loads((root / "models" / "manifest.json").read_text(encoding="utf-8"))
    assert listed == manifest.describe(root / "models")
    assert {f"mtcnn/{net}-0001.params" for net in convert_mtcnn.KNOWN} <= listed["files"].keys()
