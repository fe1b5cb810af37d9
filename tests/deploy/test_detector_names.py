"""Detectors by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agegender.deploy.detectors import DETECTORS, open_detector
from agegender.deploy.mtcnn import open_mtcnn
from agegender.errors import AgeGenderError, UsageError
from agegender.face.photo import read_photo


def test_names_are_known_without_loading_anything(root: Path) -> None:
    code = (
        "import sys; from agegender.deploy.detectors import DETECTORS; print(*DETECTORS); "
        "print(*({'numpy', 'cv2', 'mxnet', 'torch', 'onnxruntime', 'insightface'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["mtcnn retinaface scrfd none", ""]
    assert DETECTORS == ("mtcnn", "retinaface", "scrfd", "none")


def test_none_detects_nothing() -> None:
    assert open_detector("none") is None


def test_mtcnn_is_as_it_is_when_opened_directly(root: Path) -> None:
    image = read_photo(root / "test.jpg")
    named = open_detector("mtcnn", min_face=60, thresholds=(0.6, 0.7, 0.9))
    assert named is not None
    direct = open_mtcnn(min_face=60, thresholds=(0.6, 0.7, 0.9)).detect(image)
    found = named.detect(image)
    assert len(found) == len(direct) == 2
    np.testing.assert_allclose([face.box for face in found], [face.box for face in direct], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mtccn", "unknown detector 'mtccn'; did you mean 'mtcnn'? (mtcnn, retinaface, scrfd, none)"),
        ("", "unknown detector '' (mtcnn, retinaface, scrfd, none)"),
    ],
)
def test_an_unknown_name(name: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        open_detector(name)
    assert str(error.value) == message


def test_what_each_name_does_not_take(tmp_path: Path) -> None:
    for name, model, message in (
        ("mtcnn", str(tmp_path), "pnet-0001.params does not exist"),
        ("scrfd", "R50,0", "R50,0 is a checkpoint of MXNet: SCRFD comes as .onnx; --detector retinaface takes it"),
        ("retinaface", f"{tmp_path}/R50,0", "detection/RetinaFace links RetinaFace-R50"),
        ("retinaface", f"{tmp_path}/R50", "R50 does not exist. https://github.com/"),
        ("scrfd", f"{tmp_path}/a,b.onnx", "a,b.onnx does not exist. https://github.com/"),
    ):
        with pytest.raises(AgeGenderError) as error:
            open_detector(name, model=model)
        assert message in str(error.value)


def test_a_model_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from agegender.deploy import insight_detector

    monkeypatch.setattr(insight_detector, "PACKS", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("scrfd", "retinaface"):
        with pytest.raises(UsageError, match=r"needs a model: --det_model FILE.onnx .* non-commercial research only"):
            open_detector(name)
