"""The people of a video or in front of a camera: followed, drawn, summed up (infer.py --video, --camera)."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from agegender.app.named_files import identity
from agegender.config import option
from agegender.errors import INTERRUPTED, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from agegender.deploy.predict import Predictor
    from agegender.deploy.pursuit import Pace
    from agegender.deploy.tracks import Track, TrackRules
    from agegender.deploy.video import Camera, Frame, VideoFile, VideoFileWriter

    Photo = npt.NDArray[np.uint8]

AUTO = "auto"
# What a still picture may be, in Pillow's words.
STILL_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# JPEG after JPEG, of which the first alone would be a photo.
MOTION_JPEG = (".mjpg", ".mjpeg")
TEXTS = {
    "en": {
        "done": "{source}: {frames} frames at {speed:.1f} frames/s, faces detected every {every}; drawn in {output}",
        "interrupted": "{source}: interrupted; {output} holds the {frames} frames until then",
        "interrupted_early": "{source}: interrupted before the first frame; nothing is written",
        "cut_off": "{source} is cut off or damaged: {frames} of its {count} frames could be read",
        "dropped": "{source}: {dropped} frames came faster than they could be worked on and are missing",
        "ended": "{source} gives no more frames",
        "none": "{source}: no face found",
        "person": "person {number}: {first:.1f} to {last:.1f} s, gender: {gender}, age: {age}",
        "between": "{value} ({low} to {high})",
        "no_window": "no window here (no display); the video is {output}",
    },
    "zh": {
        "done": "{source}：{frames}帧，每秒{speed:.1f}帧，每{every}帧检测一次；视频：{output}",
        "interrupted": "{source}：已中断；{output}包含此前的{frames}帧",
        "interrupted_early": "{source}：在第一帧之前已中断，没有写入视频",
        "cut_off": "{source}不完整或已损坏：{count}帧中读出{frames}帧",
        "dropped": "{source}：有{dropped}帧来不及处理，已丢弃",
        "ended": "{source}不再有新的帧",
        "none": "{source}：没有检测到人脸",
        "person": "第{number}人：{first:.1f}至{last:.1f}秒，性别：{gender}，年龄：{age}",
        "between": "{value}（{low}至{high}）",
        "no_window": "无法打开窗口（没有显示器）；视频：{output}",
    },
}


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """Options of infer.py for videos."""

    video: str | None = option(None, help="video whose faces are followed", metavar="FILE")
    camera: int | None = option(None, help="camera to read, counted from 0, until Ctrl-C", metavar="N")
    detect_every: str = option(
        AUTO,
        help="look for faces in every N-th frame and follow them in between; auto: five times a second in a file, "
        "as often as keeps up with a camera",
        metavar="N",
    )
    seconds: float | None = option(None, help="stop after so many seconds of video", metavar="S")


def run_video(
    source: str | int,
    *,
    predictor: Predictor,
    output: str,
    every: str = AUTO,
    lang: str = "en",
    json_file: str | None = None,
    distribution: bool = False,
    min_confidence: float = 0.0,
    seconds: float | None = None,
    show: bool = False,
) -> int:
    """Follow the people of ``source``, a video file or a camera's number, and write the annotated video.

    ``output`` is a folder or the video itself. ``json_file`` gets a JSON object a frame, then one a person; "-" is
    standard output, which then gets nothing else. ``min_confidence`` is of the averages: give the predictor none, since
    a gender that it doesn't tell can't be averaged. Returns 0; 1 where frames are missing (a damaged file, a camera
    that went away); 130 where a file was interrupted, while Ctrl-C is how a camera ends. What was written until then
    is a complete video. Raises UsageError for options that don't fit, ImageError and DeviceError where the source can't
    be opened.
    """
    from agegender.deploy.tracks import TrackRules

    interval = _interval(every)
    if seconds is not None and not seconds > 0:
        raise UsageError(f"--seconds {seconds} is not more than 0")
    target = video_path(source, output)
    rules = TrackRules(min_confidence=min_confidence)
    run = _Run(predictor, target, lang=lang, rules=rules, distribution=distribution, show=show)
    run.quiet = json_file == "-"
    if json_file in (None, "-"):
        run.json = sys.stdout if run.quiet else None
        return run(source, interval, seconds)
    with open(str(json_file), "w", encoding="utf-8", newline="\n") as run.json:
        return run(source, interval, seconds)


def video_path(source: str | int, output: str) -> Path:
    """Return where the annotated video of ``source`` goes: ``output`` itself, or a file in that folder.

    Raises UsageError where that is the source or a file that can't be written.
    """
    from agegender.deploy.video import VIDEO_CODES, check_video_name

    path = Path(output)
    if path.is_dir() or output.endswith(("/", os.sep)) or not path.suffix:
        if path.exists() and not path.is_dir():
            raise UsageError(f"--output {output} is neither a folder nor a video's name ({', '.join(VIDEO_CODES)})")
        name = Path(f"camera-{source}" if isinstance(source, int) else source)
        suffix = name.suffix if name.suffix.lower() in VIDEO_CODES else ".mp4"
        path = path / f"{name.stem}{suffix}"
    else:
        check_video_name(path)
    if not isinstance(source, int) and identity(Path(source)) == identity(path):
        raise UsageError(f"--output would overwrite the video {path}; name another folder")
    return path


def check_video(path: Path) -> None:
    """Raise UsageError where the file ``path`` is a still picture. One that isn't there, or no picture, passes."""
    from PIL import Image

    if not path.is_file() or path.suffix.lower() in MOTION_JPEG:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=STILL_FORMATS) as picture:
                # A phone's photo (MPO) may hold a second picture, such as its depth, and moves all the same little.
                still = picture.format == "MPO" or getattr(picture, "n_frames", 1) == 1
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return  # a video, or something that the reader of videos has words for
    if still:
        raise UsageError(f"--video {path} is a still picture; photos go after --image")


