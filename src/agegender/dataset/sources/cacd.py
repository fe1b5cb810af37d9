"""CACD, the Cross-Age Celebrity Dataset: https://bcsiriuschen.github.io/CARC/

Layout: ``dataset/CACD2000/<age>_<Name>_<number>.jpg``, 163,446 photos of 2,000 celebrities aged 14 to 62. The features
of ``celebrity2000.mat`` (HDF5) are not needed.
Terms: research only; the copyright stays with the photos' owners.
Coding: ages only (year of the photo minus year of birth, so up to a year too high, and often wrong: nobody checked
them); the gender is not given and stays -1. The name is the subject.
"""

from __future__ import annotations

import re
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import Problems
from agegender.dataset.sources.named_files import NamedFiles
from agegender.dataset.sources.people import person
from agegender.labels import UNKNOWN


class CACD(NamedFiles):
    """CACD's photos, ages only; see the module for layout and coding."""

    name = "CACD"
    homepage = "https://bcsiriuschen.github.io/CARC/"
    folders = ("CACD2000", "CACD/CACD2000", "CACD")
    hint = "dataset/CACD2000/<age>_<Name>_<number>.jpg (CACD2000.tar.gz)"
    pattern = re.compile(r"(\d+)_(.+)_(\d+)")
    form = "<age>_<Name>_<number>.jpg"

    def face(self, path: Path, match: re.Match[str], problems: Problems) -> list[FaceSample]:
        """Return the face of one file."""
        sample = FaceSample(path, -1, -1, self.name, subject=person(match[2]))
        return self.checked(sample, problems, gender=UNKNOWN, age=match[1])
