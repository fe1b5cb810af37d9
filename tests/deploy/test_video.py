"""Video files and cameras: what is written is what is read, and what can't be read is one line."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from agegender.deploy.video import Camera, VideoFile, VideoFileWriter, open_camera
from agegender.errors import DataError, DeviceError, ImageError, UsageError

RED, GREY = (230, 20, 20), (60, 60, 60)


def picture(index: int = 0, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    """Grey, red in the upper left quarter, with a bright bar that goes right."""
    image = np.full((size[1], size[0], 3), GREY, np.uint8)
    image[: size[1] // 2, : size[0] // 2] = RED
    image[-40:, 8 * index : 8 * index + 8] = 250
    return image


def write(path: Path, *, frames: int = 30, fps: float = 25, size: tuple[int, int] = (320, 240)) -> Path:
    with VideoFileWriter(path, fps=fps, size=size) as writer:
        for index in range(frames):
            writer.write(picture(index, size))
    return path


@pytest.mark.parametrize(("suffix", "fps"), [(".mp4", 25), (".mp4", 29.97), (".mkv", 12.5), (".avi", 30), (".MOV", 24)])
def test_what_is_written_is_read(tmp_path: Path, suffix: str, fps: float) -> None:
    path = write(tmp_path / "sub" / f"clip{suffix}", fps=fps)
    video = VideoFile(path)
    frames = list(video)
    assert (video.count, video.cut_off, len(frames)) == (30, False, 30)
    assert video.fps == pytest.approx(fps, rel=1e-3)
    assert [frame.index for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(30) / fps, atol=2e-3)
    for frame in frames[::7]:
        assert np.abs(frame.image.astype(int) - picture(frame.index)).mean() < 6
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_turned_video_comes_upright(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "clip.mp4", frames=3).read_bytes())
    # The matrix of the track header, 44 bytes behind its name, turned by a quarter to the right.
    place = data.index(b"tkhd") + 4 + 40
    data[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 240 << 16, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(data)
    image = next(iter(VideoFile(tmp_path / "turned.mp4"))).image
    assert image.shape == (320, 240, 3)
    np.testing.assert_allclose(image[40, 200], RED, atol=25)  # upper right
    np.testing.assert_allclose(image[40, 60], GREY, atol=25)


def test_a_cut_off_video_is_read_as_far_as_it_goes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "clip.mkv", frames=40)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    video = VideoFile(path)
    frames = list(video)
    assert 10 < len(frames) < 35
    assert video.count == 40
    assert video.cut_off
    assert np.abs(frames[9].image.astype(int) - picture(9)).mean() < 6
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "can't be read (No such file or directory)"),
        (b"", "the file is empty"),
        (b"#EXTM3U\n#EXTINF:9,\nhttp://localhost/a.ts\n", "a text, not a video"),
        (bytes(range(256)) * 20, "not a video that can be read, or one whose header is damaged or cut off"),
        ("half", "not a video that can be read, or one whose header is damaged or cut off"),
    ],
)
def test_what_is_no_video_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], data: bytes | str | None, message: str
) -> None:
    path = tmp_path / "bad.mp4"
    if data == "half":
        # An MP4's table of frames is at its end.
        whole = write(tmp_path / "whole.mp4").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif isinstance(data, bytes):
        path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        VideoFile(path)
    assert str(caught.value) == f"{path}: {message}"
    assert capfd.readouterr().err == ""


def test_a_folder_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="can't be read \\(Is a directory\\)"):
        VideoFile(tmp_path)


def test_names_that_say_no_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"clip\.gif: no such video can be written, only \.mp4, \.m4v"):
        VideoFileWriter(tmp_path / "clip.gif", fps=25, size=(320, 240))


def test_a_size_that_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="a video of 1x1 at 25 frames per second can't be written"):
        VideoFileWriter(tmp_path / "clip.mp4", fps=25, size=(1, 1))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


def test_odd_sizes_lose_a_line_and_other_sizes_are_scaled(tmp_path: Path) -> None:
    with VideoFileWriter(tmp_path / "odd.mp4", fps=25, size=(161, 121)) as writer:
        writer.write(picture(0, (161, 121)))
        writer.write(picture(0, (322, 242)))
    assert [frame.image.shape for frame in VideoFile(tmp_path / "odd.mp4")] == [(120, 160, 3)] * 2


def test_an_interrupted_video_is_finished_and_a_failed_one_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    for error in (KeyboardInterrupt, DataError):
        with pytest.raises(error), VideoFileWriter(path, fps=25, size=(320, 240)) as writer:
            for index in range(7):
                writer.write(picture(index))
            raise error("now")
        if error is KeyboardInterrupt:
            assert len(list(VideoFile(path))) == 7
            path.unlink()
    assert list(tmp_path.iterdir()) == []


class Paced:
    """A file that gives its frames as slowly as a camera does."""

    # Holds one rather than being one: OpenCV crashes when an object of a class that derives from its own is deleted.
    def __init__(self, path: Path) -> None:
        self.capture = cv2.VideoCapture(str(path))
        self.get, self.release = self.capture.get, self.capture.release

    def read(self) -> tuple[bool, np.ndarray]:
        time.sleep(0.01)
        return self.capture.read()


def test_a_camera_that_is_kept_up_with_loses_nothing(tmp_path: Path) -> None:
    camera = Camera(Paced(write(tmp_path / "clip.mp4", frames=20)), name="camera 0")
    frames = list(camera)
    camera.close()
    assert (len(frames), camera.dropped, camera.count) == (20, 0, None)
    seconds = np.array([frame.seconds for frame in frames])
    assert seconds[0] == 0
    assert (np.diff(seconds) > 0.009).all()


def test_a_camera_that_is_not_kept_up_with_drops_the_oldest(tmp_path: Path) -> None:
    camera = Camera(Paced(write(tmp_path / "clip.mp4", frames=30, fps=5)), name="camera 0")
    frames = iter(camera)
    first = next(frames)
    time.sleep(0.6)  # all 30 came, 5 of them wait
    rest = list(frames)
    camera.close()
    assert np.abs(first.image.astype(int) - picture(0)).mean() < 6
    assert len(rest) == 5
    assert camera.dropped == 24
    assert np.abs(rest[-1].image.astype(int) - picture(29)).mean() < 6


def test_a_camera_that_is_not_there_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError, match=r"^camera 97 can't be opened: it isn't there, or another program has it$"):
        open_camera(97)
    assert capfd.readouterr().err == ""