class _Run:
    """One video from its first frame to its last line."""

    def __init__(
        self, predictor: Predictor, target: Path, *, lang: str, rules: TrackRules, distribution: bool, show: bool
    ) -> None:
        self.predictor, self.target, self.texts, self.lang = predictor, target, TEXTS[lang], lang
        self.rules, self.distribution, self.show = rules, distribution, show
        self.json: TextIO | None = None
        self.quiet = False
        self.frames = 0
        self.writer: VideoFileWriter | None = None

    def __call__(self, source: str | int, interval: int | None, seconds: float | None) -> int:
        from agegender.deploy.pursuit import Pursuit
        from agegender.deploy.video import VideoFile, open_camera

        reader: VideoFile | Camera = open_camera(source) if isinstance(source, int) else VideoFile(source)
        live = isinstance(source, int)
        pace = _pace(interval, reader.fps, live=live)
        pursuit = Pursuit(self.predictor.predict, pace=pace, rules=self.rules)
        interrupted = stopped = False
        with closing(reader), _bar(reader, seconds) as bar:
            started = time.perf_counter()
            try:
                with ExitStack() as files:
                    stopped = self._frames(reader, pursuit, files=files, seconds=seconds, bar=bar)
            except KeyboardInterrupt:
                interrupted = True
            elapsed = time.perf_counter() - started
        name = reader.name
        people = pursuit.tracker.all()
        if interrupted and not self.frames:
            self._say("interrupted_early", source=name, error=True)
            return INTERRUPTED
        if interrupted:
            self._say("interrupted", source=name, output=self.target, frames=self.frames, error=True)
        speed = self.frames / elapsed if elapsed else 0.0
        self._say("done", source=name, frames=self.frames, speed=speed, every=pace.every, output=self.target)
        self._sum_up(people, name)
        return self._code(reader, live=live, interrupted=interrupted, stopped=stopped)

    def _frames(
        self, reader: VideoFile | Camera, pursuit: Any, *, files: ExitStack, seconds: float | None, bar: Any
    ) -> bool:
        """Go through the frames; True where ``seconds`` or the window ended it, not the video."""
        from agegender.deploy.video import Camera

        live = isinstance(reader, Camera)
        usual = last = None
        for frame in reader:
            if seconds is not None and frame.seconds >= seconds:
                return True
            began = time.perf_counter()
            tracks, detected = pursuit.step(frame.image, frame.seconds)
            if last is not None:
                usual = began - last if usual is None else usual + 0.1 * (began - last - usual)
            last = began
            picture = draw_tracks(frame.image, tracks, lang=self.lang, speed=1 / usual if live and usual else None)
            self._write(picture, frame, reader.fps, live=live, files=files)
            self.frames += 1
            if self.json is not None:
                _print(json.dumps(self._frame_json(frame, tracks, detected)), self.json)
            pursuit.pace.note(time.perf_counter() - began, detected=detected)
            bar.update()
            if self.show and self._window(picture):
                return True
        return False

    def _write(self, picture: Photo, frame: Frame, fps: float, *, live: bool, files: ExitStack) -> None:
        from agegender.deploy.video import VideoFileWriter

        if self.writer is None:
            size = picture.shape[1], picture.shape[0]
            self.writer = files.enter_context(VideoFileWriter(self.target, fps=fps, size=size))
        # A camera's frames come when they come: repeated or left out, they are played as fast as the world was.
        copies = round(frame.seconds * fps) + 1 - self.writer.written if live else 1
        for _ in range(copies):
            self.writer.write(picture)

    def _frame_json(self, frame: Frame, tracks: Sequence[Track], detected: bool) -> dict[str, Any]:
        faces = [{"track": track.number, **track.face().to_json(distribution=self.distribution)} for track in tracks]
        return {"frame": frame.index, "seconds": round(frame.seconds, 3), "detected": detected, "faces": faces}

    def _sum_up(self, people: Sequence[Track], name: str) -> None:
        if not people:
            self._say("none", source=name)
        for track in people:
            if self.json is not None:
                face = track.face().to_json(distribution=self.distribution)
                place = ("box", "landmarks", "score")
                said = {key: value for key, value in face.items() if key not in place}
                span = {"first_seconds": round(track.first, 3), "last_seconds": round(track.last, 3)}
                _print(json.dumps({"track": track.number, **span, "detections": track.hits, **said}), self.json)
            if not self.quiet:
                _print(person_line(track, self.lang))

    def _code(self, reader: VideoFile | Camera, *, live: bool, interrupted: bool, stopped: bool) -> int:
        from agegender.deploy.video import Camera

        if isinstance(reader, Camera):
            if reader.dropped:
                self._say("dropped", source=reader.name, dropped=reader.dropped, error=True)
            if not interrupted and not stopped:
                self._say("ended", source=reader.name, error=True)
                return 1
            return 0
        if reader.cut_off:
            self._say("cut_off", source=reader.name, frames=self.frames, count=reader.count, error=True)
            return 1
        return INTERRUPTED if interrupted else 0

    def _window(self, picture: Photo) -> bool:
        """Show a frame; True where the user closed with q or Esc."""
        import cv2

        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # Without a display Qt would end the whole program.
            self._say("no_window", output=self.target, error=True)
            self.show = False
            return False
        cv2.imshow("agegender", picture[..., ::-1])
        return cv2.waitKey(1) & 0xFF in (ord("q"), 27)

    def _say(self, key: str, *, error: bool = False, **values: Any) -> None:
        stream = sys.stderr if error or self.quiet else sys.stdout
        _print(self.texts[key].format(**values), stream)


