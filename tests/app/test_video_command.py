"""The people of a video from its frames to lines, JSON, exit codes and the annotated video."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from agegender.app.cli import run_command
from agegender.app.video import check_video, run_video, video_path
from agegender.deploy import Predictor
from agegender.deploy.draw import COLOURS
from agegender.deploy.face import Face
from agegender.deploy.video import VideoFile, VideoFileWriter
from agegender.errors import ImageError, UsageError
from agegender.face.photo import read_photo

FRAMES, FPS, SIZE = 36, 24, (320, 180)


@pytest.fixture(scope="module")
def predictor(root: Path) -> Predictor:
    return Predictor(root / "models" / "ssrnet" / "ssrnet", gpu_ids="cpu", min_face=36)


def paste(ground: np.ndarray, people: np.ndarray, head: tuple[int, int, int], place: tuple[float, float]) -> np.ndarray:
    """Lay the head (x, y, half its height) of the photo onto ``ground`` at ``place``, 56 pixels high."""
    x, y, half = head
    scale = 28 / half
    matrix = np.array([[scale, 0, place[0] - scale * x], [0, scale, place[1] - scale * y]])
    mask = np.zeros(people.shape[:2], np.uint8)
    cv2.ellipse(mask, (x, y), (round(half * 1.3), round(half * 1.6)), 0, 0, 360, 255, -1)
    blurred = cv2.GaussianBlur(people, (0, 0), 0.45 / scale)
    share = cv2.warpAffine(mask, matrix, SIZE)[..., None] / 255
    return cv2.warpAffine(blurred, matrix, SIZE) * share + ground * (1 - share)


def place(person: int, index: int) -> tuple[float, float]:
    """Where the middle of the person's face is in a frame; the second passes in front of the first."""
    return (60 + 200 * index / (FRAMES - 1), 86) if person == 0 else (260 - 200 * index / (FRAMES - 1), 90)


