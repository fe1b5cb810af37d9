"""Sets with tables of labels, and those with labels in the names, each in its layout: APPA-REAL to FG-NET."""

from __future__ import annotations

from pathlib import Path

import pytest

from agegender.dataset.problems import BAD_LABEL, BAD_NAME, MISSING, NO_BOX, NO_LABEL, Problems
from agegender.dataset.sources import SOURCES
from agegender.errors import DataError
from tests.dataset.sources_tree import read, touch, write


def make_appa(folder: Path) -> None:
    header = "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age"
    write(folder / "gt_avg_train.csv", header, "000000.jpg,36,5.056,2.04,4", "000001.jpg,40,20.6,0,x")
    write(folder / "gt_avg_valid.csv", header, "004113.jpg,39,32.5,4.5,35")
    write(folder / "gt_avg_test.csv", header, "005613.jpg,39,32.5,4.5,35", "005614.jpg,39,,4.5,35")
    for name in ("train/000000.jpg_face.jpg", "train/000000.jpg", "train/000001.jpg", "valid/004113.jpg_face.jpg"):
        touch(folder / name)
    touch(folder / "test" / "005614.jpg_face.jpg")


def test_appa_real_by_real_age(tmp_path: Path) -> None:
    make_appa(tmp_path / "appa-real-release")
    faces, problems = read("APPA-REAL", tmp_path)
    assert {name: (face.gender, face.age, face.std, face.split) for name, face in faces.items()} == {
        "000000.jpg_face.jpg": (-1, 4, -1, "train"),
        "004113.jpg_face.jpg": (-1, 35, -1, "val"),
    }
    assert problems.counts() == {BAD_LABEL: 2, MISSING: 1}


def test_appa_real_by_apparent_age_with_deviations_and_categories(tmp_path: Path) -> None:
    folder = tmp_path / "appa-real-release"
    make_appa(folder)
    write(folder / "allcategories_train.csv", "file,gender,race,happiness", "000000.jpg,female,caucasian,happy")
    faces, _ = read("APPA-REAL", tmp_path, appa_age="apparent")
    assert {name: (face.gender, face.age, face.std, face.group) for name, face in faces.items()} == {
        "000000.jpg_face.jpg": (0, 5, 2.04, "caucasian"),
        "000001.jpg": (-1, 21, -1, ""),
        "004113.jpg_face.jpg": (-1, 32, 4.5, ""),
    }


def test_morph_by_its_table(tmp_path: Path) -> None:
    folder = tmp_path / "MORPH"
    write(
        folder / "morph_2008_nonCommercial.csv",
        "id_num,picture_num,dob,doa,race,gender,facial_hair,age,age_diff,glasses,photo",
        "9055,1,1950-01-01,2005-01-01,B,M,,54,,,Album2/009055_1M54.JPG",
        "9056,0,1950-01-01,2005-01-01,W,F,,30,,,Album2/009056_0F30.JPG",
    )
    touch(folder / "Album2" / "009055_1M54.JPG")
    faces, problems = read("MORPH", tmp_path)
    face = faces["009055_1M54.JPG"]
    assert (face.gender, face.age, face.group, face.subject) == (1, 54, "B", "morph9055")
    assert problems.counts() == {MISSING: 1}


def test_morph_by_names(tmp_path: Path) -> None:
    for name in ("021896_2F64.JPG", "027324_00M16.jpg", "readme.jpg"):
        touch(tmp_path / "MORPH" / "Images" / name)
    faces, problems = read("MORPH", tmp_path)
    assert {name: (face.gender, face.age, face.subject) for name, face in faces.items()} == {
        "021896_2F64.JPG": (0, 64, "morph21896"),
        "027324_00M16.jpg": (1, 16, "morph27324"),
    }
    assert problems.counts() == {BAD_NAME: 1}


def test_lagenda_marks_each_face_of_a_photo(tmp_path: Path) -> None:
    folder = tmp_path / "LAGENDA"
    write(
        folder / "lagenda_annotation.csv",
        "img_name,age,gender,face_x0,face_y0,face_x1,face_y1,person_x0,person_y0,person_x1,person_y1",
        "lag_benchmark/a.jpg,30,M,10,20,40,60,1,2,90,90",
        "lag_benchmark/a.jpg,7,F,50,20,70,40,1,2,90,90",
        "lag_benchmark/a.jpg,-1,-1,80,20,90,40,1,2,90,90",
        "lag_benchmark/a.jpg,20,F,-1,-1,-1,-1,1,2,90,90",
    )
    touch(folder / "lag_benchmark" / "a.jpg")
    problems = Problems()
    faces = list(SOURCES["LAGENDA"].samples(tmp_path, problems))
    assert [(face.gender, face.age, face.box, face.split) for face in faces] == [
        (1, 30, (10.0, 20.0, 40.0, 60.0), "test"),
        (0, 7, (50.0, 20.0, 70.0, 40.0), "test"),
    ]
    assert problems.counts() == {NO_LABEL: 1, NO_BOX: 1}


