"""tools/batch_infer_ray.py on a Ray of this machine: its rows against the Predictor's own faces, and how it ends."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender import Predictor
from agegender.errors import DataError, UsageError
from agegender.face.photo import read_photo
from tools import batch_output
from tools.batch_infer_ray import main
from tools.batch_job import ray_session
from tools.batch_output import SCHEMA, ParquetFolder, read_about, read_images, rows_of
from tools.batch_source import Input, Named
from tools.batch_worker import list_photos

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "batch_infer_ray.py"


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """A Ray with two cores, which the jobs of the tests use one after the other."""
    with ray_session("local", cores=2):
        yield


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A tree: faces upright and mirrored, one name that is no text, no face, a cut JPEG, an empty file, a text."""
    folder = tmp_path / "photos"
    (folder / "deep" / "er").mkdir(parents=True)
    image = cv2.imread(str(ROOT / "test.jpg"))
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    shutil.copy(ROOT / "test.jpg", folder / "a.jpg")
    cv2.imwrite(str(folder / "deep" / "mirrored.png"), np.ascontiguousarray(small[:, ::-1]))
    shutil.copy(folder / "deep" / "mirrored.png", os.fsencode(folder) + b"/caf\xe9.png")
    cv2.imwrite(str(folder / "deep" / "er" / "grey.png"), np.full((60, 80, 3), 127, np.uint8))
    (folder / "cut.jpg").write_bytes((ROOT / "test.jpg").read_bytes()[:3000])
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("no photo\n")
    return folder


def run(source: Path, output: Path, *more: str) -> int:
    """Run the tool in this process, on the Ray that is there."""
    flags = ["--model", "ssrnet", "--batch_size", "2", "--concurrency", "2"]
    return main(["--input", str(source), "--output", str(output), *flags, *more])


def rows(output: Path) -> dict[str, list[dict[str, object]]]:
    """Return the rows of each photo in the Parquet files of ``output``."""
    by_image: dict[str, list[dict[str, object]]] = {}
    for path in sorted(output.iterdir()):
        for row in pq.read_table(path).to_pylist():
            by_image.setdefault(row["image"], []).append(row)
    return by_image


