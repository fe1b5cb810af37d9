"""The video to try infer.py on: its frames, and two faces in it that walk past each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agegender.deploy.mtcnn import open_mtcnn
from agegender.deploy.video import VideoFile
from tools import make_test_video


def test_two_people_walk_past_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "crossing.mp4"
    monkeypatch.setattr("sys.argv", ["make_test_video.py", str(path), "--frames", "12"])
    assert make_test_video.main() == 0
    frames = [frame.image for frame in VideoFile(path)]
    assert [frame.shape for frame in frames] == [(360, 640, 3)] * 12
    detector = open_mtcnn(min_face=60)
    for frame in (frames[0], frames[-1]):
        boxes = np.array(sorted((face.box for face in detector.detect(frame)), key=lambda box: box[0]))
        assert len(boxes) == 2
        centres = (boxes[:, 0] + boxes[:, 2]) / 2
        assert centres == pytest.approx([110, 530], abs=25)
