"""Every public dataset in its original layout: labels, coding, subjects, official splits, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import Problems
from agegender.dataset.sources import BAD_LABEL, BAD_NAME, MISSING, SOURCES, find_sources, list_source, synthetic_source
from agegender.errors import DataError, UsageError


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"image")


def read(name: str, root: Path) -> tuple[list[FaceSample], Problems]:
    problems = Problems()
    return list(SOURCES[name].samples(root, problems)), problems


def labels(samples: list[FaceSample]) -> dict[str, tuple[int, int]]:
    return {sample.path.name: (sample.gender, sample.age) for sample in samples}


def test_agedb_reads_names_ages_and_genders(tmp_path: Path) -> None:
    for name in (
        "0_MariaCallas_35_f.jpg",
        "10_J_R_Smith_101_m.jpg",
        "2_Nobody_130_m.jpg",
        "3_Odd_x_m.jpg",
        "._1_A_3_f.jpg",
    ):
        touch(tmp_path / "AgeDB" / name)
    samples, problems = read("AgeDB", tmp_path)
    assert labels(samples) == {"0_MariaCallas_35_f.jpg": (0, 35), "10_J_R_Smith_101_m.jpg": (1, 100)}
    assert [sample.subject for sample in samples] == ["MariaCallas", "J_R_Smith"]
    assert {sample.template for sample in samples} == {None}
    assert problems.counts() == {BAD_LABEL: 1, BAD_NAME: 1}
    assert "age '130' is not within 0..120" in next(row.detail for row in problems if row.reason == BAD_LABEL)


@pytest.mark.parametrize("folder", ["AFAD-Full", "AFAD-Lite", "AFAD/AFAD-Full", "tarball-master/AFAD-Full", "AFAD"])
def test_afad_reads_folders(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / folder / "15" / "111" / "a.jpg")
    touch(tmp_path / folder / "40" / "112" / "b.JPG")
    touch(tmp_path / folder / "40" / "113" / "c.jpg")
    samples, problems = read("AFAD", tmp_path)
    assert labels(samples) == {"a.jpg": (1, 15), "b.JPG": (0, 40)}
    assert [(row.reason, Path(row.path).name, row.source) for row in problems] == [(BAD_NAME, "c.jpg", "AFAD")]


def test_afad_full_wins_over_lite(tmp_path: Path) -> None:
    touch(tmp_path / "AFAD-Full" / "15" / "111" / "full.jpg")
    touch(tmp_path / "AFAD-Lite" / "15" / "111" / "lite.jpg")
    assert list(labels(read("AFAD", tmp_path)[0])) == ["full.jpg"]


def write_megaage(folder: Path, *, train: dict[str, int], test: dict[str, int]) -> None:
    for part, rows in (("train", train), ("test", test)):
        for name in rows:
            touch(folder / part / name)
        (folder / "list").mkdir(exist_ok=True)
        (folder / "list" / f"{part}_name.txt").write_text("\n".join(rows) + "\n")
        (folder / "list" / f"{part}_age.txt").write_text("\r\n".join(map(str, rows.values())) + "\r\n")


def test_megaage_asian_keeps_the_official_test_list_and_invents_no_gender(tmp_path: Path) -> None:
    folder = tmp_path / "megaage_asian"
    write_megaage(folder, train={"1.jpg": 3, "2.jpg": 70}, test={"1.jpg": 20})
    (folder / "train" / "2.jpg").unlink()
    samples, problems = read("megaage_asian", tmp_path)
    assert [(sample.path.parent.name, sample.gender, sample.age, sample.split) for sample in samples] == [
        ("train", -1, 3, ""),
        ("test", -1, 20, "test"),
    ]
    assert problems.counts() == {MISSING: 1}


def test_megaage_asian_with_damaged_lists_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "megaage_asian"
    write_megaage(folder, train={"1.jpg": 3, "2.jpg": 70}, test={"1.jpg": 20})
    (folder / "list" / "train_age.txt").write_text("3\n")
    with pytest.raises(DataError, match=r"train_name\.txt has 2 lines but train_age\.txt has 1; they must match"):
        read("megaage_asian", tmp_path)
    (folder / "list" / "train_age.txt").unlink()
    with pytest.raises(DataError, match=r"train_age\.txt is missing"):
        read("megaage_asian", tmp_path)


def test_utkface_turns_the_gender_round_and_reports_bad_names(tmp_path: Path) -> None:
    folder = tmp_path / "UTKFace"
    names = [
        "26_0_2_20170104023102422.jpg.chip.jpg",
        "116_1_0_20170112220255503.jpg.chip.jpg",
        "61_1_20170109150557335.jpg.chip.jpg",
        "53__0_20170116184028385.jpg.chip.jpg",
        "5_1_4_20170110225003433.jpg",
    ]
    for name in names:
        touch(folder / name)
    samples, problems = read("UTKFace", tmp_path)
    assert {sample.path.name[:6]: (sample.gender, sample.age, sample.group, sample.template) for sample in samples} == {
        "26_0_2": (1, 26, "2", "utkface"),
        "116_1_": (0, 100, "0", "utkface"),
        "5_1_4_": (0, 5, "4", None),
    }
    assert problems.counts("UTKFace") == {BAD_NAME: 2}


@pytest.mark.parametrize("place", ["UTKFace", "."])
def test_utkface_honours_its_split_file(tmp_path: Path, place: str) -> None:
    for name in ("1_0_0_1.jpg.chip.jpg", "2_0_0_2.jpg.chip.jpg", "3_0_0_3.jpg.chip.jpg"):
        touch(tmp_path / "UTKFace" / name)
    lines = ["file,gender,age,race,split", "1_0_0_1.jpg.chip.jpg,1,1,0,test", "2_0_0_2.jpg.chip.jpg,1,2,0,val"]
    (tmp_path / place / "utkface_split.csv").write_text("\n".join(lines) + "\n")
    samples, _ = read("UTKFace", tmp_path)
    assert [sample.split for sample in samples] == ["test", "val", ""]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("file,part\na.jpg,train\n", r"utkface_split\.csv: no column 'split' \(needs file, split\)"),
        ("file,split\na.jpg,dev\n", r"utkface_split\.csv:2: split 'dev' is none of train, val, test"),
    ],
)
def test_utkface_refuses_a_damaged_split_file(tmp_path: Path, text: str, error: str) -> None:
    touch(tmp_path / "UTKFace" / "1_0_0_1.jpg.chip.jpg")
    (tmp_path / "utkface_split.csv").write_text(text)
    with pytest.raises(DataError, match=error):
        read("UTKFace", tmp_path)


def test_sources_are_found_by_their_folders_in_any_case(tmp_path: Path) -> None:
    assert find_sources(tmp_path) == []
    assert find_sources(tmp_path / "nowhere") == []
    (tmp_path / "utkface").mkdir()
    (tmp_path / "AgeDB").mkdir()
    assert [source.name for source in find_sources(tmp_path)] == ["AgeDB", "UTKFace"]
    assert [source.name for source in find_sources(tmp_path, ["utkface", "UTKFace"])] == ["UTKFace"]


def test_unknown_and_absent_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown source 'UTKFaces'; did you mean 'UTKFace'\? \(AgeDB, megaage_asian"):
        find_sources(tmp_path, ["UTKFaces"])
    with pytest.raises(UsageError, match=r"unknown source 'lfw'"):
        find_sources(tmp_path, ["lfw"])
    with pytest.raises(UsageError, match=r"source 'AFAD' is not under .*; expected dataset/AFAD-Full/<age>/"):
        find_sources(tmp_path, ["AFAD"])


def test_a_list_is_a_source_of_its_own(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    (tmp_path / "mine_list.txt").write_text("a.jpg,0,30\nb.jpg,1,40\na.jpg,1,-7\n")
    source, problems = list_source(tmp_path / "mine_list.txt"), Problems()
    samples = list(source.samples(tmp_path / "elsewhere", problems))
    assert (source.name, [sample.source for sample in samples]) == ("mine", ["mine"])
    assert problems.counts("mine") == {MISSING: 1, BAD_LABEL: 1}
    assert "mine_list.txt:3: age '-7' is not within 0..120" in problems.rows[0].detail
    with pytest.raises(UsageError, match=r"list file 'none\.csv' does not exist"):
        list_source("none.csv")
    with pytest.raises(UsageError, match=r"list file '.*' is no file"):
        list_source(tmp_path)


def test_every_source_says_where_it_comes_from_and_goes() -> None:
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.homepage.startswith("http")
        assert source.hint.startswith("dataset/")


def test_problems_are_written_sorted(tmp_path: Path) -> None:
    problems = Problems()
    problems.add(Path("b.jpg"), "no face", "two\nlines", source="X")
    problems.add("a.jpg", MISSING)
    problems.write(tmp_path / "skipped.csv")
    assert (tmp_path / "skipped.csv").read_text() == (
        "path,source,reason,detail\na.jpg,,missing file,\nb.jpg,X,no face,two lines\n"
    )
    assert len(problems) == 2


def test_a_negative_number_of_drawn_faces_is_refused() -> None:
    with pytest.raises(UsageError, match="--synthetic -3: the number of faces can't be negative"):
        synthetic_source(-3)


@pytest.mark.data
def test_the_real_utkface(photographs: Path, root: Path) -> None:
    folder = root / "dataset"
    if not (folder / "UTKFace" / "utkface_split.csv").is_file():
        pytest.skip("UTKFace is not unpacked under dataset/")
    samples, problems = read("UTKFace", folder)
    counts = {name: sum(sample.split == name for sample in samples) for name in ("train", "val", "test", "")}
    assert counts == {"train": 18491, "val": 2280, "test": 2314, "": 0}
    assert len(problems) == 0
