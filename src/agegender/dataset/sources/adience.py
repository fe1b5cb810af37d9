"""Adience: https://talhassner.github.io/home/projects/Adience/Adience-data.html

Layout: ``dataset/Adience/fold_{0..4}_data.txt`` (tab-separated: user_id, original_image, face_id, age, gender, box and
pose) with ``aligned/<user_id>/landmark_aligned_face.<face_id>.<original_image>`` or, with ``adience_images`` raw,
``faces/<user_id>/coarse_tilt_aligned_face.<face_id>.<original_image>``: 19,370 faces of Flickr albums.
Terms: research only; the photos are under Creative Commons licences of their owners.
Coding: f = female (0), m = male (1), u or empty = unknown. Ages are bins (``bins.ADIENCE_8``; with ``adience_bins`` 12
also four that fill gaps). A single age and an odd bin that lie inside one of the bins are put there; any other age is
left out (the gender stays) and counted, as ``None`` is.
The five folds share no user: the fold is kept, and the user is the subject.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import NO_LABEL, Problems
from agegender.dataset.sources.base import Source
from agegender.dataset.sources.bins import ADIENCE_8, ADIENCE_12, Bin, bin_of, middle
from agegender.dataset.sources.tables import first_of, read_table
from agegender.labels import FEMALE, MALE, UNKNOWN

FOLDS = 5
_COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")
_IMAGES = {"aligned": ("aligned", "landmark_aligned_face"), "raw": ("faces", "coarse_tilt_aligned_face")}
_AGE = re.compile(r"\(?\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)?")
_GENDERS = {"f": FEMALE, "m": MALE, "u": UNKNOWN, "": UNKNOWN}


class Adience(Source):
    """Adience's faces in bins of ages; see the module for layout and coding."""

    name = "Adience"
    homepage = "https://talhassner.github.io/home/projects/Adience/Adience-data.html"
    folders = (
        "Adience",
        "AdienceBenchmarkGenderAndAgeClassification",
        "AdienceBenchmarkOfUnfilteredFacesForGenderAndAge",
    )
    hint = "dataset/Adience/fold_{0..4}_data.txt and dataset/Adience/aligned/<user>/*.jpg (or faces/, --adience raw)"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the faces, fold by fold. Raises DataError where a fold or the folder of the images is missing."""
        folder = self.folder(root)
        if folder is None:
            return
        place, prefix = _IMAGES[self.options.adience_images]
        images = first_of(folder, (place,), what=f"Adience's {place}.tar.gz unpacks to it (--adience aligned or raw)")
        bins = ADIENCE_12 if self.options.adience_bins == 12 else ADIENCE_8
        for fold in range(FOLDS):
            name = f"fold_{fold}_data.txt"
            table = first_of(folder, (name, f"folds/{name}"), what="Adience keeps the labels of a fold there")
            for row in read_table(table, _COLUMNS, delimiter="\t"):
                path = images / row["user_id"] / f"{prefix}.{row['face_id']}.{row['original_image']}"
                if self.is_there(path, problems, named_in=name):
                    yield from self._face(path, row, str(fold), bins, problems)

    def _face(
        self, path: Path, row: dict[str, str], fold: str, bins: tuple[Bin, ...], problems: Problems
    ) -> Iterator[FaceSample]:
        age, what = read_age(row["age"], bins)
        gender = _GENDERS.get(row["gender"].lower())
        if age is None and gender in (UNKNOWN, None):
            detail = f"age {row['age']!r}, gender {row['gender']!r}"
            problems.add(path, NO_LABEL, detail, source=self.name)
            return
        if what:
            problems.note(what, source=self.name)
        low, high = age or (UNKNOWN, UNKNOWN)
        sample = FaceSample(path, -1, -1, self.name, subject=row["user_id"], fold=fold, low=low, high=high)
        known = row["gender"] if gender is None else gender
        yield from self.checked(sample, problems, gender=known, age=UNKNOWN if age is None else middle(age))


def read_age(text: str, bins: tuple[Bin, ...]) -> tuple[Bin | None, str]:
    """Return the bin that an age of Adience's lists belongs to, None for none, and what was done to it, if anything."""
    if text in ("None", ""):
        return None, "age unknown"
    match = _AGE.fullmatch(text)
    if match is None:
        return None, "age not readable"
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    found = bin_of(first, last, bins)
    if found == (first, last):
        return found, ""
    kind = "odd bin" if match[2] else "single age"
    return found, f"{kind} put into its bin" if found else f"{kind} left out"
