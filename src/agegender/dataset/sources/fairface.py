"""FairFace: https://github.com/joojs/fairface

Layout: ``dataset/FairFace/fairface_label_{train,val}.csv`` (columns ``file``, ``age``, ``gender``, ``race``,
``service_test``) and ``train/*.jpg``, ``val/*.jpg`` of the archive with margin 0.25 or 1.25: 108,501 faces.
Terms: CC BY 4.0.
Coding: Female (0), Male (1); ages are bins (0-2, 3-9, 10-19 ... 60-69, more than 70); the race, one of seven, is the
group. The official parts are kept: train and val (there is no public test).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import BAD_LABEL, Problems
from agegender.dataset.sources.base import Source
from agegender.dataset.sources.bins import FAIRFACE, middle
from agegender.dataset.sources.tables import read_table

_COLUMNS = ("file", "age", "gender", "race")


class FairFace(Source):
    """FairFace's faces in bins of ages, with race as the group; see the module for layout and coding."""

    name = "FairFace"
    homepage = "https://github.com/joojs/fairface"
    folders = ("FairFace", "fairface-img-margin025-trainval", "fairface-img-margin125-trainval")
    hint = "dataset/FairFace/{train,val}/*.jpg and dataset/FairFace/fairface_label_{train,val}.csv"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the listed faces. Raises DataError where a table is missing or of another layout."""
        folder = self.folder(root)
        if folder is None:
            return
        for split in ("train", "val"):
            name = f"fairface_label_{split}.csv"
            for row in read_table(folder / name, _COLUMNS):
                path = folder / row["file"]
                if not self.is_there(path, problems, named_in=name):
                    continue
                age = FAIRFACE.get(row["age"])
                if age is None:
                    problems.add(
                        path, BAD_LABEL, f"age {row['age']!r} is none of {', '.join(FAIRFACE)}", source=self.name
                    )
                    continue
                sample = FaceSample(
                    path, -1, -1, self.name, group=row["race"], split=split, low=age[0], high=age[1]
                )  # fmt: skip
                yield from self.checked(sample, problems, gender=row["gender"], age=middle(age))