def draw_tracks(image: Photo, tracks: Sequence[Track], *, lang: str = "en", speed: float | None = None) -> Photo:
    """Return a copy of ``image`` (H, W, 3) uint8 RGB with each track's box, averages and, inside the box, its number.

    ``speed``, frames per second, is written into the upper left corner where it is given.
    """
    from agegender.deploy.draw import COLOURS, draw_faces

    faces = [track.face() for track in tracks]
    picture = draw_faces(image, faces, lang=lang)
    for track, face in zip(tracks, faces, strict=True):
        side = float(face.box[2] - face.box[0])
        left, bottom = round(float(face.box[0])), round(float(face.box[3]))
        _write_text(picture, str(track.number), (left, bottom), height=max(8.0, side / 7), colour=COLOURS[face.gender])
    if speed is not None:
        _write_text(picture, f"{speed:.0f} fps", (0, 0), height=max(8.0, min(image.shape[:2]) / 30), colour=(0, 0, 0))
    return picture


def _write_text(picture: Photo, text: str, place: tuple[int, int], *, height: float, colour: tuple[int, ...]) -> None:
    """Write digits or English on a patch of ``colour``, its lower left corner at ``place``, moved into the frame."""
    import cv2

    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(height / 9))
    (width, tall), _ = cv2.getTextSize(text, font, height / 22, thick)
    margin = max(2, round(height / 4))
    left = min(max(place[0], 0), max(0, picture.shape[1] - width - 2 * margin))
    bottom = min(max(place[1], tall + 2 * margin), picture.shape[0])
    corner = (left + width + 2 * margin, bottom - tall - 2 * margin)
    cv2.rectangle(picture, (left, bottom), corner, colour, cv2.FILLED)
    ink = (255, 255, 255) if sum(colour) < 384 else (0, 0, 0)
    cv2.putText(picture, text, (left + margin, bottom - margin), font, height / 22, ink, thick, cv2.LINE_AA)


