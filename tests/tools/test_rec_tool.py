"""tools/rec.py as people run it: what it prints, and its exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from agegender.files import write_json
from agegender.npy import pack_vector
from agegender.recordio import Header, RecordWriter, pack, read_index

ROOT = Path(__file__).resolve().parents[2]


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "rec.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)


def _jpeg(number: int) -> bytes:
    rng = np.random.default_rng(number)
    image = cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (48, 48), interpolation=cv2.INTER_CUBIC)
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=95)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Twelve faces, keys 100..111, ages 20..31; one without gender, one without age."""
    with RecordWriter(tmp_path / "train.rec") as writer:
        for number in range(12):
            label = np.array([number % 2, 20 + number], np.float32)
            label[0] = -1 if number == 3 else label[0]
            label[1] = -1 if number == 4 else label[1]
            writer.write(100 + number, pack(Header(label, 100 + number), _jpeg(number)))
    about = {"template": {"name": "utkface", "size": [112, 112]}, "labels": "gender,age", "body": "jpeg"}
    about |= {"split": "train", "sources": {"utkface": 12}, "synthetic": False}
    write_json(tmp_path / "train.json", about)
    return tmp_path / "train.rec"


def test_info(faces: Path) -> None:
    done = _run("info", faces)
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["records"] == f"12 in 1 file(s), {faces.stat().st_size:,} bytes"
    assert lines["template"] == "utkface, 112x112"
    assert lines["split"] == "train"
    assert lines["keys"] == "100 to 111"
    assert lines["gender"] == "6 female, 5 male, 1 unknown"
    assert lines["age"] == "20 to 31, mean 25.64, 1 unknown"
    assert lines["body"] == "JPEG, the first 48x48"
    assert lines["sources"] == '{"utkface": 12}'


def test_info_of_shards_without_json(faces: Path) -> None:
    for number in range(2):
        for suffix in (".rec", ".idx"):
            copy = faces.with_name(f"val-{number:05d}-of-00002{suffix}")
            copy.write_bytes(faces.with_suffix(suffix).read_bytes())
    done = _run("info", faces.with_name("val.rec"))
    assert done.returncode == 0
    assert "24 in 2 file(s)" in done.stdout
    assert "  val-00001-of-00002.rec  12 records" in done.stdout
    assert "template     unknown (no .json beside the file)" in done.stdout


def test_verify_a_good_set(faces: Path) -> None:
    for bodies in ("markers", "decode", "none"):
        done = _run("verify", faces, "--bodies", bodies)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{faces}: 12 whole records, {faces.stat().st_size:,} bytes: all well\n"


def test_labels_of_a_set_without_json_are_checked_on_request(tmp_path: Path) -> None:
    path = tmp_path / "other.rec"
    with RecordWriter(path) as writer:
        writer.write(3, pack(Header(np.array([5, 30], np.float32), 3), _jpeg(3)))
    done = _run("verify", path)
    assert done.returncode == 0
    assert "labels not checked, there is no other.json; --label_order gender,age checks them" in done.stdout
    done = _run("verify", path, "--label_order", "gender,age")
    assert done.returncode == 1
    assert "record key 3 at byte 0: its gender 5 is none of 0 = female, 1 = male, -1 = unknown" in done.stdout


def test_verify_and_repair_a_damaged_set(faces: Path, tmp_path: Path) -> None:
    offset = int(read_index(faces.with_suffix(".idx"))[1][5])
    data = bytearray(faces.read_bytes())
    data[offset + 5] ^= 0x40
    faces.write_bytes(data[:-9])
    done = _run("verify", faces)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{faces}: record key 105 at byte {offset}: ")
    assert lines[1].startswith(f"{faces}: record key 111 at byte ")
    assert lines[-1] == f"{faces}: 10 whole records, {faces.stat().st_size:,} bytes: 2 problem(s)"
    before = faces.read_bytes()
    done = _run("repair", faces, tmp_path / "new.rec")
    assert done.returncode == 0
    assert done.stdout.startswith(f"lost: record key 105 at byte {offset}: ")
    assert done.stdout.endswith("new.rec: 10 records written, 2 damaged place(s) left out\n")
    assert faces.read_bytes() == before
    assert _run("verify", tmp_path / "new.rec", "--bodies", "decode").returncode == 0
    done = _run("repair", faces, tmp_path / "new.rec")
    assert done.returncode == 2
    assert done.stderr.endswith("new.rec exists; repair writes a new file and leaves others alone\n")


def test_decoding_finds_what_markers_do_not(faces: Path) -> None:
    offset = int(read_index(faces.with_suffix(".idx"))[1][7])
    data = bytearray(faces.read_bytes())
    middle = data.index(b"\xff\xda", offset) + 20
    data[middle : middle + 40] = b"\xff\xd0" * 20
    faces.write_bytes(data)
    assert _run("verify", faces).returncode == 0
    done = _run("verify", faces, "--bodies", "decode")
    assert done.returncode == 1
    assert f"record key 107 at byte {offset}: its JPEG is damaged (" in done.stdout


def test_index(faces: Path) -> None:
    index = faces.with_suffix(".idx")
    before = index.read_bytes()
    index.unlink()
    done = _run("verify", faces)
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        1,
        f"{faces}: train.idx is missing; tools/rec.py index writes it anew",
    )
    done = _run("index", faces)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{index}: 12 records\n", "")
    assert index.read_bytes() == before


