"""Files of results: whole pieces, torn ends cut off, other files left alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.app.inference.results import CSV_COLUMNS, CsvFile, JsonFile, ResultFile
from agegender.deploy.face import Face
from agegender.errors import DataError

pytestmark = pytest.mark.quick
KINDS = {"json": JsonFile, "csv": CsvFile}
# Names and errors as they come: commas, quotes, line ends, other scripts, bytes that are no text.
PHOTOS: list[tuple[str, int, str | None]] = [
    ("a.jpg", 2, None),
    ('b, "c".jpg', 0, None),
    ("d\ne.jpg", 1, None),
    ("女/\udcff.jpg", 3, None),
    ("bad.jpg", 0, "bad.jpg: not a picture, at all"),
    ("last.jpg", 1, None),
]


def face(**known: object) -> Face:
    values = {"gender": "male", "gender_probability": 0.91, "age": 33.33, "age_interval": (20.04, 40.0)} | known
    return Face(
        np.array([1, 2.25, 30, 40], np.float32), np.zeros((5, 2), np.float32), 0.98765, **values, age_distribution=None
    )  # type: ignore[arg-type]


def write(file: ResultFile, photos: list[tuple[str, int, str | None]]) -> None:
    for image, faces, error in photos:
        if not file.has(image):
            file.write(image, [face()] * faces, error)
    file.close()


@pytest.mark.parametrize("kind", KINDS)
def test_wherever_it_is_cut_it_goes_on_to_the_same_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "results"
    write(KINDS[kind](path), PHOTOS)
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 3), len(whole)]:
        path.write_bytes(whole[:size])
        file = KINDS[kind](path, resume=True)
        assert len(file) <= len(PHOTOS)
        write(file, PHOTOS)
        assert path.read_bytes() == whole, size


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_is_known(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "results"
    write(KINDS[kind](path), PHOTOS)
    file = KINDS[kind](path, resume=True)
    assert all(file.has(image) for image, _, _ in PHOTOS)
    assert not file.has("A.jpg")
    assert (len(file), file.failed) == (len(PHOTOS), 1)
    file.close()
    file = KINDS[kind](path)
    assert (len(file), file.has("a.jpg")) == (0, False)
    file.close()
    assert path.read_bytes() == {"json": b"", "csv": (",".join(CSV_COLUMNS) + "\n").encode()}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_resume_without_a_file_begins_one(kind: str, tmp_path: Path) -> None:
    write(KINDS[kind](tmp_path / "new", resume=True), PHOTOS[:1])
    again = KINDS[kind](tmp_path / "new", resume=True)
    assert len(again) == 1
    again.close()


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("json", "shopping list", ":1: not a line of infer.py --json"),
        ("json", '{"image": "a", "faces": []}\n[1]\n', ":2: not a line of infer.py --json"),
        ("json", '{"image": 7, "faces": []}\n', ":1: not a line of infer.py --json"),
        ("csv", "image,age\nx,1\n", " doesn't begin with the columns of infer.py --csv"),
        ("csv", "shopping list", " doesn't begin with the columns of infer.py --csv"),
        ("csv", ",".join(CSV_COLUMNS) + "\na,b\n" + "c,1\n", ":2: not a row of infer.py --csv"),
        ("csv", ",".join(CSV_COLUMNS) + "\na\rb,1\n", ":2: not a row of infer.py --csv"),
    ],
)
def test_another_file_is_left_alone(kind: str, content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(content.encode())
    with pytest.raises(DataError) as refused:
        KINDS[kind](path, resume=True)
    assert str(refused.value) == f"{path}{message}, so --resume can't go on with this file"
    assert path.read_bytes() == content.encode()


def test_what_is_not_known_is_empty(tmp_path: Path) -> None:
    file = CsvFile(tmp_path / "faces.csv")
    file.write("a.jpg", [face(), face(gender=None, gender_probability=None, age=None, age_interval=None)])
    file.close()
    header, full, empty = csv.reader((tmp_path / "faces.csv").read_text().splitlines())
    assert tuple(header) == CSV_COLUMNS
    known = ["0.9877", "male", "0.91", "33.3", "20.0", "40.0", ""]
    assert full == ["a.jpg", "1", "2", "1.0", "2.2", "30.0", "40.0", *known]
    assert empty == ["a.jpg", "2", "2", "1.0", "2.2", "30.0", "40.0", "0.9877", *[""] * 6]


@settings(max_examples=60, deadline=None)
@given(
    images=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), unique=True, max_size=5)
)
def test_any_name_is_found_again(images: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    for kind, make in KINDS.items():
        path = tmp_path_factory.mktemp("names") / kind
        write(make(path), [(image, number % 3, None) for number, image in enumerate(images)])
        file = make(path, resume=True)
        assert [image for image in images if not file.has(image)] == []
        file.close()
        if kind == "json":
            assert [json.loads(line)["image"] for line in path.read_bytes().splitlines()] == images
