"""Frames from video files and cameras, and into files. Constant memory; damaged files are refused in one line."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import cv2
import numpy as np
import numpy.typing as npt

from agegender.errors import DataError, DeviceError, ImageError, UsageError

Photo = npt.NDArray[np.uint8]
# What can be written, and the code of the format inside.
VIDEO_CODES = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
# Where neither file nor camera says, or says nonsense (some streams give their clock's 90,000 Hz).
_USUAL_FPS, _HIGHEST_FPS = 25.0, 1000.0
# The number of frames in a header is an estimate for some formats: so many missing are none.
_MISSING_SHARE, _MISSING_FRAMES = 0.02, 2


@dataclass(frozen=True, eq=False)
class Frame:
    """``image`` (H, W, 3) uint8 RGB, upright; ``index`` from 0; ``seconds`` since the first frame."""

    index: int
    seconds: float
    image: Photo


class Frames(Protocol):
    """What a video file and a camera have in common."""

    name: str
    fps: float
    count: int | None

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Let go of the file or the camera."""
        ...


class VideoFile:
    """The frames of a video file, one at a time, turned upright as its header says.

    ``fps`` frames per second, on average where they vary; ``count`` how many the header announces, None where it
    doesn't. ``cut_off`` says, once all were read, that fewer came than were announced. Raises ImageError where the
    file can't be read or is no video.
    """

    def __init__(self, path: Path | str) -> None:
        self.name = str(path)
        _check_file(Path(path), self.name)
        with _quiet():
            # An absolute path is never taken for an address or an option of FFmpeg's.
            self._capture = cv2.VideoCapture(str(Path(path).absolute()), cv2.CAP_FFMPEG)
            if not self._capture.isOpened():
                raise ImageError(
                    f"{self.name}: not a video that can be read, or one whose header is damaged or cut off"
                )
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        self.fps = _sane_fps(self._capture.get(cv2.CAP_PROP_FPS))
        announced = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = round(announced) if math.isfinite(announced) and announced > 0 else None
        self.cut_off = False

    def __iter__(self) -> Iterator[Frame]:
        index, last, start = 0, 0.0, 0.0
        while True:
            with _quiet():
                good, image = self._capture.read()
            if not good:
                break
            clock = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            start = clock if index == 0 else start
            seconds = clock - start
            if index and not last < seconds < math.inf:
                seconds = last + 1 / self.fps
            yield Frame(index, seconds, _to_rgb(image))
            index, last = index + 1, seconds
        if not index:
            raise ImageError(f"{self.name}: no frame of it can be decoded")
        self.cut_off = self.count is not None and self.count - index > max(_MISSING_FRAMES, _MISSING_SHARE * self.count)

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class Camera:
    """The frames of a camera as they come, read by a thread of its own.

    Up to a second of frames waits while one is worked on; of more, the oldest are dropped, and ``dropped`` counts them.
    ``seconds`` of a frame is when it came. The frames end where the camera does.
    """

    count: int | None = None

    def __init__(self, capture: cv2.VideoCapture, *, name: str) -> None:
        self.name, self._capture = name, capture
        self.fps = _sane_fps(capture.get(cv2.CAP_PROP_FPS))
        self.dropped = 0
        self._waiting: deque[tuple[float, Photo]] = deque()
        self._arrived = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        index, start = 0, None
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: bool(self._waiting) or self._closed)
                if not self._waiting:
                    return
                clock, image = self._waiting.popleft()
            start = clock if start is None else start
            yield Frame(index, clock - start, _to_rgb(image))
            index += 1

    def close(self) -> None:
        """Let go of the camera."""
        with self._arrived:
            self._closed = True
            self._waiting.clear()
        # A camera that hangs in its driver must not keep the program from ending.
        self._thread.join(timeout=2)
        if not self._thread.is_alive():
            self._capture.release()

    def _read(self) -> None:
        most = max(1, round(self.fps))
        while not self._closed:
            good, image = self._capture.read()
            with self._arrived:
                if not good:
                    self._closed = True
                else:
                    self._waiting.append((time.monotonic(), np.asarray(image, np.uint8)))
                    if len(self._waiting) > most:
                        self._waiting.popleft()
                        self.dropped += 1
                self._arrived.notify_all()