@pytest.mark.parametrize("images", ["original images", "aglined faces"])
def test_aaf_reads_its_lists(tmp_path: Path, images: str) -> None:
    folder = tmp_path / "All-Age-Faces Dataset"
    write(folder / "image sets" / "train.txt", "00000A02.jpg 0", "13321A80 1", "13322B80.jpg 1")
    write(folder / "image sets" / "val.txt", "07381A33.jpg 1", "07382A33.jpg 1")
    for stem in ("00000A02", "13321A80", "07381A33"):
        touch(folder / images / f"{stem}.jpg")
    faces, problems = read("AAF", tmp_path)
    assert {name: (face.gender, face.age, face.split) for name, face in faces.items()} == {
        "00000A02.jpg": (0, 2, "train"),
        "13321A80.jpg": (1, 80, "train"),
        "07381A33.jpg": (1, 33, "val"),
    }
    assert problems.counts() == {BAD_NAME: 1, MISSING: 1}
    write(folder / "image sets" / "val.txt", "07381A33.jpg")
    with pytest.raises(DataError, match=r"val\.txt:1: 1 words, expected <file> <gender>"):
        read("AAF", tmp_path)


def make_celeba(folder: Path, *, archives: bool) -> None:
    anno, evaluation, img = ("Anno", "Eval", "Img") if archives else (".", ".", ".")
    write(
        folder / anno / "list_attr_celeba.txt",
        "3",
        "5_o_Clock_Shadow Male Young",
        "000001.jpg -1 -1  1",
        "000002.jpg  1  1 -1",
        "000003.jpg  1  1 -1",
    )
    write(folder / evaluation / "list_eval_partition.txt", "000001.jpg 0", "000002.jpg 2", "000003.jpg 1")
    for name in ("000001.jpg", "000002.jpg"):
        touch(folder / img / "img_align_celeba" / name)


@pytest.mark.parametrize("archives", [False, True])
def test_celeba_knows_gender_alone(tmp_path: Path, archives: bool) -> None:
    make_celeba(tmp_path / "CelebA", archives=archives)
    write(tmp_path / "CelebA" / "identity_CelebA.txt", "000001.jpg 2880")
    faces, problems = read("CelebA", tmp_path)
    assert {name: (face.gender, face.age, face.split, face.subject) for name, face in faces.items()} == {
        "000001.jpg": (0, -1, "train", "celeba2880"),
        "000002.jpg": (1, -1, "test", ""),
    }
    assert problems.counts() == {MISSING: 1}


def test_celeba_as_csv(tmp_path: Path) -> None:
    folder = tmp_path / "CelebA"
    write(folder / "list_attr_celeba.csv", "image_id,Male,Young", "000001.jpg,-1,1")
    write(folder / "list_eval_partition.csv", "image_id,partition", "000001.jpg,1")
    touch(folder / "img_align_celeba" / "img_align_celeba" / "000001.jpg")
    faces, _ = read("CelebA", tmp_path)
    assert [(face.gender, face.split) for face in faces.values()] == [(0, "val")]


@pytest.mark.parametrize(
    ("name", "lines", "error"),
    [
        ("list_attr_celeba.txt", ("1", "Young", "000001.jpg 1"), r"txt:2: no attribute 'Male'"),
        ("list_attr_celeba.txt", ("1", "Male Young", "000001.jpg 1"), r"txt:3: 1 attributes, expected 2"),
        ("list_attr_celeba.txt", ("1", "Male", "000001.jpg 5"), r"000001\.jpg: Male '5' is neither 1 nor -1"),
        ("list_eval_partition.txt", ("000009.jpg 1",), r"000001\.jpg is in no part of list_eval_partition"),
    ],
)
def test_celeba_in_another_layout(tmp_path: Path, name: str, lines: tuple[str, ...], error: str) -> None:
    make_celeba(tmp_path / "CelebA", archives=False)
    write(tmp_path / "CelebA" / name, *lines)
    with pytest.raises(DataError, match=error):
        read("CelebA", tmp_path)


