"""IMDB-WIKI and IMDB-clean in their layouts: Matlab's dates, scores, second faces, and what is left out and why."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from agegender.dataset.problems import IMPOSSIBLE_AGE, LOW_SCORE, MISSING, NO_GENDER, NO_SCORE, SECOND_FACE
from agegender.dataset.sources.imdb_wiki import age_of, birth
from agegender.errors import DataError
from tests.dataset.sources_tree import read, touch, write

COLUMNS = ("full_path", "name", "dob", "photo_taken", "gender", "face_score", "second_face_score")


def datenum(year: int, month: int, day: int) -> int:
    """Return Matlab's day number, counted here from what its manual says: datenum(2000,1,1) is 730486."""
    return 730486 + (date(year, month, day) - date(2000, 1, 1)).days


def cells(values: list[Any]) -> np.ndarray:
    """Return a Matlab cell array (1, n)."""
    array = np.empty((1, len(values)), object)
    for column, value in enumerate(values):
        array[0, column] = value
    return array


def write_mat(folder: Path, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Write ``<table>.mat`` as the archive has it: a 1x1 struct of rows and cells, and the images that it names."""
    columns = dict(zip(COLUMNS, zip(*rows)))
    boxes = [np.array([[10.0, 20.0, 110.0, 130.0]]) for _ in rows]
    value = {name: np.array([columns[name]], float) for name in COLUMNS[2:]}
    value |= {name: cells(list(columns[name])) for name in COLUMNS[:2]} | {"face_location": cells(boxes)}
    for path in columns["full_path"]:
        touch(folder / path)
    savemat(folder / f"{table}.mat", {table: value})


BORN = datenum(1950, 7, 1)
INF, NAN = float("inf"), float("nan")
ROWS = [
    ("01/nm0000001_rm1_1950-7-1_1980.jpg", "Fred Astaire", BORN, 1980, 1.0, 1.5, NAN),
    ("01/nm0000001_rm2_1950-7-1_1981.jpg", "Fred Astaire", BORN, 1981, 1.0, 4.0, 3.2),
    ("02/nm0000002_rm3_1950-7-2_1980.jpg", "Lauren Bacall", datenum(1950, 7, 2), 1980, 0.0, 1.0, NAN),
    ("03/nm3_rm_noface.jpg", "A", BORN, 1980, 1.0, -INF, NAN),
    ("03/nm3_rm_weak.jpg", "A", BORN, 1980, 1.0, 0.99, NAN),
    ("03/nm3_rm_two.jpg", "A", BORN, 1980, 1.0, 4.0, 3.21),
    ("03/nm3_rm_nan.jpg", "A", BORN, 1980, NAN, 4.0, NAN),
    ("03/nm3_rm_unborn.jpg", "A", BORN, 1940, 1.0, 4.0, NAN),
    ("03/nm3_rm_old.jpg", "A", datenum(1850, 1, 1), 1980, 1.0, 4.0, NAN),
    ("03/nm3_rm_zero.jpg", "A", 5.0, 1980, 1.0, 4.0, NAN),
]


def test_imdb_keeps_what_is_sure_and_counts_the_rest(tmp_path: Path) -> None:
    write_mat(tmp_path / "imdb_crop", "imdb", ROWS)
    faces, problems = read("IMDB", tmp_path)
    assert {name: (face.gender, face.age, face.subject, face.box) for name, face in faces.items()} == {
        "nm0000001_rm1_1950-7-1_1980.jpg": (1, 30, "nm0000001", None),
        "nm0000001_rm2_1950-7-1_1981.jpg": (1, 31, "nm0000001", None),
        "nm0000002_rm3_1950-7-2_1980.jpg": (0, 29, "nm0000002", None),
    }
    assert problems.counts("IMDB") == {
        NO_SCORE: 1,
        LOW_SCORE: 1,
        SECOND_FACE: 1,
        NO_GENDER: 1,
        IMPOSSIBLE_AGE: 3,
    }
    details = {Path(row.path).name: row.detail for row in problems}
    assert details["nm3_rm_noface.jpg"].startswith("face_score -inf")
    assert details["nm3_rm_two.jpg"] == "second_face_score 3.21 beside 4.00"
    assert details["nm3_rm_unborn.jpg"] == "born 1950-07-01, photo of 1940"
    assert details["nm3_rm_zero.jpg"] == "born None, photo of 1980"


@pytest.mark.parametrize(
    ("options", "kept"),
    [({"min_face_score": 1.2}, 2), ({"min_face_score": 0.5}, 4), ({"max_second_face": 0.79}, 2)],
)
def test_scores_are_the_readers_choice(tmp_path: Path, options: dict[str, float], kept: int) -> None:
    write_mat(tmp_path / "imdb_crop", "imdb", ROWS)
    assert len(read("IMDB", tmp_path, **options)[0]) == kept


def test_wiki_names_people_as_agedb_does_and_whole_photos_have_boxes(tmp_path: Path) -> None:
    write_mat(tmp_path / "IMDB-WIKI" / "wiki", "wiki", [("17/1_1950-07-01_2000.jpg", "Sami J. Jauh", *ROWS[0][2:])])
    faces, problems = read("WIKI", tmp_path)
    face = faces["1_1950-07-01_2000.jpg"]
    assert (face.subject, face.box, len(problems)) == ("SamiJJauh", (10.0, 20.0, 110.0, 130.0), 0)


def test_a_person_without_a_name_and_a_photo_that_is_gone(tmp_path: Path) -> None:
    row = ("17/1.jpg", np.empty((0, 0)), *ROWS[0][2:])
    write_mat(tmp_path / "wiki_crop", "wiki", [row, ("17/2.jpg", "B", *ROWS[0][2:])])
    (tmp_path / "wiki_crop" / "17" / "2.jpg").unlink()
    faces, problems = read("WIKI", tmp_path)
    assert [face.subject for face in faces.values()] == [""]
    assert problems.counts() == {MISSING: 1}


def test_a_mat_that_is_missing_or_another(tmp_path: Path) -> None:
    (tmp_path / "imdb_crop").mkdir()
    with pytest.raises(DataError, match=r"imdb_crop/imdb\.mat is missing; it holds the labels"):
        read("IMDB", tmp_path)
    savemat(tmp_path / "imdb_crop" / "imdb.mat", {"wiki": {"dob": [[1.0]]}})
    with pytest.raises(DataError, match=r"imdb\.mat: not readable as the table 'imdb' of IMDB-WIKI"):
        read("IMDB", tmp_path)
    (tmp_path / "imdb_crop" / "imdb.mat").write_bytes(b"nothing of Matlab's" * 20)
    with pytest.raises(DataError, match=r"imdb\.mat: not readable"):
        read("IMDB", tmp_path)


def test_ages_are_those_of_the_first_of_july() -> None:
    assert birth(datenum(1899, 5, 10)) == date(1899, 5, 10)
    # Matlab: datenum(1899, 5, 10) is 693726, as nm0000001's files are called.
    assert birth(693726) == date(1899, 5, 10)
    assert age_of(693726, 1968) == 69
    assert [age_of(datenum(2000, *day), 2010) for day in ((1, 1), (7, 1), (7, 2), (12, 31))] == [10, 10, 9, 9]
    assert age_of(NAN, 2010) == age_of(1.0, 2010) == age_of(INF, 2010) == age_of(1e12, 2010) == -999


HEADER = "filename,age,gender,x_min,y_min,x_max,y_max,head_roll,head_yaw,head_pitch"


@pytest.mark.parametrize(
    ("tables", "images"), [("csvs", "data/imdb-clean-1024"), (".", "imdb-clean-1024/imdb-clean-1024")]
)
def test_imdb_clean_keeps_its_three_parts(tmp_path: Path, tables: str, images: str) -> None:
    folder = tmp_path / "imdb-clean"
    rows = {
        "train": ["38/nm2679438_rm3_1989-8-15_2009.jpg,20,M,31,39,61,77,7.7,1.7,2.2", "38/nm7_rm_gone.jpg,1,F,,,,,,,"],
        "valid": ["13/nm0000313_rm1_1949-12-4_2010.jpg,61,F,139,71,184,137,-0.9,-10.8,26.8"],
        "test": ["14/nm0000314_rm1_1949-12-4_2010.jpg,161,M,139,71,139,137,0,0,0"],
    }
    for part, lines in rows.items():
        write(folder / tables / f"imdb_{part}_new_1024.csv", HEADER, *lines)
    for line in (rows["train"][0], rows["valid"][0], rows["test"][0]):
        touch(folder / images / line.split(",")[0])
    faces, problems = read("IMDB-clean", tmp_path)
    assert {name: (face.gender, face.age, face.split, face.subject, face.box) for name, face in faces.items()} == {
        "nm2679438_rm3_1989-8-15_2009.jpg": (1, 20, "train", "nm2679438", (31.0, 39.0, 61.0, 77.0)),
        "nm0000313_rm1_1949-12-4_2010.jpg": (0, 61, "val", "nm0000313", (139.0, 71.0, 184.0, 137.0)),
    }
    assert problems.counts() == {MISSING: 1, "bad label": 1}


def test_imdb_clean_says_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "imdb-clean"
    folder.mkdir()
    with pytest.raises(DataError, match=r"data/imdb-clean-1024 is missing; IMDB-clean's script run_all\.sh makes it"):
        read("IMDB-clean", tmp_path)
    (folder / "imdb-clean-1024").mkdir()
    with pytest.raises(DataError, match=r"imdb_train_new_1024\.csv is missing; IMDB-clean keeps its labels there"):
        read("IMDB-clean", tmp_path)
    write(folder / "imdb_train_new_1024.csv", "filename,gender", "a.jpg,M")
    with pytest.raises(DataError, match=r"imdb_train_new_1024\.csv: no column 'age' \(its header: filename, gender\)"):
        read("IMDB-clean", tmp_path)
