"""infer.py from its flags to its lines, files and exit codes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agegender.app import infer
from agegender.app.cli import run_command
from agegender.errors import UsageError
from agegender.face.photo import read_photo, write_photo


@pytest.fixture
def photo(root: Path, tmp_path: Path) -> Path:
    shutil.copy(root / "test.jpg", tmp_path / "two.jpg")
    return tmp_path / "two.jpg"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    write_photo(tmp_path / "empty.png", np.full((90, 120, 3), 200, np.uint8))
    return tmp_path / "empty.png"


class Command:
    """Runs infer with the untrained model and an output folder."""

    def __init__(self, model: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.model, self.output, self.capsys = model, output, capsys

    def __call__(self, *arguments: object, code: int = 0) -> tuple[str, str]:
        common = ["--output", str(self.output), "--model", str(self.model), "--gpu_ids", "cpu", "--lang", "en"]
        assert run_command("infer", [*common, *map(str, arguments)], prog="infer.py") == code
        captured = self.capsys.readouterr()
        return captured.out, captured.err


@pytest.fixture
def run(untrained_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(untrained_model, tmp_path / "output", capsys)


def test_two_faces(run: Command, photo: Path) -> None:
    out, err = run("--image", photo)
    first, *faces = out.splitlines()
    assert first == f"{photo}: 2 faces, drawn in {run.output / 'two.jpg'}"
    assert len(faces) == 2
    number = r"-?\d+"
    pattern = (
        rf"face (\d): box \({number}, {number}, {number}, {number}\), "
        rf"gender: (female|male) \(0\.\d\d\), age: \d+ \(\d+ to \d+\)"
    )
    assert [match[1] for line in faces if (match := re.fullmatch(pattern, line))] == ["1", "2"]
    assert err == f"model: {run.model}, epoch 1 (the path {run.model})\n"
    drawn, original = read_photo(run.output / "two.jpg"), read_photo(photo)
    assert drawn.shape == original.shape
    assert (np.abs(drawn.astype(int) - original) > 60).any()


def test_chinese_lines_are_those_people_know(run: Command, photo: Path) -> None:
    out, err = run("--image", photo, "--lang", "zh")
    first, *faces = out.splitlines()
    assert first == f"{photo}：2张人脸，图片：{run.output / 'two.jpg'}"
    for number, line in enumerate(faces, 1):
        assert re.fullmatch(rf"第{number}张人脸，位置\(\d+, \d+, \d+, \d+\), 性别：[男女], 年龄：\d+", line)
    assert err == f"模型：{run.model}，第1轮（路径{run.model}）\n"


def test_json_and_nothing_else_on_standard_output(run: Command, photo: Path, empty: Path) -> None:
    out, _ = run("--image", photo, empty, "--json")
    two, none = map(json.loads, out.splitlines())
    assert two["image"] == str(photo)
    assert none == {"image": str(empty), "faces": []}
    assert [set(face) for face in two["faces"]] == [
        {"box", "landmarks", "score", "gender", "gender_probability", "age", "age_interval"}
    ] * 2
    out, _ = run("--image", photo, "--json", "--distribution")
    assert all(len(face["age_distribution"]) == 101 for face in json.loads(out)["faces"])


def test_no_face_is_said_and_the_picture_written(run: Command, empty: Path) -> None:
    out, _ = run("--image", empty)
    assert out == f"{empty}: no face found, picture in {run.output / 'empty.png'}\n"
    np.testing.assert_array_equal(read_photo(run.output / "empty.png"), read_photo(empty))


def test_a_bad_photo_does_not_stop_the_rest(run: Command, photo: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:20_000])
    out, err = run("--image", broken, tmp_path / "gone.jpg", photo, code=1)
    assert out.startswith(f"{photo}: 2 faces")
    lines = err.splitlines()[1:]
    assert lines[0].startswith(f"error: {broken}: damaged JPEG (")
    assert lines[1] == f"error: {tmp_path / 'gone.jpg'}: can't be read (No such file or directory)"
    assert lines[2] == "2 of 3 photos could not be read"


def test_a_photo_that_is_none_is_one_line(run: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("shopping list")
    out, err = run("--image", tmp_path / "notes.jpg", code=1)
    assert out == ""
    assert err.splitlines()[1:] == [
        f"error: {tmp_path / 'notes.jpg'}: not a picture in a format that can be read",
    ]


def test_a_folder_and_a_repeated_flag(run: Command, photo: Path, empty: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(empty, folder / "b.PNG")
    shutil.copy(empty, folder / "a.png")
    (folder / "readme.txt").write_text("no photo")
    out, _ = run("--image", folder, "--image", empty, "--json")
    images = [json.loads(line)["image"] for line in out.splitlines()]
    assert images == [str(folder / "a.png"), str(folder / "b.PNG"), str(empty)]


def test_output_as_a_file(run: Command, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "drawn.png"
    run("--image", photo, "--output", target)
    assert target.read_bytes().startswith(b"\x89PNG")


def test_detector_none_takes_the_photo_for_a_crop(run: Command, photo: Path) -> None:
    out, _ = run("--image", photo, "--detector", "none", "--json")
    [face] = json.loads(out)["faces"]
    assert face["box"] == [0, 0, 949, 512]


def test_thresholds_and_smallest_face(run: Command, photo: Path) -> None:
    out, _ = run("--image", photo, "--det_threshold", "0.99999")
    assert "no face found" in out
    out, _ = run("--image", photo, "--det-threshold", "0.6,0.7,0.9", "--min_face", "80")
    assert "2 faces" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--det_threshold", "0.5,0.6"), "--det_threshold takes one number or three, not 2"),
        (("--det_threshold", "2"), "detection thresholds (0.6, 0.7, 2.0) are not three numbers within 0..1"),
        (("--min_face", "3"), "smallest face 3.0 is below 12 pixels, the window of P-Net"),
        (("--model", "nosuch"), "there is no model 'nosuch'"),
        (("--image", "nowhere/*.jpg"), "--image nowhere/*.jpg: no file matches"),
    ],
)
def test_mistakes_are_one_line(run: Command, photo: Path, arguments: tuple[str, ...], message: str) -> None:
    _, err = run("--image", photo, *arguments, code=2)
    last = err.splitlines()[-1]
    assert last.startswith(f"infer.py: error: {message}")


def test_a_checkpoint_without_description(run: Command, photo: Path, untrained_model: Path, tmp_path: Path) -> None:
    for suffix in ("-symbol.json", "-0001.params"):
        shutil.copy(f"{untrained_model}{suffix}", tmp_path / f"old{suffix}")
    _, err = run("--image", photo, "--model", f"{tmp_path / 'old'},1", code=1)
    assert err.splitlines()[-1].startswith(f"infer.py: error: {tmp_path / 'old'}.json does not exist: without it")


def test_show_without_a_screen_says_so(run: Command, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    monkeypatch.setattr(matplotlib, "rcParams", matplotlib.rcParams.copy())
    matplotlib.use("agg")
    _, err = run("--image", photo, "--show")
    assert err.splitlines()[-1].startswith(
        "no window here (no display, or matplotlib has no GUI toolkit); the picture is"
    )


def test_patterns_are_expanded_where_the_shell_does_not(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "c.png"):
        (tmp_path / name).touch()
    assert infer.find_photos([str(tmp_path / "*.jpg")]) == [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    odd = tmp_path / "party[1].jpg"
    odd.touch()
    assert infer.find_photos([str(odd), str(odd)]) == [odd]
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="no photo lies in that folder"):
        infer.find_photos([str(tmp_path / "none")])


def test_no_two_pictures_share_a_name(tmp_path: Path) -> None:
    photos = [Path("x/a.jpg"), Path("y/a.jpg"), Path("y/A.JPG"), Path("y/a.gif"), Path("z/a.webp")]
    targets = infer.picture_paths(photos, tmp_path / "out")
    assert [target.name for target in targets] == ["a.jpg", "a-2.jpg", "A-3.JPG", "a.png", "a-2.png"]


def test_photos_are_never_overwritten(photo: Path, tmp_path: Path) -> None:
    for output in (photo, photo.parent):
        with pytest.raises(UsageError, match="would overwrite the photo"):
            infer.picture_paths([photo], output)
    (tmp_path / "link.jpg").symlink_to(photo)
    with pytest.raises(UsageError, match="would overwrite the photo"):
        infer.picture_paths([photo], tmp_path / "link.jpg")
    with pytest.raises(UsageError, match="is one picture, but there are 2 photos"):
        infer.picture_paths([photo, photo], tmp_path / "one.png")
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="is neither a folder nor a picture's name"):
        infer.picture_paths([photo], tmp_path / "taken")


@pytest.mark.parametrize("name", ["x.bmp", "x.PDF", "x.webp", "x.svg", "x.heic", "x.json", "x.csv"])
@pytest.mark.parametrize("photos", [1, 2])
def test_a_picture_that_cannot_be_written_is_refused_at_once(
    run: Command, photo: Path, empty: Path, tmp_path: Path, name: str, photos: int
) -> None:
    target = tmp_path / name
    out, err = run("--image", *(photo, empty)[:photos], "--output", target, code=2)
    assert out == ""
    assert err == (
        f"infer.py: error: --output {target}: no {target.suffix} can be written, only .jpg, .jpeg, .png; "
        f"a folder of that name is {target}/\n"
    )
    assert not target.exists()


@pytest.mark.parametrize(
    ("output", "target"),
    [
        ("party.2024", "party.2024/a.jpg"),
        ("v1.5", "v1.5/a.jpg"),
        ("there.bmp", "there.bmp/a.jpg"),
        ("there.png", "there.png/a.jpg"),
        ("new.bmp/", "new.bmp/a.jpg"),
        ("new.png/", "new.png/a.jpg"),
        (".hidden", ".hidden/a.jpg"),
        ("one.PNG", "one.PNG"),
        ("old.jpg", "old.jpg"),
    ],
)
def test_folders_may_have_a_dot(tmp_path: Path, output: str, target: str) -> None:
    for name in ("there.bmp", "there.png"):
        (tmp_path / name).mkdir()
    (tmp_path / "old.jpg").touch()
    assert infer.picture_paths([Path("x/a.jpg")], f"{tmp_path}/{output}") == [tmp_path / target]


def test_a_folder_with_a_dot_is_made(run: Command, empty: Path, tmp_path: Path) -> None:
    for folder in ("party.2024", "new.bmp/"):
        run("--image", empty, "--output", f"{tmp_path}/{folder}")
        assert (tmp_path / folder / "empty.png").is_file()


def test_help_says_which_outputs_are_files(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command("infer", ["--help"], prog="infer.py")
    said = " ".join(capsys.readouterr().out.split())
    assert "or, for one photo, a file ending in .jpg, .jpeg, .png; a name that ends in / is always a folder" in said


def test_help_loads_nothing_heavy(root: Path) -> None:
    code = (
        "import sys; from agegender.app import infer, cli; cli._parser(infer, prog='infer.py').format_help(); "
        "print([name for name in ('numpy', 'cv2', 'PIL', 'mxnet', 'skimage', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root / "src", capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"
