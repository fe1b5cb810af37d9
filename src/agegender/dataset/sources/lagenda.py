"""LAGENDA, the benchmark of MiVOLO: https://github.com/WildChlamydia/MiVOLO

Layout: ``dataset/LAGENDA/lagenda_annotation.csv`` (columns ``img_name``, ``age``, ``gender``, ``face_x0`` ..
``face_y1``, ``person_x0`` .. ``person_y1``; ``img_name`` is a path from there, ``lag_benchmark/<id>.jpg``), photos of
several people: 67,159 of Open Images with 84,192 labelled faces.
Terms: the photos are under the Creative Commons licences of Open Images; see the page for the labels.
Coding: F = female (0), M = male (1), -1 = unknown. The box says whose face is meant. It is a benchmark: every face is
"test". People without a label, and labels without a face, are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import NO_BOX, NO_LABEL, Problems
from agegender.dataset.sources.base import Source
from agegender.dataset.sources.tables import read_box, read_table

TABLE = "lagenda_annotation.csv"
_BOX = ("face_x0", "face_y0", "face_x1", "face_y1")
_UNKNOWN = ("", "-1", "-1.0")


class Lagenda(Source):
    """LAGENDA's faces, for tests only; see the module for layout and coding."""

    name = "LAGENDA"
    homepage = "https://github.com/WildChlamydia/MiVOLO"
    folders = ("LAGENDA", "lagenda_benchmark")
    hint = f"dataset/LAGENDA/{TABLE} and dataset/LAGENDA/lag_benchmark/*.jpg"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the labelled faces, several of a photo. Raises DataError where the table is missing."""
        folder = self.folder(root)
        if folder is None:
            return
        for row in read_table(folder / TABLE, ("img_name", "age", "gender", *_BOX)):
            path = folder / row["img_name"]
            if row["age"] in _UNKNOWN and row["gender"] in _UNKNOWN:
                problems.add(path, NO_LABEL, "neither age nor gender", source=self.name)
                continue
            box = read_box(row, _BOX)
            if box is None:
                problems.add(path, NO_BOX, "only the person is marked", source=self.name)
                continue
            if self.is_there(path, problems, named_in=TABLE):
                sample = FaceSample(path, -1, -1, self.name, split="test", box=box)
                yield from self.checked(sample, problems, gender=row["gender"], age=row["age"])
