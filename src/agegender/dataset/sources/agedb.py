"""AgeDB: https://ibug.doc.ic.ac.uk/resources/agedb/

Layout: ``dataset/AgeDB/<number>_<Name>_<age>_<m|f>.jpg``, 16,488 loose photos of 568 famous people, in any
sub-folders. The name is the subject, so that a person stays on one side of the split.
Terms: non-commercial research only, on request from the authors.
Coding: m = male (1), f = female (0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import BAD_NAME, Problems
from agegender.dataset.sources.base import Source, image_files

_NAME = re.compile(r"\d+_(.+)_(\d+)_([mf])", re.IGNORECASE)


class AgeDB(Source):
    """AgeDB photos; see the module for layout and coding."""

    name = "AgeDB"
    homepage = "https://ibug.doc.ic.ac.uk/resources/agedb/"
    folders = ("AgeDB",)
    hint = "dataset/AgeDB/<number>_<Name>_<age>_<m|f>.jpg"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the faces; badly named files go to ``problems``."""
        folder = self.folder(root)
        if folder is None:
            return
        for path in image_files(folder):
            match = _NAME.fullmatch(path.stem)
            if match is None:
                problems.add(path, BAD_NAME, "not <number>_<Name>_<age>_<m|f>.jpg", source=self.name)
                continue
            subject, age, gender = match.groups()
            sample = FaceSample(path, -1, -1, self.name, subject=subject)
            yield from self.checked(sample, problems, gender=gender, age=age)