@pytest.fixture(scope="module")
def crossing(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of the two people of test.jpg, who cross."""
    people = read_photo(root / "test.jpg")
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("videos") / "crossing.mkv"
    with VideoFileWriter(path, fps=FPS, size=SIZE) as writer:
        for index in range(FRAMES):
            image = np.full((SIZE[1], SIZE[0], 3), 90.0)
            for person, head in enumerate([(738, 193, 92), (225, 117, 54)]):
                image = paste(image, people, head, place(person, index))
            writer.write(np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8))
    return path


@pytest.mark.parametrize("every", ["2", "auto"])
def test_two_people_cross_and_stay_who_they_are(
    predictor: Predictor, crossing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], every: str
) -> None:
    code = run_video(str(crossing), predictor=predictor, output=str(tmp_path / "out.mp4"), every=every, json_file="-")
    assert code == 0
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    frames, people = lines[:FRAMES], lines[FRAMES:]
    step = 2 if every == "2" else 5
    assert [line["detected"] for line in frames] == [index % step == 0 for index in range(FRAMES)]
    np.testing.assert_allclose([line["seconds"] for line in frames], np.arange(FRAMES) / FPS, atol=1e-3)
    assert [person["track"] for person in people] == [1, 2]
    # Who is who: the better of both faces came first.
    first = 0 if abs(np.mean(frames[0]["faces"][0]["box"][::2]) - place(0, 0)[0]) < 15 else 1
    seen = {1: 0, 2: 0}
    ages: dict[int, list[float]] = {1: [], 2: []}
    for index, line in enumerate(frames):
        for face in line["faces"]:
            person = first if face["track"] == 1 else 1 - first
            # Of a face that is being covered, only a part is where it was expected.
            covered = abs(place(0, index)[0] - place(1, index)[0]) < 50
            assert abs(np.mean(face["box"][::2]) - place(person, index)[0]) < (40 if covered else 12), (index, face)
            seen[face["track"]] += 1
            ages[face["track"]].append(face["age"])
    # The one in front all the time, the other all but while hidden.
    assert max(seen.values()) == FRAMES
    assert min(seen.values()) >= 0.6 * FRAMES
    for number, person in zip((1, 2), people, strict=True):
        assert person["age"] == pytest.approx(ages[number][-1], abs=0.11)
        assert person["age_interval"][0] < person["age"] < person["age_interval"][1]
        assert person["detections"] <= len([line for line in frames if line["detected"]])
    assert re.fullmatch(
        rf"{re.escape(str(crossing))}: {FRAMES} frames at \d+\.\d frames/s, faces detected every {step}; "
        rf"drawn in {re.escape(str(tmp_path / 'out.mp4'))}\n",
        said.err,
    )


def test_ages_flicker_less_than_a_quarter_of_what_the_model_says(predictor: Predictor, crossing: Path) -> None:
    from agegender.deploy.pursuit import Pursuit, Steady

    raw: list[float] = []

    def predict(image: np.ndarray) -> list[Face]:
        faces = predictor.predict(image)
        raw.append(min(faces, key=lambda face: face.age or 0).age or 0)
        return faces

    pursuit = Pursuit(predict, pace=Steady(1))
    said = []
    for frame in VideoFile(crossing):
        tracks, _ = pursuit.step(frame.image, frame.seconds)
        said.append(min(track.face().age or 0 for track in tracks))
    # The younger is the one in front, who is seen in every frame.
    change, before = (float(np.abs(np.diff(ages)[5:]).mean()) for ages in (said, raw))
    print(f"age from frame to frame: {before:.2f} years as the model says it, {change:.2f} averaged")
    assert before > 0.3
    assert change <= 0.25 * before


def test_the_written_video_is_the_read_one_with_boxes(
    predictor: Predictor, crossing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    assert (
        run_video(
            str(crossing), predictor=predictor, output=f"{target}/", every="6", json_file=str(tmp_path / "faces.jsonl")
        )
        == 0
    )
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == FRAMES + 2
    assert "person 2" in capsys.readouterr().out
    written, read = VideoFile(target / "crossing.mkv"), VideoFile(crossing)
    assert written.fps == read.fps == FPS
    images, originals = ([frame.image for frame in video] for video in (written, read))
    assert len(images) == len(originals) == FRAMES
    assert images[0].shape == originals[0].shape
    for image, original in zip(images[::5], originals[::5], strict=True):
        found = [
            (np.abs(picture.astype(int) - COLOURS[gender]).max(axis=2) < 45).sum()
            for picture in (image, original)
            for gender in ("female", "male")
        ]
        assert sum(found[:2]) > sum(found[2:]) + 300


def test_lines_in_both_languages(
    predictor: Predictor, crossing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patterns = {
        "en": r"person (\d): 0\.\d to [01]\.\d s, gender: (?:female|male) \(0\.\d\d\), age: \d+ \(\d+ to \d+\)",
        "zh": r"第(\d)人：0\.\d至[01]\.\d秒，性别：[男女]（0\.\d\d），年龄：\d+（\d+至\d+）",
    }
    for lang, pattern in patterns.items():
        code = run_video(str(crossing), predictor=predictor, output=str(tmp_path), every="6", lang=lang, seconds=0.5)
        out = capsys.readouterr().out.splitlines()
        assert code == 0
        assert "12 frames" in out[0] if lang == "en" else "12帧" in out[0]
        assert [match[1] for line in out[1:] if (match := re.fullmatch(pattern, line))] == ["1", "2"]
    assert len(list(VideoFile(tmp_path / "crossing.mkv"))) == 12


class Interrupted:
    """The predictor, until somebody presses Ctrl-C while it works on its fourth frame."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.calls = predictor, 0

    def predict(self, image: np.ndarray) -> list[Face]:
        self.calls += 1
        if self.calls == 4:
            raise KeyboardInterrupt
        return self.predictor.predict(image)


def test_ctrl_c_finishes_the_video(
    predictor: Predictor, crossing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.mp4"
    code = run_video(str(crossing), predictor=Interrupted(predictor), output=str(target), every="3")
    assert code == 130
    said = capsys.readouterr()
    assert said.err == f"{crossing}: interrupted; {target} holds the 9 frames until then\n"
    assert "person 1: 0.0 to 0.2 s" in said.out
    assert len(list(VideoFile(target))) == 9


def test_ctrl_c_before_the_first_frame_writes_nothing(
    predictor: Predictor, crossing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    early = Interrupted(predictor)
    early.calls = 3
    assert run_video(str(crossing), predictor=early, output=str(tmp_path / "out.mp4")) == 130
    assert capsys.readouterr().err == f"{crossing}: interrupted before the first frame; nothing is written\n"
    assert list(tmp_path.iterdir()) == []


def test_a_cut_off_video_goes_as_far_as_it_can(
    predictor: Predictor, crossing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short.mkv"
    data = crossing.read_bytes()
    short.write_bytes(data[: len(data) * 2 // 3])
    assert run_video(str(short), predictor=predictor, output=str(tmp_path / "out.mp4")) == 1
    count = len(list(VideoFile(tmp_path / "out.mp4")))
    assert 8 < count < 34
    assert capsys.readouterr().err == f"{short} is cut off or damaged: {count} of its 36 frames could be read\n"


def test_nobody_there(predictor: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with VideoFileWriter(tmp_path / "empty.mp4", fps=10, size=(160, 120)) as writer:
        writer.write(np.full((120, 160, 3), 128, np.uint8))
    assert run_video(str(tmp_path / "empty.mp4"), predictor=predictor, output=str(tmp_path / "out") + "/") == 0
    assert capsys.readouterr().out.splitlines()[1] == f"{tmp_path / 'empty.mp4'}: no face found"


@pytest.mark.parametrize("every", ["0", "-3", "often", "1.5", "", "²"])
def test_detect_every_is_a_number_or_auto(predictor: Predictor, crossing: Path, tmp_path: Path, every: str) -> None:
    with pytest.raises(UsageError, match=f"--detect_every {every} is neither a whole number from 1 on nor auto"):
        run_video(str(crossing), predictor=predictor, output=str(tmp_path), every=every)


def test_where_videos_go(tmp_path: Path) -> None:
    assert video_path("a/clip.avi", f"{tmp_path}/x/") == tmp_path / "x" / "clip.avi"
    assert video_path("a/clip.webm", str(tmp_path)) == tmp_path / "clip.mp4"
    assert video_path(2, str(tmp_path / "new")) == tmp_path / "new" / "camera-2.mp4"
    assert video_path("clip.mp4", str(tmp_path / "b.mkv")) == tmp_path / "b.mkv"
    (tmp_path / "file").write_text("")
    for source, output, message in (
        ("clip.mp4", str(tmp_path / "b.gif"), "no such video can be written"),
        (str(tmp_path / "clip.mp4"), str(tmp_path), "--output would overwrite the video"),
        ("clip.mp4", str(tmp_path / "file"), "neither a folder nor a video's name"),
    ):
        with pytest.raises(UsageError, match=message):
            video_path(source, output)


def test_a_bad_video_leaves_nothing(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.mp4: can't be read \(No such file or directory\)"):
        run_video(str(tmp_path / "gone.mp4"), predictor=predictor, output=str(tmp_path / "out") + "/")
    assert list(tmp_path.iterdir()) == []


def test_infer_follows_a_video(
    crossing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [
        "--video",
        str(crossing),
        "--model",
        "ssrnet",
        "--min_face",
        "36",
        "--seconds",
        "0.5",
        "--gpu_ids",
        "cpu",
    ]
    assert run_command("infer", [*arguments, "--json", "frames.jsonl"], prog="infer.py") == 0
    told = capsys.readouterr().out
    assert "12 frames at" in told and "output/crossing" in told.replace("\\", "/")
    assert re.search(r"person 1: 0\.0 to 0\.\d s, gender: ", told)
    assert len(list(Path("output").iterdir())) == 1
    assert sum("faces" in json.loads(line) for line in Path("frames.jsonl").read_text().splitlines()) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--camera", "0"], "--video crossing.mkv and --camera 0: which one is it to be?"),
        (["--image", "a.jpg"], "--image is for photos, --video and --camera are for moving pictures"),
        (["--json", "a.jsonl", "--resume"], "--resume is for photos"),
        (["--output", "none"], "--output none: a video is always written"),
    ],
)
def test_options_that_do_not_go_with_a_video(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("infer", ["--video", "crossing.mkv", *arguments], prog="infer.py") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.tif", "photo.mp4", "phone.jpg"])
def test_a_photo_is_no_video(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    picture = Image.new("RGB", (40, 30), "white")
    if name == "phone.jpg":  # as phones write them: the photo and its depth
        picture.save(name, "MPO", save_all=True, append_images=[Image.new("RGB", (20, 15))])
    else:
        picture.save(name, "JPEG" if name.endswith(".mp4") else None)
    assert run_command("infer", ["--video", name, "--model", "ssrnet"], prog="infer.py") == 2
    assert capsys.readouterr().err == (f"infer.py: error: --video {name} is a still picture; photos go after --image\n")
    assert not Path("output").exists()


def test_what_moves_is_no_still_picture(crossing: Path, root: Path, tmp_path: Path) -> None:
    check_video(crossing)
    check_video(tmp_path / "gone.mp4")
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("white", "red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    check_video(tmp_path / "moving.gif")
    for frame in frames:
        with open(tmp_path / "stream.mjpeg", "ab") as file:
            frame.save(file, "JPEG")
    check_video(tmp_path / "stream.mjpeg")
    for suffix in (".mp4", ".mov", ".avi"):
        with VideoFileWriter(tmp_path / f"short{suffix}", fps=10, size=(160, 120)) as writer:
            writer.write(np.full((120, 160, 3), 128, np.uint8))
        check_video(tmp_path / f"short{suffix}")
