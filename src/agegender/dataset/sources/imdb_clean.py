"""IMDB-clean: https://github.com/yiminglin-ai/imdb-clean

Layout: ``imdb_{train,valid,test}_new_1024.csv`` in ``dataset/imdb-clean`` or its ``csvs`` (columns ``filename``,
``age``, ``gender``, the box ``x_min`` .. ``y_max``, the pose of the head), and the images that its script cuts out of
IMDB-WIKI's photos in ``data/imdb-clean-1024`` or ``imdb-clean-1024``.
Terms: the labels are MIT; the photos are IMDB-WIKI's, for academic research only.
Coding: F = female (0), M = male (1). All three official parts are kept: train, val (valid), test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import Problems
from agegender.dataset.sources.base import Source
from agegender.dataset.sources.imdb_wiki import imdb_number
from agegender.dataset.sources.tables import first_of, read_box, read_table

_PARTS = {"train": "train", "valid": "val", "test": "test"}
_TABLES = ("csvs", ".")
_IMAGES = ("data/imdb-clean-1024", "imdb-clean-1024/imdb-clean-1024", "imdb-clean-1024", "images")
_BOX = ("x_min", "y_min", "x_max", "y_max")


class IMDBClean(Source):
    """IMDB-clean's crops; see the module for layout and coding."""

    name = "IMDB-clean"
    homepage = "https://github.com/yiminglin-ai/imdb-clean"
    folders = ("imdb-clean", "imdb_clean", "imdb-clean-master", "IMDB-Clean")
    hint = "dataset/imdb-clean/csvs/imdb_{train,valid,test}_new_1024.csv and dataset/imdb-clean/data/imdb-clean-1024/"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the listed faces. Raises DataError where a table or the images are missing."""
        folder = self.folder(root)
        if folder is None:
            return
        images = first_of(folder, _IMAGES, what="IMDB-clean's script run_all.sh makes it from IMDB-WIKI's photos")
        for part, split in _PARTS.items():
            name = f"imdb_{part}_new_1024.csv"
            table = first_of(folder, [f"{place}/{name}" for place in _TABLES], what="IMDB-clean keeps its labels there")
            for row in read_table(table, ("filename", "age", "gender")):
                path = images / row["filename"]
                if self.is_there(path, problems, named_in=name):
                    sample = FaceSample(
                        path, -1, -1, self.name, subject=imdb_number(row["filename"]), split=split,
                        box=read_box(row, _BOX),
                    )  # fmt: skip
                    yield from self.checked(sample, problems, gender=row["gender"], age=row["age"])
