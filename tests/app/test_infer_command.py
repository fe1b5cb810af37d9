"""infer.py from its flags to its lines, files and exit codes."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agegender.app.cli import run_command
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
    assert sorted(path.name for path in run.output.iterdir()) == ["two.jpg"]


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


def test_subfolders_are_mirrored(run: Command, empty: Path, tmp_path: Path) -> None:
    for place in ("a.png", "one/a.png", "one/two/a.png"):
        (tmp_path / "photos" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(empty, tmp_path / "photos" / place)
    run("--image", tmp_path / "photos")
    drawn = sorted(path.relative_to(run.output).as_posix() for path in run.output.rglob("*.png"))
    assert drawn == ["a.png", "one/a.png", "one/two/a.png"]


def test_no_pictures(run: Command, photo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    out, _ = run("--image", photo, "--output", "none")
    assert out.splitlines()[0] == f"{photo}: 2 faces"
    assert [path.name for path in tmp_path.iterdir()] == ["two.jpg"]


def test_results_in_files(run: Command, photo: Path, empty: Path, tmp_path: Path) -> None:
    gone, lines, table = tmp_path / "gone.jpg", tmp_path / "new" / "faces.jsonl", tmp_path / "faces.csv"
    out, err = run("--image", photo, gone, empty, "--json", lines, "--csv", table, "--output", "none", code=1)
    assert out == f"written to {lines}, {table}: photos 3, faces 2\n"
    error = f"{gone}: can't be read (No such file or directory)"
    assert err.splitlines()[1:] == [f"error: {error}", "1 of 3 photos could not be read"]
    two, bad, none = map(json.loads, lines.read_text().splitlines())
    assert (bad, none) == ({"image": str(gone), "error": error}, {"image": str(empty), "faces": []})
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["image"], row["face"], row["faces"], row["error"]) for row in rows] == [
        (str(photo), "1", "2", ""),
        (str(photo), "2", "2", ""),
        (str(gone), "", "0", "can't be read (No such file or directory)"),
        (str(empty), "", "0", ""),
    ]
    for row, face in zip(rows, two["faces"], strict=False):
        assert [float(row[key]) for key in ("x1", "y1", "x2", "y2")] == face["box"]
        assert [float(row["age_low"]), float(row["age_high"])] == face["age_interval"]
        assert (row["gender"], float(row["age"])) == (face["gender"], face["age"])
        assert float(row["gender_probability"]) == face["gender_probability"]


def test_json_on_standard_output_has_errors_too(run: Command, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    for flags in (("--json",), ("--json", "1"), ("--json", "-")):
        out, _ = run("--image", tmp_path / "empty.jpg", *flags, code=1)
        where = tmp_path / "empty.jpg"
        assert json.loads(out) == {"image": str(where), "error": f"{where}: the file is empty"}
    out, _ = run("--image", tmp_path / "empty.jpg", "--json", "0", code=1)
    assert out == ""


def test_contact_sheet(run: Command, photo: Path, empty: Path, tmp_path: Path) -> None:
    target = tmp_path / "sheets" / "faces.png"
    out, _ = run("--image", photo, empty, "--contact_sheet", target, "--output", "none")
    assert out.splitlines()[-1] == f"contact sheet: {target} (2 faces)"
    assert read_photo(target).shape[1] == 2 * 144 + 3 * 8
    _, err = run("--image", empty, "--contact_sheet", tmp_path / "none.png", "--output", "none")
    assert err.splitlines()[-1] == "no face: no contact sheet was written"
    assert not (tmp_path / "none.png").exists()


def test_results_never_replace_photos(run: Command, photo: Path, empty: Path, tmp_path: Path) -> None:
    before = empty.read_bytes()
    for source in (tmp_path, tmp_path / "*.png", empty):
        _, err = run("--image", source, "--contact_sheet", empty, code=2)
        assert err == (
            f"infer.py: error: --contact_sheet {empty} would overwrite one of the photos; name another file\n"
        )
    for flag in ("--json", "--csv"):
        _, err = run("--image", empty, flag, photo, code=2)
        assert err == f"infer.py: error: {flag} {photo} is named like a picture; photos go after --image\n"
    assert empty.read_bytes() == before


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
        (
            ("--image", "https://example.org/a.jpg"),
            "--image https://example.org/a.jpg: photos are read from files, not from addresses; download it",
        ),
        (("--age_model", "a"), "--age_model and --gender_model go together: --gender_model is missing"),
        (
            ("--age_model", "a", "--gender_model", "b"),
            "--model is one net for both; --age_model and --gender_model are two: give either",
        ),
        (("--resume",), "--resume goes on with a file: name it, --json FILE or --csv FILE"),
        (("--resume", "--json"), "--resume goes on with a file: name it, --json FILE or --csv FILE"),
        (("--min_confidence", "1.5"), "--min_confidence 1.5 is not within 0..1"),
        (("--threads", "0"), "--threads 0: at least 1"),
        (("--contact_sheet", "x.pdf"), "--contact_sheet x.pdf: the name must end in .jpg, .jpeg, .png"),
        (("--json", "x", "--csv", "./x"), "--json 'x' and --csv './x' are the same file; name two"),
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
        "import sys; from agegender.app import cli; cli.command_parser('infer', prog='infer.py').format_help(); "
        "print([name for name in ('numpy', 'cv2', 'PIL', 'mxnet', 'skimage', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root / "src", capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


def faces_of(run: Command, photo: Path, *flags: object) -> list[dict[str, object]]:
    """What the shipped model says of ``photo``."""
    run.model = Path("ssrnet")
    out, _ = run("--image", photo, "--json", "--output", "none", *flags)
    faces: list[dict[str, object]] = json.loads(out)["faces"]
    return faces


def test_engines_agree(run: Command, photo: Path) -> None:
    for library in ("onnxruntime", "torch"):
        pytest.importorskip(library)
    engines = [faces_of(run, photo, "--engine", name, "--threads", 1) for name in ("onnxruntime", "mxnet", "torch")]
    for faces in zip(*engines, strict=True):
        assert len({face["gender"] for face in faces}) == 1
        for key in ("age", "gender_probability"):
            assert [face[key] for face in faces] == pytest.approx([faces[0][key]] * 3, abs=0.11)


def test_a_gender_that_is_not_sure_is_not_told(run: Command, photo: Path) -> None:
    told = faces_of(run, photo)
    probabilities = [face["gender_probability"] for face in told]
    between = sum(probabilities) / 2  # type: ignore[arg-type]
    unsure = faces_of(run, photo, "--min_confidence", between)
    expected = [face["gender"] if face["gender_probability"] > between else None for face in told]  # type: ignore[operator]
    assert [face["gender"] for face in unsure] == expected
    assert None in expected
    assert [face["age"] for face in unsure] == [face["age"] for face in told]


def test_a_pair_of_nets(run: Command, photo: Path, untrained_model: Path, root: Path) -> None:
    """The age of one net, the gender of another."""
    one, pair = faces_of(run, photo), ["--age_model", "ssrnet", "--gender_model", str(untrained_model)]
    arguments = ["--image", str(photo), "--json", "--output", "none", "--gpu_ids", "cpu", "--lang", "en", *pair]
    assert run_command("infer", arguments, prog="infer.py") == 0
    said = run.capsys.readouterr()
    both = json.loads(said.out)["faces"]
    run.model = untrained_model
    out, _ = run("--image", photo, "--json", "--output", "none")
    other = json.loads(out)["faces"]
    assert [face["age"] for face in both] == [face["age"] for face in one]
    assert [face["gender_probability"] for face in both] == [face["gender_probability"] for face in other]
    assert [line.split(",")[0] for line in said.err.splitlines()] == [
        f"model: {root / 'models' / 'ssrnet' / 'ssrnet'}",
        f"model: {untrained_model}",
    ]


def test_detectors_that_need_a_file_say_so(run: Command, photo: Path, tmp_path: Path) -> None:
    missing = tmp_path / "no.onnx"
    _, err = run("--image", photo, "--detector", "scrfd", "--det_model", missing, code=2)
    last = err.splitlines()[-1]
    assert last.startswith("infer.py: error: ")
    assert str(missing) in last