def test_mtfl_reads_paths_of_either_system(tmp_path: Path) -> None:
    folder = tmp_path / "MTFL"
    points = "106.2 147.7 128.2 110.7 138.7 116.7 118.7 139.7 160.2 160.7"
    write(
        folder / "training.txt",
        f" lfw_5590\\Aaron_Eckhart_0001.jpg {points} 1 1 2 3",
        f"net_7876/0_1_0.jpg {points} 3 1 2 3",
    )
    write(folder / "testing.txt", f"AFLW/0001-image20056.jpg {points} 2 1 2 3", "")
    for name in ("lfw_5590/Aaron_Eckhart_0001.jpg", "net_7876/0_1_0.jpg", "AFLW/0001-image20056.jpg"):
        touch(folder / name)
    faces, problems = read("MTFL", tmp_path)
    assert {name: (face.gender, face.age, face.split) for name, face in faces.items()} == {
        "Aaron_Eckhart_0001.jpg": (1, -1, ""),
        "0001-image20056.jpg": (0, -1, "test"),
    }
    assert problems.counts() == {BAD_LABEL: 1}
    write(folder / "testing.txt", "AFLW/0001-image20056.jpg 1 2")
    with pytest.raises(DataError, match=r"testing\.txt:1: 3 words, expected 15"):
        read("MTFL", tmp_path)


def test_megaage_lies_beside_the_asian_one(tmp_path: Path) -> None:
    for name, age in (("megaage", 33), ("megaage_asian", 44)):
        for part in ("train", "test"):
            touch(tmp_path / name / part / "1.jpg")
            write(tmp_path / name / "list" / f"{part}_name.txt", "1.jpg")
            write(tmp_path / name / "list" / f"{part}_age.txt", str(age))
    for name, age in (("megaage", 33), ("megaage_asian", 44)):
        found = [(face.age, face.gender) for face in read(name, tmp_path)[0].values()]
        assert found == [(age, -1)]
    (tmp_path / "megaage" / "list" / "test_age.txt").unlink()
    with pytest.raises(DataError, match=r"test_age\.txt is missing; MegaAge keeps its labels there"):
        read("megaage", tmp_path)


def test_cacd_names_people_and_knows_no_gender(tmp_path: Path) -> None:
    for name in ("14_Aaron_Johnson_0001.jpg", "62_Zoë_Wanamaker_0012.jpg", "Aaron_Johnson.jpg"):
        touch(tmp_path / "CACD2000" / name)
    faces, problems = read("CACD", tmp_path)
    assert {name: (face.gender, face.age, face.subject) for name, face in faces.items()} == {
        "14_Aaron_Johnson_0001.jpg": (-1, 14, "AaronJohnson"),
        "62_Zoë_Wanamaker_0012.jpg": (-1, 62, "ZoëWanamaker"),
    }
    assert problems.counts() == {BAD_NAME: 1}


@pytest.mark.parametrize("folder", ["FGNET/images", "FG-NET"])
def test_fgnet_leaves_one_person_out(tmp_path: Path, folder: str) -> None:
    for name in ("001A02.JPG", "010a07b.jpg", "082A69.JPG", "points.jpg"):
        touch(tmp_path / folder / name)
    faces, problems = read("FG-NET", tmp_path)
    assert {name: (face.gender, face.age, face.subject, face.fold) for name, face in faces.items()} == {
        "001A02.JPG": (-1, 2, "fgnet001", "001"),
        "010a07b.jpg": (-1, 7, "fgnet010", "010"),
        "082A69.JPG": (-1, 69, "fgnet082", "082"),
    }
    assert problems.counts() == {BAD_NAME: 1}


TABLES = {
    "APPA-REAL": ("appa-real-release", r"gt_avg_train\.csv is missing"),
    "LAGENDA": ("LAGENDA", r"lagenda_annotation\.csv is missing"),
    "AAF": ("All-Age-Faces Dataset", r"original images is missing"),
    "CelebA": ("CelebA", r"img_align_celeba is missing"),
    "MTFL": ("MTFL", r"training\.txt is missing"),
    "megaage": ("megaage", r"train_name\.txt is missing"),
}


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_folder_is_one_clear_error(tmp_path: Path, name: str) -> None:
    folder, error = TABLES[name]
    (tmp_path / folder).mkdir()
    with pytest.raises(DataError, match=error):
        read(name, tmp_path)


def test_a_table_that_is_no_text_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "MTFL"
    folder.mkdir()
    (folder / "training.txt").write_bytes(b"\xff\xfe\x00caf\xe9")
    with pytest.raises(DataError, match=r"training\.txt: not UTF-8 text"):
        read("MTFL", tmp_path)
    lagenda = tmp_path / "LAGENDA" / "lagenda_annotation.csv"
    lagenda.parent.mkdir()
    lagenda.write_bytes(b"img_name,age\xff")
    with pytest.raises(DataError, match=r"lagenda_annotation\.csv: not readable as a table"):
        read("LAGENDA", tmp_path)
