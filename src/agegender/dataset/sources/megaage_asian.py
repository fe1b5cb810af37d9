"""MegaAge-Asian: http://mmlab.ie.cuhk.edu.hk/projects/MegaAge/

Layout: ``dataset/megaage_asian/{train,test}/*.jpg`` and ``list/{train,test}_{name,age}.txt`` (one name and one age
per line, in the same order): 40,000 and 3,945 loose faces of Asian people, 0 to 70 years.
Terms: non-commercial research only.
Coding: ages only; the gender is not given and stays -1. The official test list becomes the split "test", which no
training and no choice of a model touches.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import MISSING, Problems
from agegender.dataset.sources.base import Source
from agegender.errors import DataError
from agegender.labels import UNKNOWN

_OWN_SPLIT = {"train": "", "test": "test"}


class MegaAgeAsian(Source):
    """MegaAge-Asian faces, ages only; see the module for layout and coding."""

    name = "megaage_asian"
    title: ClassVar[str] = "MegaAge-Asian"
    homepage = "http://mmlab.ie.cuhk.edu.hk/projects/MegaAge/"
    folders: ClassVar[tuple[str, ...]] = ("megaage_asian", "megaage-asian", "MegaAge_Asian/megaage_asian")
    hint = "dataset/megaage_asian/{train,test}/*.jpg and dataset/megaage_asian/list/{train,test}_{name,age}.txt"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the listed faces. Raises DataError when a list is missing or names and ages differ in number."""
        folder = self.folder(root)
        if folder is None:
            return
        for part, split in _OWN_SPLIT.items():
            for name, age in _labels(folder, part, title=self.title):
                path = folder / part / name
                if not path.is_file():
                    problems.add(path, MISSING, f"named in list/{part}_name.txt", source=self.name)
                    continue
                sample = FaceSample(path, UNKNOWN, UNKNOWN, self.name, split=split)
                yield from self.checked(sample, problems, gender=UNKNOWN, age=age)


def _labels(folder: Path, part: str, *, title: str) -> list[tuple[str, str]]:
    """Return (file name, age) of one official list."""
    names, ages = (folder / "list" / f"{part}_{column}.txt" for column in ("name", "age"))
    for path in (names, ages):
        if not path.is_file():
            raise DataError(f"{path} is missing; {title} keeps its labels there")
    rows = [path.read_text(encoding="utf-8-sig").split("\n") for path in (names, ages)]
    name_rows, age_rows = ([line.strip() for line in lines if line.strip()] for lines in rows)
    if len(name_rows) != len(age_rows):
        raise DataError(f"{names} has {len(name_rows)} lines but {ages.name} has {len(age_rows)}; they must match")
    return list(zip(name_rows, age_rows))
