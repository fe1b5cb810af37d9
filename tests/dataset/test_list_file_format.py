"""List files: what is understood, what is refused with file and line, and writing them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agegender.dataset.face_record import FaceSample
from agegender.dataset.list_file import read_list, source_name, write_list
from agegender.errors import AgeGenderError, LabelError


def written(folder: Path, content: str | bytes, name: str = "faces.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_three_plain_columns(tmp_path: Path) -> None:
    samples = read_list(written(tmp_path, "a.jpg,0,30\r\n\r\n b c.jpg , male ,  \n,".replace("\n,", "\n")))
    assert [(sample.path, sample.gender, sample.age) for sample in samples] == [
        (tmp_path / "a.jpg", 0, 30),
        (tmp_path / "b c.jpg", 1, -1),
    ]
    assert {sample.source for sample in samples} == {"faces"}


def test_header_bom_and_further_columns(tmp_path: Path) -> None:
    header = "\ufeffAge,File,gender,subject,split,template,mood,source,group"
    text = f'{header}\n33,"脸,1.jpg",F,anna,TEST,utkface,calm,Mine,g\n'
    sample = read_list(written(tmp_path, text))[0]
    assert sample == FaceSample(tmp_path / "脸,1.jpg", 0, 33, "Mine", "anna", "g", "test", "utkface")


def test_a_header_may_lack_one_label(tmp_path: Path) -> None:
    assert read_list(written(tmp_path, "file,gender\na.jpg,1\n"))[0].age == -1
    assert read_list(written(tmp_path, "path,age\na.jpg,101\n"))[0].gender == -1
    assert read_list(written(tmp_path, "path,age\na.jpg,120\n"))[0].age == 100


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("a.jpg,0,30\nb.jpg,2,30\n", r"faces\.csv:2: gender '2' is none of 0 = female, 1 = male, -1 = unknown"),
        ("a.jpg,0,121\n", r"faces\.csv:1: age '121' is not within 0\.\.120"),
        ("path,gender,age\na.jpg,0,old\n", r"faces\.csv:2: age 'old' is not a number"),
        ("a.jpg,0\n", r"faces\.csv:1: 2 columns, expected 3 \(path,gender,age\)"),
        ("a.jpg,0,30,anna\n", r"faces\.csv:1: 4 columns, expected 3 .*more columns need a header line"),
        ("gender,age\n0,30\n", r"faces\.csv:1: the header has no column 'path' \(gender, age\)"),
        ("path,subject\na.jpg,anna\n", r"faces\.csv:1: the header has neither 'gender' nor 'age'"),
        ("path,age,age\na.jpg,1,2\n", r"faces\.csv:1: the header names 'age' twice"),
        ("path,age,split\na.jpg,1,dev\n", r"faces\.csv:2: split 'dev' is none of train, val, test"),
        ("path,age\n,1\n", r"faces\.csv:2: the path is empty"),
        (b"a.jpg,0,30\nb.jpg,1,4\n" + "c\xe9.jpg,1,4\n".encode("latin-1"), r"faces\.csv:3: not UTF-8 text"),
        ("a.jpg,0,30\n".encode("utf-16"), r"faces\.csv:1: not UTF-8 text"),
        (b"a.jpg,0,30\nb\x00.jpg,0,1\n", r"faces\.csv:2: the path holds a zero byte"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, content: str | bytes, error: str) -> None:
    with pytest.raises(LabelError, match=error):
        read_list(written(tmp_path, content))


def test_paths_are_found_beside_the_list_else_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists, here = tmp_path / "lists", tmp_path / "here"
    for path in (lists / "both.jpg", here / "both.jpg", here / "sub" / "only.jpg"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(here)
    text = f"both.jpg,0,1\nsub\\only.jpg,0,1\nnowhere.jpg,0,1\n{here}/both.jpg,0,1\n"
    paths = [sample.path for sample in read_list(written(lists, text))]
    assert paths == [lists / "both.jpg", Path("sub/only.jpg"), lists / "nowhere.jpg", here / "both.jpg"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    samples = [
        FaceSample(tmp_path / "AgeDB" / "脸, 1.jpg", 0, 30, "AgeDB", subject="anna"),
        FaceSample(tmp_path / "AgeDB" / "b.jpg", -1, -1, "AgeDB", split="test", template="utkface", group="2"),
    ]
    path = tmp_path / "AgeDB_list.txt"
    write_list(path, samples)
    assert path.read_text(encoding="utf-8").splitlines() == [
        "path,gender,age,subject,group,split,template",
        '"AgeDB/脸, 1.jpg",0,30,anna,,,',
        "AgeDB/b.jpg,-1,-1,,2,test,utkface",
    ]
    assert read_list(path) == samples
    assert list(tmp_path.iterdir()) == [path]


def test_only_needed_columns_are_written_and_far_paths_absolute(tmp_path: Path) -> None:
    far = tmp_path / "far" / "a.jpg"
    (tmp_path / "near").mkdir()
    write_list(tmp_path / "near" / "x.csv", [FaceSample(far, 1, 2, "Other")])
    assert (tmp_path / "near" / "x.csv").read_text() == f"path,gender,age,source\n{far},1,2,Other\n"


def test_source_names() -> None:
    assert [source_name(name) for name in ("dataset/AgeDB_list.txt", "my faces.csv", "_list.txt")] == [
        "AgeDB",
        "my faces",
        "_list",
    ]


@given(content=st.one_of(st.binary(max_size=80), st.text(alphabet='a,".\n\r0\t-é\x00', max_size=60).map(str.encode)))
def test_any_bytes_give_faces_or_one_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    try:
        read_list(path)
    except AgeGenderError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
