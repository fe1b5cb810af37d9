"""APPA-REAL: https://chalearnlap.cvc.uab.cat/dataset/26/description/

Layout: ``dataset/appa-real-release/gt_avg_{train,valid,test}.csv`` (columns ``file_name``, ``num_ratings``,
``apparent_age_avg``, ``apparent_age_std``, ``real_age``) and ``{train,valid,test}/<file_name>_face.jpg``, the face cut
out with 40% margin and turned upright, beside the photo ``<file_name>`` itself: 7,591 faces. ``allcategories_*.csv``
(columns ``file``, ``gender``, ``race`` ...), which a later download adds, is used where it lies there.
Terms: research only.
Coding: both the real age and the mean of about 38 estimates are known; ``appa_age`` chooses. With ``apparent`` the
deviation of the estimates is kept too. Without ``allcategories`` the gender is unknown. All official parts are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import BAD_LABEL, Problems
from agegender.dataset.sources.base import Source
from agegender.dataset.sources.tables import read_table
from agegender.labels import UNKNOWN

_PARTS = {"train": "train", "valid": "val", "test": "test"}
_COLUMNS = ("file_name", "apparent_age_avg", "apparent_age_std", "real_age")


class AppaReal(Source):
    """APPA-REAL's faces by real or apparent age; see the module for layout and coding."""

    name = "APPA-REAL"
    homepage = "https://chalearnlap.cvc.uab.cat/dataset/26/description/"
    folders = ("appa-real-release", "appa-real", "APPA-REAL", "appa_real")
    hint = "dataset/appa-real-release/gt_avg_{train,valid,test}.csv and {train,valid,test}/*.jpg_face.jpg beside them"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the listed faces. Raises DataError where a table is missing or of another layout."""
        folder = self.folder(root)
        if folder is None:
            return
        for part, split in _PARTS.items():
            name = f"gt_avg_{part}.csv"
            known = _categories(folder / f"allcategories_{part}.csv")
            for row in read_table(folder / name, _COLUMNS):
                file = row["file_name"]
                path = folder / part / f"{file}_face.jpg"
                if not path.is_file() and (folder / part / file).is_file():
                    path = folder / part / file
                if self.is_there(path, problems, named_in=name):
                    gender, race = known.get(file, ("", ""))
                    sample = FaceSample(path, -1, -1, self.name, group=race, split=split)
                    yield from self._labelled(sample, row, gender, problems)

    def _labelled(
        self, sample: FaceSample, row: dict[str, str], gender: str, problems: Problems
    ) -> Iterator[FaceSample]:
        try:
            apparent, deviation = float(row["apparent_age_avg"]), float(row["apparent_age_std"])
        except ValueError:
            detail = f"apparent age {row['apparent_age_avg']!r}, deviation {row['apparent_age_std']!r}"
            problems.add(sample.path, BAD_LABEL, detail, source=self.name)
            return
        if self.options.appa_age == "real":
            yield from self.checked(sample, problems, gender=gender, age=row["real_age"])
            return
        sample = replace(sample, std=deviation if deviation > 0 else UNKNOWN)
        yield from self.checked(sample, problems, gender=gender, age=round(apparent))


def _categories(path: Path) -> dict[str, tuple[str, str]]:
    """Return file -> gender and race; empty where the table is not there."""
    if not path.is_file():
        return {}
    return {row["file"]: (row["gender"], row["race"]) for row in read_table(path, ("file", "gender", "race"))}
