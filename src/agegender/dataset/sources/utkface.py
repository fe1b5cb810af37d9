"""UTKFace: https://susanqq.github.io/UTKFace/

Layout: ``dataset/UTKFace/<age>_<gender>_<race>_<time>.jpg.chip.jpg`` (aligned chips of 200x200, which are in the
``utkface`` template) or ``<age>_<gender>_<race>_<time>.jpg`` (the photos in the wild), in any sub-folders.
Terms: non-commercial research only; the copyright stays with the photos' owners.
Coding: 0 = male and 1 = female there, turned round here. The race code (0 White, 1 Black, 2 Asian, 3 Indian, 4 other)
becomes the group. About ten files of the original archive lack a field; they are reported as badly named.
A split ``utkface_split.csv`` (columns ``file``, ``split``) beside the images or in the data root is honoured.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import SPLITS, FaceSample
from agegender.dataset.problems import BAD_NAME, Problems
from agegender.dataset.sources.base import Source, image_files
from agegender.errors import DataError
from agegender.labels import FEMALE, MALE

SPLIT_FILE = "utkface_split.csv"
_NAME = re.compile(r"(\d+)_([01])_([0-4])_\d+\.jpe?g(\.chip\.jpg)?", re.IGNORECASE)
_GENDERS = {"0": MALE, "1": FEMALE}


class UTKFace(Source):
    """UTKFace chips and photos; see the module for layout and coding."""

    name = "UTKFace"
    template = "utkface"
    homepage = "https://susanqq.github.io/UTKFace/"
    folders = ("UTKFace", "UTKFace_wild", "crop_part1")
    hint = "dataset/UTKFace/<age>_<gender>_<race>_<time>.jpg.chip.jpg (the aligned and cropped archive)"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the faces; badly named files go to ``problems``."""
        folder = self.folder(root)
        if folder is None:
            return
        splits = _read_splits(folder, root)
        for path in image_files(folder):
            match = _NAME.fullmatch(path.name)
            if match is None:
                problems.add(path, BAD_NAME, "not <age>_<gender>_<race>_<time>.jpg(.chip.jpg)", source=self.name)
                continue
            age, gender, race, chip = match.groups()
            sample = FaceSample(
                path,
                -1,
                -1,
                self.name,
                group=race,
                split=splits.get(path.name, ""),
                template=self.template if chip else None,
            )
            yield from self.checked(sample, problems, gender=_GENDERS[gender], age=age)


def _read_splits(folder: Path, root: Path) -> dict[str, str]:
    """Return file name -> split of the first split file found, empty where there is none."""
    for path in (folder / SPLIT_FILE, root / SPLIT_FILE):
        if path.is_file():
            break
    else:
        return {}
    splits = {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for column in ("file", "split"):
            if column not in (reader.fieldnames or ()):
                raise DataError(f"{path}: no column {column!r} (needs file, split)")
        for row in reader:
            if row["split"] not in SPLITS:
                raise DataError(f"{path}:{reader.line_num}: split {row['split']!r} is none of {', '.join(SPLITS)}")
            splits[row["file"]] = row["split"]
    return splits
