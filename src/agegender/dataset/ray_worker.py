"""What runs on the cores of a Ray cluster: a face detector, and chunks of faces cropped with it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from agegender.errors import AgeGenderError, UsageError

# Nothing heavy is imported here: a worker sets its threads before MXNet loads.
if TYPE_CHECKING:
    from agegender.dataset.crew import Chunk, MakeDetector
    from agegender.dataset.crop import Crop, CropSettings
    from agegender.face.detector import Detector


class FaceWorker:
    """An actor of Ray, on one core. ``folder`` is what relative paths start from, on every machine."""

    def __init__(self, folder: str) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        self._folder = folder
        self._settings: CropSettings | None = None
        self._detector: Detector | None = None

    def open(self, settings: CropSettings, make_detector: MakeDetector | None) -> None:
        """Get ready: not in the constructor, whose errors Ray doesn't hand on as they are."""
        import cv2

        cv2.setNumThreads(1)
        if Path(self._folder).is_dir():
            os.chdir(self._folder)
        self._settings = settings
        self._detector = None if make_detector is None else make_detector()

    def crop(self, chunk: Chunk) -> list[Crop]:
        """Return the crops of a chunk. Raises UsageError where this machine lacks the folder of relative paths."""
        from agegender.dataset.crop import crop_faces

        if self._settings is None:
            raise AgeGenderError("this worker was not opened")
        named = next((face.path for face in chunk.samples if face.draw is None and not face.path.is_absolute()), None)
        if named is not None and not Path(self._folder).is_dir():
            raise UsageError(
                f"{named}: the folder {self._folder}, which it starts from, is not on {socket.gethostname()}; "
                "every machine needs the photos under the same path"
            )
        return crop_faces(chunk.samples, chunk.first, settings=self._settings, detector=self._detector)