def test_rows_are_the_faces_of_the_predictor(
    ray_here: None, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "faces"
    assert run(photos, output) == 1
    said, errors = capfd.readouterr()
    found = rows(output)
    good = {
        str(photos / "a.jpg"): photos / "a.jpg",
        str(photos / "caf") + "\\xe9.png": Path(os.fsdecode(os.fsencode(photos) + b"/caf\xe9.png")),
        str(photos / "deep" / "mirrored.png"): photos / "deep" / "mirrored.png",
    }
    assert set(found) == {*good, *(str(photos / name) for name in ("cut.jpg", "empty.jpg", "deep/er/grey.png"))}
    predictor = Predictor("ssrnet", threads=1, gpu_ids="cpu")
    faces = 0
    for image, path in good.items():
        expected = predictor.predict(read_photo(path))
        assert expected
        assert [row["face"] for row in found[image]] == list(range(1, len(expected) + 1))
        for row, face in zip(found[image], expected, strict=True):
            faces += 1
            assert row["faces"] == len(expected)
            assert row["error"] is None
            assert [row[side] for side in ("x1", "y1", "x2", "y2")] == pytest.approx(face.box.tolist(), abs=1e-3)
            assert row["gender"] == face.gender
            assert row["score"] == pytest.approx(face.score, abs=1e-6)
            assert row["gender_probability"] == pytest.approx(face.gender_probability, abs=1e-6)
            assert [row["age"], row["age_low"], row["age_high"]] == pytest.approx(
                [face.age, *face.age_interval], abs=1e-4
            )
    nothing = dict.fromkeys(SCHEMA.names) | {"faces": 0}
    assert found[str(photos / "deep" / "er" / "grey.png")] == [
        {**nothing, "image": str(photos / "deep" / "er" / "grey.png")}
    ]
    broken = {
        str(photos / "cut.jpg"): f"{photos / 'cut.jpg'}: damaged JPEG (Premature end of JPEG file)",
        str(photos / "empty.jpg"): f"{photos / 'empty.jpg'}: the file is empty",
    }
    for image, error in broken.items():
        assert found[image] == [{**nothing, "image": image, "error": error}]
    assert said == f"written to {output}: photos 6, faces {faces}, files 1\n"
    lines = errors.splitlines()
    assert lines[0].startswith("model: ")
    assert sorted(lines[1:-1]) == sorted(f"error: {error}" for error in broken.values())
    assert lines[-1] == "2 of 6 photos could not be read (column error)"


def test_resume_does_what_is_missing(
    ray_here: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C after the first batch leaves its photos, whole; the next run adds the others, none twice."""
    output = tmp_path / "faces"
    add = ParquetFolder.add

    def interrupted(folder: ParquetFolder, table: pa.Table) -> None:
        add(folder, table)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ParquetFolder, "add", interrupted)
    assert run(photos, output) == 130
    monkeypatch.undo()
    assert "the same command with --resume goes on" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == ["faces-00000.parquet"]
    before = rows(output)
    assert len(before) == 2
    assert run(photos, output) == 2
    assert f"--output {output} holds results already; --resume goes on with them" in capsys.readouterr().err
    assert run(photos, output, "--resume", "--min_face", "30") == 2
    assert "was made with min_face 20.0, not 30.0; --resume needs the same options" in capsys.readouterr().err
    assert run(photos, output, "--resume") == 1
    said, errors = capsys.readouterr()
    assert said.startswith(f"written to {output}: photos 4, faces ")
    assert f"in {output} already and left out: 2\n" in errors
    after = rows(output)
    assert len(after) == 6
    assert {image: after[image] for image in before} == before
    for found in after.values():
        assert [row["face"] for row in found] == (list(range(1, len(found) + 1)) if found[0]["faces"] else [None])
    assert run(photos, output, "--resume") == 1
    said, errors = capsys.readouterr()
    assert said == f"written to {output}: photos 0, faces 0, files 0\n"
    assert errors.endswith(f"in {output} already and left out: 6\ncould not be read before: 2 (column error)\n")


def test_a_manifest_that_is_damaged_further_on_ends_the_job(
    ray_here: None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "photos.csv"
    manifest.write_text(f'path\n{photos / "a.jpg"}\n{photos / "empty.jpg"}\n"{"x" * (csv.field_size_limit() + 1)}"\n')
    assert run(manifest, tmp_path / "faces") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("batch_infer_ray.py: error: ")
    assert f"{manifest}:3: not CSV (field larger than field limit" in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--concurrency", "3"], "--concurrency 3: Ray has 2 cores here, enough for 2"),
        (
            ["--num_gpus_per_worker", "0.5"],
            "--num_gpus_per_worker 0.5: Ray has 0 GPUs here, so that no worker can start",
        ),
    ],
)
def test_more_than_ray_has(
    ray_here: None, photos: Path, tmp_path: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "GPU" in message and shutil.which("nvidia-smi"):
        pytest.skip("this machine has a GPU")
    assert run(photos, tmp_path / "faces", *flags) == 2
    assert capsys.readouterr().err.endswith(f"batch_infer_ray.py: error: {message}\n")


def test_the_command_alone(photos: Path, tmp_path: Path) -> None:
    """Starts a Ray of its own, says nothing but our lines, leaves with 0; relative paths stay as they were given."""
    (photos / "list.txt").write_text("deep/er/grey.png\na.jpg\n\na.jpg\n")
    command = [sys.executable, str(TOOL), "--input", "list.txt", "--output", "out", "--model", "ssrnet"]
    done = subprocess.run(command, cwd=photos, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "written to out: photos 2, faces 2, files 1\n"
    assert done.stderr.startswith("model: ")
    assert done.stderr.count("\n") == 1, done.stderr
    found = rows(photos / "out")
    assert set(found) == {"a.jpg", "deep/er/grey.png"}
    about = read_about(photos / "out" / "faces-00000.parquet")
    assert about["model"].startswith("ssrnet,")
    assert (about["detector"], about["det_threshold"]) == ("mtcnn", [0.6, 0.7, 0.8])


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from tools.batch_infer_ray import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as done: assert done.code == 0\n"
        "print(sorted({'ray', 'numpy', 'pyarrow', 'pandas', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--num_gpus_per_worker" in done.stdout


@pytest.mark.parametrize("package", ["ray", "pandas", "pyarrow"])
def test_without_ray(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert run(tmp_path, tmp_path / "faces") == 2
    assert capsys.readouterr().err == (
        f"batch_infer_ray.py: error: the package {package} is not installed in {sys.executable}; "
        "pip install -r requirements-ray.txt (or agegender[ray]) installs what is needed\n"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batch_size", "0"], "--batch_size 0: at least 1"),
        (["--concurrency", "-1"], "--concurrency -1: at least 1"),
        (["--num_gpus_per_worker", "2"], "--num_gpus_per_worker 2 is not within 0..1"),
        (["--min_confidence", "2"], "--min_confidence 2 is not within 0..1 (0: never abstain)"),
        (["--age_model", "x"], "--age_model and --gender_model go together: --gender_model is missing"),
        (["--input", "nowhere"], "--input nowhere: there is no such folder or manifest"),
        (["--model", "ssrnot"], "there is no model 'ssrnot'; did you mean 'ssrnet'?"),
    ],
)
def test_wrong_usage(
    flags: list[str], message: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--input", str(photos), "--output", str(tmp_path / "faces"), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "faces").exists()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=20)


@settings(max_examples=40, deadline=None)
@given(names=st.lists(NAMES.filter(lambda name: "://" not in name), min_size=1, max_size=12))
def test_all_manifests_say_the_same(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("manifests")
    (folder / "m.txt").write_bytes("".join(f"{name}\n" for name in names).encode())
    with open(folder / "m.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["key", "path"], *enumerate(names)])
    pq.write_table(pa.table({"path": names, "key": range(len(names))}), folder / "m.parquet")
    expected = [Named(name) for name in dict.fromkeys(names)]
    for suffix in (".txt", ".csv", ".parquet"):
        assert list(Input(str(folder / f"m{suffix}")).photos()) == expected


def test_rows_of_a_manifest_without_a_path(tmp_path: Path) -> None:
    manifest = tmp_path / "m.parquet"
    pq.write_table(pa.table({"path": pa.array([b"caf\xe9.jpg", None, b"http://x/y.jpg", b""], pa.binary())}), manifest)
    named = list(Input(str(manifest)).photos())
    assert named[0].image == "caf\\xe9.jpg"
    assert os.fsencode(named[0].path) == b"caf\xe9.jpg"
    assert [photo.error for photo in named] == [
        None,
        f"{manifest}:2: no path stands there",
        "http://x/y.jpg: photos are read from files, not from addresses; download it first",
        f"{manifest}:4: no path stands there",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", b"file,age\na.jpg,3\n", "has no column 'path' (it has: file, age)"),
        ("m.csv", b"", "has no column 'path' (it has: none)"),
        ("m.txt", b"\n\r\n", "the manifest names no photo"),
        ("m.parquet", b"PAR1", "not a Parquet file that can be read ("),
        ("m.json", b"{}", "is neither a folder nor a manifest (.txt, .csv, .parquet)"),
        ("folder/notes.txt", b"", "no photo lies in that folder or below (.jpg"),
    ],
)
def test_inputs_that_can_not_be_meant(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"^--input ") as caught:
        Input(str(path.parent if "/" in name else path))
    assert message in str(caught.value)


def test_photos_are_listed_as_they_are_wanted(tmp_path: Path) -> None:
    """A batch needs no more of the manifest than its own rows, and leaves out what files of results have."""
    manifest = tmp_path / "m.csv"
    manifest.write_text("path\n" + "".join(f"{n}.jpg\n" for n in range(5)) + "x" * (csv.field_size_limit() + 1) + "\n")
    with ParquetFolder(tmp_path / "faces", resume=False, about={}) as output:
        output.add(pa.Table.from_pylist(rows_of("1.jpg", []), SCHEMA))
    batches = list_photos(Input(str(manifest)), done=list((tmp_path / "faces").iterdir()), batch_size=2)
    paths = [[photo["path"] for photo in next(batches)["photos"][0].as_py()] for _ in range(2)]
    assert paths == [[b"0.jpg", b"2.jpg"], [b"3.jpg", b"4.jpg"]]
    with pytest.raises(DataError, match="not CSV"):
        next(batches)


def test_files_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_output, "ROWS_PER_FILE", 3)
    with (
        pytest.raises(RuntimeError, match="in between"),
        ParquetFolder(tmp_path, resume=False, about={"model": "m,1"}) as output,
    ):
        for number in range(7):
            output.add(pa.Table.from_pylist(rows_of(f"{number}.jpg", [], "bad" if number == 4 else None), SCHEMA))
        raise RuntimeError("in between")
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == [f"faces-0000{number}.parquet" for number in range(3)]
    assert [pq.read_metadata(path).num_rows for path in files] == [3, 3, 1]
    assert list(read_images(files)) == [(f"{number}.jpg", number == 4) for number in range(7)]
    assert json.loads(pq.read_schema(files[0]).metadata[b"agegender"]) == {"model": "m,1"}
    files[1].write_bytes(files[1].read_bytes()[:-5])
    with pytest.raises(DataError, match=r"faces-00001\.parquet: a damaged Parquet file .*--resume does it anew"):
        list(read_images(files))
    with pytest.raises(DataError, match=r"faces-00001\.parquet: not a whole file of batch_infer_ray\.py; delete it"):
        ParquetFolder(tmp_path, resume=True, about={"model": "m,1"})
    pq.write_table(pa.table({"image": ["a"]}), files[1])
    with pytest.raises(DataError, match="not the columns of"):
        list(read_images(files))
