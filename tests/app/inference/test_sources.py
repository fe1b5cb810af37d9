"""What --image means: names, folders, patterns, lists; found one by one and in order."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.app.inference.sources import Found, Listed, Search, find_photos, open_sources
from agegender.errors import UsageError

pytestmark = pytest.mark.quick


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def places(found: Iterator[Found]) -> list[str]:
    return [each.place.as_posix() for each in found]


def found(*names: object, leave_out: Path | None = None) -> list[str]:
    return places(find_photos(open_sources([str(name) for name in names], leave_out=leave_out)))


def test_a_folder_is_searched_in_order_of_path(tmp_path: Path) -> None:
    names = ["b.jpg", "a/z.PNG", "a/b/c.webp", "c/1.gif", "notes.txt", "a/x.json", "B.tif"]
    tree(tmp_path, *names)
    (tmp_path / "e.jpg").mkdir()
    photos = [PurePath(name) for name in names if PurePath(name).suffix not in (".txt", ".json")]
    assert found(tmp_path) == [path.as_posix() for path in sorted(photos)]


def test_the_folder_of_pictures_is_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "a.jpg", "out/a.jpg", "sub/out/b.jpg", "out/deep/c.jpg")
    assert found(tmp_path, leave_out=tmp_path / "out") == ["a.jpg", "sub/out/b.jpg"]
    assert found(tmp_path / "**" / "*.jpg", leave_out=tmp_path / "sub" / ".." / "out") == ["a.jpg", "sub/out/b.jpg"]
    # Whoever names it, means it.
    assert found(tmp_path / "out", leave_out=tmp_path / "out") == ["a.jpg", "deep/c.jpg"]


def test_links_to_folders_make_no_ring(tmp_path: Path) -> None:
    tree(tmp_path, "sub/a.jpg", "other/b.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    assert found(tmp_path) == ["other/b.jpg", "sub/a.jpg"]
    assert found(tmp_path / "sub" / "u*" / "other" / "*.jpg") == ["up/other/b.jpg"]


def test_a_folder_that_cannot_be_read_is_an_error_and_the_rest_goes_on(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg")
    photos = find_photos(open_sources([str(tmp_path)]))
    assert next(photos).path == tmp_path / "a" / "1.jpg"
    (tmp_path / "b" / "2.jpg").unlink()
    (tmp_path / "b").rmdir()
    gone, last = photos
    assert gone.error == f"{tmp_path / 'b'}: can't be read (No such file or directory)"
    assert last.path == tmp_path / "c" / "3.jpg"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("?.png", ["c.png"]),
        ("[bc].*", ["b.jpg", "c.png"]),
        ("**/*.jpg", ["a.jpg", "b.jpg", "x/a.jpg", "x/y/a.jpg"]),
        ("x/**/a.jpg", ["a.jpg", "y/a.jpg"]),
        ("**", ["a.jpg", "b.jpg", "c.png", "x/a.jpg", "x/y/a.jpg"]),
        ("*/a.jpg", ["x/a.jpg"]),
        ("?", ["x/a.jpg", "x/y/a.jpg"]),
        ("no*", ["notes.txt"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    tree(tmp_path, "a.jpg", "b.jpg", "c.png", "notes.txt", "x/a.jpg", "x/y/a.jpg", ".hidden/a.jpg", ".h.jpg")
    assert found(f"{tmp_path}/{pattern}") == expected


PARTS = st.sampled_from(["a", "b", "ab", "*", "a*", "?", "**", "[ab]", "*b"])


@settings(max_examples=150, deadline=None)
@given(pattern=st.lists(PARTS, min_size=1, max_size=4), paths=st.sets(st.text("ab/", min_size=1, max_size=6)))
def test_patterns_mean_what_pythons_glob_means(
    tmp_path_factory: pytest.TempPathFactory, pattern: list[str], paths: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("glob")
    for path in paths:
        parts = [part for part in path.split("/") if part]
        if parts:
            tree(folder, "/".join([*parts, "a.jpg"]))
    wanted = "/".join([*pattern, "*.jpg"])
    search = Search("", folder, tuple(PurePath(wanted).parts))
    known = glob.glob(wanted, root_dir=folder, recursive=True)  # noqa: PTH207 - another one than pathlib's
    expected = {os.path.normpath(name) for name in known}
    ours = places(search.photos())
    assert set(ours) == expected
    assert len(ours) == len(set(ours))
    assert all(search.holds(folder / name) for name in ours)


def test_names_are_tried_whatever_they_are_called(tmp_path: Path) -> None:
    odd = tree(tmp_path, "party[1].jpg") / "party[1].jpg"
    assert found(odd, tmp_path / "gone.txt", odd) == ["party[1].jpg", "gone.txt"]


def test_nothing_is_found_twice(tmp_path: Path) -> None:
    tree(tmp_path, "a.jpg", "x/b.jpg")
    assert found(tmp_path / "x" / "b.jpg", tmp_path, tmp_path / "**/*.jpg") == ["b.jpg", "a.jpg"]


def test_what_holds_no_photo_is_said(tmp_path: Path) -> None:
    tree(tmp_path, "empty/notes.txt")
    with pytest.raises(UsageError, match="no photo lies in that folder or below"):
        open_sources([str(tmp_path / "empty")])
    with pytest.raises(UsageError, match=r"\*\.jpg: no file matches"):
        open_sources([f"{tmp_path}/*.jpg"])


@pytest.mark.parametrize("url", ["http://x.org/a.jpg", "HTTPS://x.org/a.jpg", "s3://bucket/a.jpg", "file:///a.jpg"])
def test_addresses_are_refused(url: str) -> None:
    message = f"{url}: photos are read from files, not from addresses; download it and name the file"
    with pytest.raises(UsageError) as refused:
        open_sources(["test.jpg", url])
    assert str(refused.value) == f"--image {message}"
    [listed] = Listed(io.BytesIO(url.encode())).photos()
    assert listed.error == message


def test_a_list(tmp_path: Path) -> None:
    stream = io.BytesIO(b"a.jpg\nsub/\xff b.jpg\r\n\n../up/c.jpg\n/abs/d.jpg\na.jpg\nlast.jpg")
    photos = list(find_photos([Listed(stream)]))
    assert [each.path for each in photos] == [
        Path(name) for name in ("a.jpg", "sub/\udcff b.jpg", "../up/c.jpg", "/abs/d.jpg", "last.jpg")
    ]
    assert [each.place.as_posix() for each in photos] == [
        *("a.jpg", "sub/\udcff b.jpg", "up/c.jpg", "abs/d.jpg", "last.jpg"),
    ]


def test_a_list_may_not_name_what_is_written(tmp_path: Path) -> None:
    [listed] = Listed(io.BytesIO(f"{tmp_path}/out/a.jpg\n".encode()), leave_out=tmp_path / "out").photos()
    assert listed.error == (
        f"{tmp_path}/out/a.jpg: lies in the folder of --output, whose pictures are replaced; name another folder there"
    )


class Endless(io.RawIOBase):
    """Standard input that somebody writes a path into for ever; counts the chunks that were asked for."""

    def __init__(self) -> None:
        self.chunks = 0

    def read(self, size: int = -1) -> bytes:
        self.chunks += 1
        return f"{self.chunks}.jpg\n".encode()


def test_a_list_is_read_no_further_than_needed() -> None:
    stream = Endless()
    photos = find_photos([Listed(stream)])
    for number in range(1, 50):
        assert next(photos).path == Path(f"{number}.jpg")
        assert stream.chunks == number


def test_folders_are_entered_when_it_is_their_turn(tmp_path: Path) -> None:
    """Photos of a later folder are not looked for before those of the earlier ones are used up."""
    tree(tmp_path, *(f"{folder:02}/{photo}.jpg" for folder in range(20) for photo in range(3)))
    photos = find_photos(open_sources([str(tmp_path)]))
    assert next(photos).place == PurePath("00/0.jpg")
    (tmp_path / "00" / "late.jpg").touch()
    (tmp_path / "01" / "early.jpg").touch()
    rest = places(photos)
    assert "00/late.jpg" not in rest
    assert "01/early.jpg" in rest
