"""CelebA: https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html

Layout: ``dataset/CelebA`` with ``list_attr_celeba.txt`` (the number of faces, a line of 40 names of attributes, then
``<file> <-1 or 1 each>``), ``list_eval_partition.txt`` (``<file> <0|1|2>``) and the images ``img_align_celeba/*.jpg``,
each also where the original archives put them (``Anno``, ``Eval``, ``Img``), or as .csv: 202,599 faces of 10,177
people. ``identity_CelebA.txt`` (``<file> <person>``), which is given on request, is used where it lies there.
Terms: non-commercial research only.
Coding: gender only, by the attribute ``Male``: 1 = male, -1 = female. The age stays -1 (``Young`` is no age). Partition
0 is train, 1 val, 2 test. Any set in this layout can be read, whatever its other attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import Problems
from agegender.dataset.sources.base import Source
from agegender.dataset.sources.tables import first_of, read_table, read_words
from agegender.errors import DataError
from agegender.labels import FEMALE, MALE, UNKNOWN

_PLACES = (".", "Anno", "Eval", "Img")
_IMAGES = (
    "img_align_celeba/img_align_celeba",
    "img_align_celeba",
    "Img/img_align_celeba",
    "Img/img_celeba",
    "img_celeba",
)
_PARTITION = {"0": "train", "1": "val", "2": "test"}
_GENDERS = {"1": MALE, "-1": FEMALE, "0": FEMALE}
ATTRIBUTE = "Male"


class CelebA(Source):
    """CelebA's faces, gender only; see the module for layout and coding."""

    name = "CelebA"
    homepage = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    folders = ("CelebA",)
    hint = "dataset/CelebA/{list_attr_celeba,list_eval_partition}.txt and dataset/CelebA/img_align_celeba/*.jpg"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the listed faces. Raises DataError where a list or the images are missing or of another layout."""
        folder = self.folder(root)
        if folder is None:
            return
        images = first_of(folder, _IMAGES, what="img_align_celeba.zip unpacks to it")
        table = _find(folder, "list_attr_celeba")
        splits = _pairs(_find(folder, "list_eval_partition"))
        given = [folder / name for name in _names("identity_CelebA") if (folder / name).is_file()]
        people = _pairs(given[0]) if given else {}
        for file, value in _attribute(table):
            path = images / file
            if value not in _GENDERS:
                raise DataError(f"{table}: {file}: {ATTRIBUTE} {value!r} is neither 1 nor -1")
            part = splits.get(file, "")
            if part not in _PARTITION:
                raise DataError(f"{table}: {file} is in no part of list_eval_partition (0, 1, 2)")
            if self.is_there(path, problems, named_in=table.name):
                subject = f"celeba{people[file]}" if file in people else ""
                sample = FaceSample(path, -1, -1, self.name, subject=subject, split=_PARTITION[part])
                yield from self.checked(sample, problems, gender=_GENDERS[value], age=UNKNOWN)


def _find(folder: Path, stem: str) -> Path:
    return first_of(folder, _names(stem), what="CelebA keeps its labels there")


def _names(stem: str) -> list[str]:
    return [f"{place}/{stem}.{kind}" for place in _PLACES for kind in ("txt", "csv")]


def _attribute(table: Path) -> Iterator[tuple[str, str]]:
    """Yield (file, value of ATTRIBUTE)."""
    if table.suffix == ".csv":
        for row in read_table(table, ("image_id", ATTRIBUTE)):
            yield row["image_id"], row[ATTRIBUTE]
        return
    lines = read_words(table, what="CelebA keeps its labels there")
    names: list[str] = []
    for line, words in lines:
        if line == 1:
            continue  # the number of faces
        if line == 2:
            names = words
            if ATTRIBUTE not in names:
                raise DataError(f"{table}:2: no attribute {ATTRIBUTE!r}")
            continue
        if len(words) != len(names) + 1:
            raise DataError(f"{table}:{line}: {len(words) - 1} attributes, expected {len(names)}")
        yield words[0], words[1 + names.index(ATTRIBUTE)]


def _pairs(table: Path) -> dict[str, str]:
    """Return file -> value of a list of two columns, as text or .csv."""
    if table.suffix == ".csv":
        with_header = read_table(table, ("image_id",))
        return {
            row["image_id"]: next(value for name, value in row.items() if name != "image_id") for row in with_header
        }
    return {words[0]: words[-1] for _, words in read_words(table, what="CelebA keeps its labels there")}
