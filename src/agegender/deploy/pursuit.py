"""Detect now and then, follow in between: the frames of a video in, its people out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agegender.deploy.face import Face
from agegender.deploy.flow import follow
from agegender.deploy.tracks import Track, Tracker, TrackRules

Photo = npt.NDArray[np.uint8]

# How often a second faces of a recorded video are looked for: the flow carries them in between.
_DETECTIONS_A_SECOND = 5
# What is left of a frame's time for what nobody measures, and how fast measurements replace older ones.
_HEADROOM, _FRESH = 0.9, 0.3


class Pace(Protocol):
    """Says every how many frames faces are looked for."""

    every: int

    def note(self, seconds: float, *, detected: bool) -> None:
        """Take it that a frame took ``seconds`` of work."""
        ...


class Steady:
    """Every ``every`` frames, so that the same video gives the same result on any machine."""

    def __init__(self, every: int) -> None:
        self.every = every

    @classmethod
    def for_video(cls, fps: float) -> Steady:
        """Return the pace for a recorded video: five times a second."""
        return cls(max(1, round(fps / _DETECTIONS_A_SECOND)))

    def note(self, seconds: float, *, detected: bool) -> None:
        """Ignore it."""


class RealTime:
    """As often as this machine can without falling behind ``fps`` frames per second, at least once a second."""

    def __init__(self, fps: float) -> None:
        self.every = max(1, round(fps / _DETECTIONS_A_SECOND))
        self._fps = fps
        self._detection: float | None = None
        self._rest: float | None = None

    def note(self, seconds: float, *, detected: bool) -> None:
        """Take a frame's seconds of work, from which the next ``every`` follows."""
        if not detected:
            self._rest = seconds if self._rest is None else self._rest + _FRESH * (seconds - self._rest)
            return
        extra = max(seconds - (self._rest or 0.0), 0.0)
        self._detection = extra if self._detection is None else self._detection + _FRESH * (extra - self._detection)
        most = max(1, round(self._fps))
        spare = _HEADROOM / self._fps - (self._rest or 0.0)
        self.every = min(most, max(1, math.ceil(self._detection / spare))) if spare > 0 else most


class Pursuit:
    """Follows the people of a video.

    ``predict`` is called with every ``pace.every``-th frame; a model's answers are averaged over each person's track,
    and in between the boxes go with the picture.
    """

    def __init__(self, predict: Callable[[Photo], list[Face]], *, pace: Pace, rules: TrackRules | None = None) -> None:
        self.tracker = Tracker(rules)
        self.pace = pace
        self._predict = predict
        self._before: Photo | None = None
        self._since: int | None = None

    def step(self, image: Photo, seconds: float) -> tuple[list[Track], bool]:
        """Take the next frame (H, W, 3) uint8 RGB at ``seconds``.

        Returns the tracks of those who are to be seen in it, by number, and whether the detector looked at it.
        """
        if self._before is not None and self._before.shape == image.shape:
            before = self._before
            motions = {
                index: follow(before, image, track.box)
                for index, track in enumerate(self.tracker.tracks)
                if track.followed
            }
            self.tracker.carry(seconds, motions)
        detect = self._since is None or self._since + 1 >= self.pace.every
        if detect:
            self.tracker.update(self._predict(image), seconds)
        self._since = 0 if detect or self._since is None else self._since + 1
        self._before = image
        return self.tracker.shown(), detect
