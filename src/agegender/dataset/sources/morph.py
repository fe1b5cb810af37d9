"""MORPH-II (Album 2): https://www.faceaginggroup.com/morph/

Layout: ``dataset/MORPH/morph_2008_nonCommercial.csv`` (columns ``id_num``, ``race``, ``gender``, ``age``, ``photo``
among others; ``photo`` is a path from there), or without it images in any sub-folders that are called
``<person>_<number><M|F><age>.JPG``: 55,134 police photos of 13,617 people aged 16 to 77.
Terms: the academic licence is bought from the University of North Carolina Wilmington; no redistribution.
Coding: M = male (1), F = female (0). The race code of the table (B, W, A, H, I, O) is the group, the person the
subject.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import BAD_NAME, Problems
from agegender.dataset.sources.base import Source, image_files
from agegender.dataset.sources.tables import read_table

TABLE = "morph_2008_nonCommercial.csv"
_COLUMNS = ("id_num", "race", "gender", "age", "photo")
_NAME = re.compile(r"(\d+)_(\d+)([MF])(\d+)", re.IGNORECASE)


class Morph(Source):
    """MORPH-II's photos; see the module for layout and coding."""

    name = "MORPH"
    homepage = "https://www.faceaginggroup.com/morph/"
    folders = ("MORPH_nonCommercial", "MORPH", "MORPH2", "MORPH-II")
    hint = f"dataset/MORPH/{TABLE} and the photos that it names (or just <person>_<number><M|F><age>.JPG)"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the faces of the table, without one those of all files; badly named ones go to ``problems``."""
        folder = self.folder(root)
        if folder is None:
            return
        if (folder / TABLE).is_file():
            yield from self._listed(folder, problems)
            return
        for path in image_files(folder):
            match = _NAME.fullmatch(path.stem)
            if match is None:
                problems.add(path, BAD_NAME, "not <person>_<number><M|F><age>.JPG", source=self.name)
                continue
            sample = FaceSample(path, -1, -1, self.name, subject=_subject(match[1]))
            yield from self.checked(sample, problems, gender=match[3], age=match[4])

    def _listed(self, folder: Path, problems: Problems) -> Iterator[FaceSample]:
        for row in read_table(folder / TABLE, _COLUMNS):
            path = folder / row["photo"].replace("\\", "/")
            if self.is_there(path, problems, named_in=TABLE):
                sample = FaceSample(path, -1, -1, self.name, subject=_subject(row["id_num"]), group=row["race"])
                yield from self.checked(sample, problems, gender=row["gender"], age=row["age"])


def _subject(number: str) -> str:
    """Return the person's name among subjects; the table may have lost the zeros in front that file names have."""
    return f"morph{number.lstrip('0') or '0'}"