def test_show(faces: Path, tmp_path: Path) -> None:
    done = _run("show", faces, "--keys", "100,103,104", "--output", tmp_path / "faces.png")
    assert done.returncode == 0
    assert done.stdout == "100\tfemale 20\ttrain.rec\n103\t? 23\ttrain.rec\n104\tfemale ?\ttrain.rec\n"
    assert done.stderr == f"{tmp_path}/faces.png drawn: 3 of 12 records\n"
    picture = cv2.imread(str(tmp_path / "faces.png"))
    assert picture.shape[1] == 3 * 144
    # The first face is on the page: its mean colour in the left third.
    face = cv2.imdecode(np.frombuffer(_jpeg(0), np.uint8), cv2.IMREAD_COLOR)
    height = picture.shape[0]
    page = picture[height - 130 : height - 10, 10:134]
    np.testing.assert_allclose(page.mean((0, 1)), face.mean((0, 1)), atol=12)


@pytest.mark.parametrize("options", [("--count", 5), ("--count", 500), ("--count", 5, "--seed", 3)])
def test_show_some(faces: Path, tmp_path: Path, options: tuple[object, ...]) -> None:
    done = _run("show", faces, *options, "--output", tmp_path / "faces.png")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == min(12, int(str(options[1])))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("info", "absent.rec"), 1, "rec.py: error: there is no absent.rec (create_dataset.py writes one)"),
        (("show", "{set}", "--keys", "7"), 1, "rec.py: error: {set}: there is no record with key 7"),
        (
            ("show", "{set}", "--keys", "x"),
            2,
            "rec.py: error: --keys 'x' is not a comma-separated list of whole numbers",
        ),
        (("show", "{set}", "--count", "0"), 2, "rec.py: error: --count 0 is not at least 1"),
        (("show", "{set}", "--output", "{set}/x.png"), 1, "rec.py: error: [Errno 20] Not a directory: '{set}/x.png'"),
        (("verify", "absent.rec"), 1, "rec.py: error: there is no absent.rec (create_dataset.py writes one)"),
        (
            ("repair", "absent.rec", "new.rec"),
            1,
            "rec.py: error: there is no absent.rec (create_dataset.py writes one)",
        ),
    ],
)
def test_errors_are_one_line(faces: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = _run(*(argument.format(set=faces) for argument in arguments))
    assert (done.returncode, done.stderr) == (code, message.format(set=faces) + "\n")


SEE = " (--help shows all flags)\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("repair", "torn.rec"),
            "rec.py repair: error: the following arguments are required: NEW.rec; "
            "the form is: rec.py repair DAMAGED.rec NEW.rec",
        ),
        (
            ("index",),
            "rec.py index: error: the following arguments are required: FILE.rec; the form is: rec.py index FILE.rec",
        ),
        (
            (),
            "rec.py: error: the following arguments are required: COMMAND; "
            "the form is: rec.py {info,verify,index,show,repair} ...",
        ),
        (
            ("show", "torn.rec", "--number", "9", "--cout"),
            "rec.py show: error: unrecognized arguments: --number 9 --cout; did you mean --count?",
        ),
    ],
)
def test_wrong_usage_names_the_form(arguments: tuple[str, ...], line: str) -> None:
    done = _run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line + SEE)


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("repair", "python tools/rec.py repair dataset/train.rec dataset/train-repaired.rec"),
        ("index", "python tools/rec.py index dataset/train.rec"),
    ],
)
def test_the_help_of_a_command_ends_in_an_example(name: str, example: str) -> None:
    done = _run(name, "--help")
    assert done.stdout.endswith(f"\nexample:\n  {example}\n")
    assert f"  {example}\n" in _run("--help").stdout


def test_a_broken_set_file_is_named(faces: Path) -> None:
    faces.with_suffix(".json").write_text("{")
    done = _run("info", faces)
    assert done.returncode == 1
    assert done.stderr.startswith(f"rec.py: error: {faces.with_suffix('.json')} is no JSON: ")


def test_embeddings_are_not_taken_for_damaged_jpegs(tmp_path: Path) -> None:
    path = tmp_path / "train.rec"
    with RecordWriter(path) as writer:
        label = np.array([1, 30], np.float32)
        writer.write(0, pack(Header(label, 0), pack_vector(np.zeros(64, np.float32))))
        writer.write(1, pack(Header(label, 1), np.zeros(64, np.float32).tobytes()))
    assert "record key 0 at byte 0: its body is no JPEG (it starts with 93 4e 55 4d)" in _run("verify", path).stdout
    about = {"body": "float32", "labels": "gender,age", "embedding": {"size": 64, "model": "toy,1", "normalised": True}}
    write_json(tmp_path / "train.json", about)
    done = _run("verify", path)
    assert done.returncode == 1
    assert "its body is no embedding: it is no .npy file" in done.stdout
    assert "1 problem(s)" in done.stdout
    told = _run("info", path).stdout
    assert "embedding    64 numbers by toy,1, normalised\n" in told
    assert "body         embeddings (float32), the first of 64 numbers\n" in told
    shown = _run("show", path, "--output", tmp_path / "faces.png")
    assert (shown.returncode, shown.stderr.count("\n")) == (2, 1)
    assert "holds embeddings, and there is nothing to draw" in shown.stderr