def person_line(track: Track, lang: str) -> str:
    """Return the line that sums a person up: number, seconds seen, gender with its probability, age with interval."""
    from agegender.app.messages import say

    face, texts = track.face(), TEXTS[lang]
    gender = say(face.gender or "unknown", lang)
    if face.gender_probability is not None:
        gender += f" ({face.gender_probability:.2f})" if lang == "en" else f"（{face.gender_probability:.2f}）"
    age = say("unknown", lang) if face.age is None else f"{face.age:.0f}"
    if face.age_interval is not None:
        age = texts["between"].format(value=age, low=f"{face.age_interval[0]:.0f}", high=f"{face.age_interval[1]:.0f}")
    return texts["person"].format(number=track.number, first=track.first, last=track.last, gender=gender, age=age)


def _interval(every: str) -> int | None:
    """Return what ``--detect_every`` says, None for auto."""
    if every == AUTO:
        return None
    if not every.isascii() or not every.isdigit() or int(every) < 1:
        raise UsageError(f"--detect_every {every} is neither a whole number from 1 on nor {AUTO}")
    return int(every)


def _pace(interval: int | None, fps: float, *, live: bool) -> Pace:
    from agegender.deploy.pursuit import RealTime, Steady

    if interval is not None:
        return Steady(interval)
    return RealTime(fps) if live else Steady.for_video(fps)


def _bar(reader: VideoFile | Camera, seconds: float | None) -> Any:
    """Return a bar with frames per second on standard error, silent where nobody watches."""
    from tqdm import tqdm

    total = reader.count
    if seconds is not None:
        total = min(total or sys.maxsize, max(1, round(seconds * reader.fps)))
    return tqdm(total=total, unit="frame", file=sys.stderr, disable=not sys.stderr.isatty(), dynamic_ncols=True)


def _print(line: str, stream: TextIO | None = None) -> None:
    """Print a line at once, above the bar where there is one."""
    from tqdm import tqdm

    stream = stream or sys.stdout
    tqdm.write(line, file=stream)
    stream.flush()