def open_camera(number: int) -> Camera:
    """Return camera ``number``, counted from 0. Raises DeviceError where this machine has none of that number."""
    with _quiet():
        capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        raise DeviceError(f"camera {number} can't be opened: it isn't there, or another program has it")
    return Camera(capture, name=f"camera {number}")


class VideoFileWriter:
    """Writes frames of one size as a video without sound, under a temporary name until ``close``.

    ``size`` is (width, height); an odd last column or row is left out, since the formats hold even sizes. Raises
    UsageError for a name that says no format that can be written.
    """

    def __init__(self, path: Path | str, *, fps: float, size: tuple[int, int]) -> None:
        self.path, self.size, self.written = Path(path), size, 0
        check_video_name(self.path)
        self._temporary = self.path.with_name(f".{self.path.stem}.{os.getpid()}.tmp{self.path.suffix}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        code = cv2.VideoWriter.fourcc(*VIDEO_CODES[self.path.suffix.lower()])
        with _quiet():
            self._writer = cv2.VideoWriter(str(self._temporary.absolute()), cv2.CAP_FFMPEG, code, fps, size)
        if not self._writer.isOpened():
            self._temporary.unlink(missing_ok=True)
            raise DataError(f"{path}: a video of {size[0]}x{size[1]} at {fps:g} frames per second can't be written")

    def write(self, image: Photo) -> None:
        """Add a frame (H, W, 3) uint8 RGB; one of another size is scaled."""
        if (image.shape[1], image.shape[0]) != self.size:
            image = np.asarray(cv2.resize(image, self.size, interpolation=cv2.INTER_AREA), np.uint8)
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self.written += 1

    def close(self) -> None:
        """Finish the file and give it its name. Raises DataError where not all frames are in it (a full disk)."""
        self._writer.release()
        with _quiet():
            check = cv2.VideoCapture(str(self._temporary.absolute()), cv2.CAP_FFMPEG)
            held = round(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
            check.release()
        if held < self.written:
            self._temporary.unlink(missing_ok=True)
            raise DataError(f"{self.path}: only {held} of {self.written} frames could be written; is the disk full?")
        os.replace(self._temporary, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was interrupted is a video all the same; what failed is none.
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
        else:
            self._writer.release()
            self._temporary.unlink(missing_ok=True)


def check_video_name(path: Path | str) -> None:
    """Raise UsageError where ``path`` doesn't end like a video that can be written."""
    if Path(path).suffix.lower() not in VIDEO_CODES:
        raise UsageError(f"{path}: no such video can be written, only {', '.join(VIDEO_CODES)}")


def _check_file(path: Path, name: str) -> None:
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise ImageError(f"{name}: can't be read ({error.strerror or error})") from error
    if not head:
        raise ImageError(f"{name}: the file is empty")
    # FFmpeg would draw a text on a terminal, and play what a playlist names.
    with suppress(UnicodeDecodeError):
        if "\0" not in head.decode("utf-8"):
            raise ImageError(f"{name}: a text, not a video")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV and FFmpeg from writing to standard error what becomes one line of ours."""
    # Read by OpenCV when it first opens a video; -8 is FFmpeg's AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(level)


def _sane_fps(fps: float) -> float:
    return fps if 0 < fps <= _HIGHEST_FPS else _USUAL_FPS


def _to_rgb(image: npt.NDArray[np.generic]) -> Photo:
    return np.asarray(cv2.cvtColor(np.asarray(image, np.uint8), cv2.COLOR_BGR2RGB), np.uint8)
