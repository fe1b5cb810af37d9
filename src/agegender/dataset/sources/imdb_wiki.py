"""IMDB-WIKI: https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/

Layout: ``dataset/imdb_crop/imdb.mat`` and ``dataset/wiki_crop/wiki.mat`` beside the folders ``00`` to ``99`` of images,
as ``imdb_crop.tar`` and ``wiki_crop.tar`` unpack (faces with 40% margin), or ``dataset/imdb`` and ``dataset/wiki`` with
the whole photos, in which the box of the file says whose face is meant. 460,723 and 62,328 faces.
Terms: academic research only; the copyright stays with the photos' owners.
Coding: 0 = female, 1 = male, NaN = unknown. The age is that on 1 July of the year in which the photo was taken; the
date of birth is a Matlab day number (366 more than Python's ordinal).
Left out and counted: photos without a face (its score is minus infinity), with a weak or a strong second face (see
``SourceOptions``), of unknown gender, and of ages outside 0..100. Nobody has checked the remaining labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import IMPOSSIBLE_AGE, LOW_SCORE, NO_GENDER, NO_SCORE, SECOND_FACE, Problems
from agegender.dataset.sources.base import Source
from agegender.dataset.sources.people import person
from agegender.errors import DataError
from agegender.labels import MAX_AGE

HOMEPAGE = "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/"
# Days from Matlab's day 0 (in the year 0) to Python's.
_MATLAB_DAYS = 366
_COLUMNS = ("dob", "photo_taken", "gender", "face_score", "second_face_score")


class _Row(NamedTuple):
    name: str
    path: str
    dob: float
    photo_taken: float
    gender: float
    face_score: float
    second_face_score: float
    box: tuple[float, ...] | None


class _Part(Source):
    """One of the two parts; see the module for layout and coding."""

    homepage = HOMEPAGE
    table: ClassVar[str]

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the usable faces, in the order of their paths. Raises DataError where the .mat can't be read."""
        folder = self.folder(root)
        if folder is None:
            return
        file = folder / f"{self.table}.mat"
        whole = not folder.name.lower().endswith("_crop")
        for row in sorted(_read(file, self.table), key=lambda row: row.path):
            path = folder / row.path
            fault = self._fault(row)
            if fault is not None:
                problems.add(path, *fault, source=self.name)
            elif self.is_there(path, problems, named_in=file.name):
                sample = FaceSample(path, -1, -1, self.name, subject=self.subject(row), box=row.box if whole else None)
                yield from self.checked(sample, problems, gender=row.gender, age=age_of(row.dob, row.photo_taken))

    def subject(self, row: _Row) -> str:
        """Return who is on the photo."""
        return person(row.name)

    def _fault(self, row: _Row) -> tuple[str, str] | None:
        """Return the reason and the detail for leaving a row out, None for one to keep."""
        score, second = row.face_score, row.second_face_score
        if not math.isfinite(score):
            return NO_SCORE, f"face_score {score:g}: the detector of the set's authors saw no face"
        if score < self.options.min_face_score:
            return LOW_SCORE, f"face_score {score:.2f} is below {self.options.min_face_score:g}"
        if math.isfinite(second) and second > self.options.max_second_face * score:
            return SECOND_FACE, f"second_face_score {second:.2f} beside {score:.2f}"
        if math.isnan(row.gender):
            return NO_GENDER, "gender nan"
        age = age_of(row.dob, row.photo_taken)
        if not 0 <= age <= MAX_AGE:
            return IMPOSSIBLE_AGE, f"born {birth(row.dob)}, photo of {row.photo_taken:g}"
        return None


class IMDB(_Part):
    """Actors' photos from IMDb. The subject is IMDb's number of the person (``nm0000001``)."""

    name = "IMDB"
    table = "imdb"
    folders = ("imdb_crop", "IMDB-WIKI/imdb_crop", "imdb", "IMDB-WIKI/imdb")
    hint = "dataset/imdb_crop/imdb.mat and dataset/imdb_crop/00..99/*.jpg (imdb_crop.tar; or dataset/imdb, uncropped)"

    def subject(self, row: _Row) -> str:
        """Return IMDb's number of the person, which IMDB-clean has too."""
        return imdb_number(row.path) or person(row.name)


class WIKI(_Part):
    """Profile photos from Wikipedia."""

    name = "WIKI"
    table = "wiki"
    folders = ("wiki_crop", "IMDB-WIKI/wiki_crop", "wiki", "IMDB-WIKI/wiki")
    hint = "dataset/wiki_crop/wiki.mat and dataset/wiki_crop/00..99/*.jpg (wiki_crop.tar; or dataset/wiki, uncropped)"


def age_of(dob: float, photo_taken: float) -> int:
    """Return the whole years from ``dob`` (Matlab day number) to 1 July of the year ``photo_taken``; -999: unknown."""
    born = birth(dob)
    if born is None or not math.isfinite(photo_taken):
        return -999
    return int(photo_taken) - born.year - ((born.month, born.day) > (7, 1))


def birth(dob: float) -> date | None:
    """Return the day of a Matlab day number, None for one before the year 1 or after the year 9999."""
    if not math.isfinite(dob):
        return None
    try:
        return date.fromordinal(int(dob) - _MATLAB_DAYS)
    except (ValueError, OverflowError):
        return None


def imdb_number(path: str) -> str:
    """Return the ``nm0000001`` of a file name such as ``01/nm0000001_rm124825600_1899-5-10_1968.jpg``, else ''."""
    number = path.rpartition("/")[2].partition("_")[0]
    return number if number.startswith("nm") and number[2:].isdigit() else ""


def _read(file: Path, table: str) -> list[_Row]:
    """Return the rows of a .mat. Raises DataError where it is missing or of another layout."""
    from scipy.io import loadmat  # type: ignore[import-untyped]

    try:
        found: Any = loadmat(str(file), variable_names=[table])[table][0, 0]
        columns = [found[name].ravel().astype(float).tolist() for name in _COLUMNS]
        boxes = [_box(box.ravel().tolist()) for box in found["face_location"].ravel()]
        names, paths = ([_text(cell) for cell in found[name].ravel()] for name in ("name", "full_path"))
        rows = zip(names, paths, *columns, boxes, strict=True)
        return [_Row(*row) for row in rows]
    except FileNotFoundError:
        raise DataError(f"{file} is missing; it holds the labels, and comes with the images") from None
    except (KeyError, IndexError, ValueError, TypeError, NotImplementedError, AttributeError) as error:
        raise DataError(f"{file}: not readable as the table {table!r} of IMDB-WIKI ({error})") from error


def _box(values: list[float]) -> tuple[float, ...] | None:
    """Return x1, y1, x2, y2; None for what is no box."""
    if len(values) != 4 or not (values[0] < values[2] and values[1] < values[3]):
        return None
    return tuple(values)


def _text(cell: Any) -> str:
    """Return the text of a Matlab cell; an empty one is an array without elements."""
    return str(cell.ravel()[0]) if cell.size else ""
