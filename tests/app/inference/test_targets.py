"""Names of annotated pictures: none twice, none over a photo."""

from __future__ import annotations

import io
from pathlib import Path, PurePath

import pytest

from agegender.app.inference.sources import Found, Listed, NamedFile, find_photos, open_sources
from agegender.app.inference.targets import Targets
from agegender.errors import UsageError

pytestmark = pytest.mark.quick


def targets_of(output: object, *names: object) -> list[Path | None]:
    sources = open_sources([str(name) for name in names])
    targets = Targets(sources, str(output))
    return [targets(found) for found in find_photos(sources)]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))


def test_no_two_pictures_share_a_name(tmp_path: Path) -> None:
    photos = ["x/a.jpg", "y/a.jpg", "y/A.JPG", "y/a.gif", "z/a.webp", "z/a-2.jpg"]
    targets = targets_of(tmp_path / "out", *photos)
    assert targets == [
        tmp_path / "out" / name for name in ("a.jpg", "a-2.jpg", "A-3.JPG", "a.png", "a-2.png", "a-2-2.jpg")
    ]


def test_two_folders_go_into_one(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("x/s/a.jpg", "y/s/a.jpg", "y/s/a.gif", "y/t/a.jpg")))
    targets = targets_of(tmp_path / "out", tmp_path / "x", tmp_path / "y")
    names = ["s/a.jpg", "s/a.png", "s/a-2.jpg", "t/a.jpg"]
    assert targets == [tmp_path / "out" / name for name in names]


def test_names_are_the_same_when_pictures_are_there_already(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.jpg")
    arguments = tmp_path / "out", tmp_path / "x" / "a.jpg", tmp_path / "y" / "*.jpg"
    first = targets_of(*arguments)
    touch(*(target for target in first if target))
    assert targets_of(*arguments) == first


def test_a_picture_makes_way_for_a_photo(tmp_path: Path) -> None:
    """The folder of pictures holds the folder of photos, and one of them has the place that a picture would get."""
    touch(tmp_path / "photos" / "photos" / "a.jpg", tmp_path / "photos" / "a.jpg")
    targets = targets_of(tmp_path, tmp_path / "photos")
    assert targets == [tmp_path / "a.jpg", tmp_path / "photos" / "a-2.jpg"]
    one, other = tmp_path / "x" / "b.jpg", tmp_path / "out" / "b.jpg"
    touch(one, other)
    with pytest.raises(UsageError, match="would overwrite the photo"):
        targets_of(tmp_path / "out", one, other)


def test_photos_are_never_overwritten(tmp_path: Path) -> None:
    photo = tmp_path / "two.jpg"
    touch(photo)
    for output in (photo, tmp_path):
        with pytest.raises(UsageError, match="--output would overwrite the photo"):
            targets_of(output, photo)
    for source in (tmp_path, tmp_path / "*.jpg", tmp_path / "**/*.jpg"):
        with pytest.raises(UsageError, match="--output would overwrite the photos in"):
            targets_of(tmp_path, source)
    (tmp_path / "link.jpg").symlink_to(photo)
    with pytest.raises(UsageError, match="would overwrite the photo"):
        targets_of(tmp_path / "link.jpg", photo)
    touch(tmp_path / "taken")
    with pytest.raises(UsageError, match="is neither a folder nor a picture's name"):
        targets_of(tmp_path / "taken", photo)


def test_one_picture_holds_one_photo(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "a.jpg")
    assert targets_of(tmp_path / "one.png", tmp_path / "x") == [tmp_path / "one.png"]
    touch(tmp_path / "x" / "y" / "b.jpg")
    for sources in ((tmp_path / "x",), (tmp_path / "x/a.jpg", tmp_path / "x/y/b.jpg")):
        with pytest.raises(UsageError, match="is one picture, but there may be several photos; name a folder"):
            targets_of(tmp_path / "one.png", *sources)
    with pytest.raises(UsageError, match="may be several photos"):
        Targets([Listed(io.BytesIO(b"a.jpg"))], "one.png")


@pytest.mark.parametrize(
    ("output", "target"),
    [
        ("party.2024", "party.2024/a.jpg"),
        ("v1.5", "v1.5/a.jpg"),
        ("there.bmp", "there.bmp/a.jpg"),
        ("there.png", "there.png/a.jpg"),
        ("new.bmp/", "new.bmp/a.jpg"),
        ("new.png/", "new.png/a.jpg"),
        (".hidden", ".hidden/a.jpg"),
        ("none/", "none/a.jpg"),
        ("one.PNG", "one.PNG"),
        ("old.jpg", "old.jpg"),
    ],
)
def test_folders_may_have_a_dot(tmp_path: Path, output: str, target: str) -> None:
    for name in ("there.bmp", "there.png"):
        (tmp_path / name).mkdir()
    (tmp_path / "old.jpg").touch()
    assert targets_of(f"{tmp_path}/{output}", "x/a.jpg") == [tmp_path / target]


def test_none_is_no_picture() -> None:
    assert targets_of("none", "x/a.jpg") == [None]
    assert Targets([NamedFile(Path("x/a.jpg"))], "./none")(Found(Path("x/a.jpg"), PurePath("a.jpg"))) == Path(
        "none/a.jpg"
    )
