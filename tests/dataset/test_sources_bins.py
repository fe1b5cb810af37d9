"""Adience and FairFace in their layouts: bins of ages, folds, races."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agegender.dataset.problems import BAD_LABEL, MISSING, NO_LABEL
from agegender.dataset.sources.adience import read_age
from agegender.dataset.sources.bins import ADIENCE_8, ADIENCE_12, FAIRFACE, bin_of
from agegender.errors import DataError
from tests.dataset.sources_tree import read, touch, write

HEADER = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle\tfiducial_score"
REST = "0\t414\t1086\t1383\t-115\t30\t17"
ROWS = {
    0: [("u@N01", "a.jpg", 1, "(25, 32)", "f"), ("u@N01", "a.jpg", 2, "(0, 2)", "u")],
    1: [("v@N02", "b.jpg", 3, "35", "m"), ("v@N02", "c.jpg", 3, "None", "m"), ("v@N02", "d.jpg", 3, "None", "")],
    2: [("w@N03", "e.jpg", 4, "(38, 42)", "f"), ("w@N03", "f.jpg", 4, "(8, 23)", "f")],
    3: [("x@N04", "g.jpg", 5, "45", "f"), ("x@N04", "h.jpg", 5, "29", "f")],
    4: [("y@N05", "i.jpg", 6, "(60, 100)", "m"), ("y@N05", "gone.jpg", 6, "(4, 6)", "m")],
}


def make_adience(folder: Path, *, lists: str = ".", images: str = "aligned", prefix: str = "landmark_aligned") -> None:
    for fold, rows in ROWS.items():
        lines = ["\t".join(map(str, row)) + f"\t{REST}" for row in rows]
        write(folder / lists / f"fold_{fold}_data.txt", HEADER, *lines)
        for user, image, face, *_ in rows:
            if image != "gone.jpg":
                touch(folder / images / user / f"{prefix}_face.{face}.{image}")


def test_adience_keeps_bins_folds_and_users(tmp_path: Path) -> None:
    make_adience(tmp_path / "Adience")
    faces, problems = read("Adience", tmp_path)
    known = {name.split(".", 1)[1]: face for name, face in faces.items()}
    assert {name: (face.gender, face.age, face.low, face.high, face.fold) for name, face in known.items()} == {
        "1.a.jpg": (0, 28, 25, 32, "0"),
        "2.a.jpg": (-1, 1, 0, 2, "0"),
        "3.b.jpg": (1, -1, -1, -1, "1"),
        "3.c.jpg": (1, -1, -1, -1, "1"),
        "4.e.jpg": (0, 40, 38, 43, "2"),
        "4.f.jpg": (0, -1, -1, -1, "2"),
        "5.g.jpg": (0, -1, -1, -1, "3"),
        "5.h.jpg": (0, 28, 25, 32, "3"),
        "6.i.jpg": (1, 80, 60, 100, "4"),
    }
    assert known["1.a.jpg"].subject == "u@N01"
    assert problems.counts() == {NO_LABEL: 1, MISSING: 1}
    assert problems.notes == {
        ("Adience", "single age left out"): 2,
        ("Adience", "age unknown"): 1,
        ("Adience", "odd bin put into its bin"): 1,
        ("Adience", "odd bin left out"): 1,
        ("Adience", "single age put into its bin"): 1,
    }


def test_twelve_bins_take_single_ages_in_the_gaps(tmp_path: Path) -> None:
    make_adience(tmp_path / "Adience", lists="folds", images="faces", prefix="coarse_tilt_aligned")
    faces, problems = read("Adience", tmp_path, adience_bins=12, adience_images="raw")
    bins = {name.split(".", 1)[1]: (face.low, face.high) for name, face in faces.items()}
    assert (bins["3.b.jpg"], bins["5.g.jpg"], bins["4.f.jpg"]) == ((33, 37), (44, 47), (-1, -1))
    assert problems.notes["Adience", "single age put into its bin"] == 3
    assert all(name.startswith("coarse_tilt_aligned_face.") for name in faces)


def test_adience_says_what_is_missing(tmp_path: Path) -> None:
    make_adience(tmp_path / "Adience")
    with pytest.raises(DataError, match=r"Adience/faces is missing; Adience's faces\.tar\.gz unpacks to it"):
        read("Adience", tmp_path, adience_images="raw")
    (tmp_path / "Adience" / "fold_3_data.txt").unlink()
    with pytest.raises(DataError, match=r"fold_3_data\.txt is missing; Adience keeps the labels of a fold there"):
        read("Adience", tmp_path)


@pytest.mark.parametrize(
    ("text", "eight", "twelve"),
    [
        ("(8, 12)", (8, 12), (8, 12)),
        ("(27, 32)", (25, 32), (25, 32)),
        ("(38, 48)", None, None),
        ("2", (0, 2), (0, 2)),
        ("3", None, None),
        ("13", None, None),
        ("22", None, (21, 24)),
        ("57", None, (54, 59)),
        ("58", None, (54, 59)),
        ("None", None, None),
        ("forty", None, None),
    ],
)
def test_ages_of_the_lists(text: str, eight: tuple[int, int] | None, twelve: tuple[int, int] | None) -> None:
    assert read_age(text, ADIENCE_8)[0] == eight
    assert read_age(text, ADIENCE_12)[0] == twelve


@given(st.text(max_size=12))
def test_no_text_breaks_the_reading_of_ages(text: str) -> None:
    found, what = read_age(text, ADIENCE_8)
    assert found is None or found in ADIENCE_8
    assert found in ADIENCE_8 or what


def test_schemes_are_in_order_and_do_not_overlap() -> None:
    for scheme in (ADIENCE_8, ADIENCE_12, tuple(FAIRFACE.values())):
        ends = [year for ages in scheme for year in ages]
        assert ends == sorted(ends)
    assert [bin_of(year, year, tuple(FAIRFACE.values())) for year in (0, 9, 69, 70, 100)] == [
        (0, 2),
        (3, 9),
        (60, 69),
        (70, 100),
        (70, 100),
    ]
    assert len(ADIENCE_12) == 12


def test_fairface_keeps_bins_and_races(tmp_path: Path) -> None:
    folder = tmp_path / "FairFace"
    header = "file,age,gender,race,service_test"
    write(
        folder / "fairface_label_train.csv",
        header,
        "train/1.jpg,50-59,Male,East Asian,True",
        "train/2.jpg,more than 70,Female,Latino_Hispanic,False",
        "train/3.jpg,70+,Female,Black,False",
        "train/4.jpg,0-2,Female,Black,False",
    )
    write(folder / "fairface_label_val.csv", header, "val/1.jpg,3-9,Female,White,True")
    for name in ("train/1.jpg", "train/2.jpg", "train/3.jpg", "val/1.jpg"):
        touch(folder / name)
    faces, problems = read("FairFace", tmp_path)
    assert problems.counts() == {BAD_LABEL: 1, MISSING: 1}
    assert "age '70+' is none of 0-2, 3-9, 10-19" in problems.rows[0].detail
    values = [(f.gender, f.age, f.low, f.high, f.group, f.split) for f in faces.values()]
    assert sorted(values) == [(0, 6, 3, 9, "White", "val"), (0, 85, 70, 100, "Latino_Hispanic", "train")]
    assert not any(face.path.name == "4.jpg" for face in faces.values())


def test_fairface_without_its_table(tmp_path: Path) -> None:
    (tmp_path / "FairFace").mkdir()
    with pytest.raises(DataError, match=r"fairface_label_train\.csv is missing; it holds the labels \(file, age"):
        read("FairFace", tmp_path)
