"""MTFL, Multi-Task Facial Landmarks: https://mmlab.ie.cuhk.edu.hk/projects/TCDCN.html

Layout: ``dataset/MTFL/{training,testing}.txt`` and the images that they name (``lfw_5590``, ``net_7876``, ``AFLW``). A
line is the path (the lists write ``\\`` in some), five x, five y, then gender, smile, glasses and pose: 12,995 faces.
Terms: research only; AFLW's photos have terms of their own.
Coding: gender only: 1 = male, 2 = female; the age stays -1. The official test list is "test".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import BAD_LABEL, Problems
from agegender.dataset.sources.base import Source
from agegender.dataset.sources.tables import read_words
from agegender.errors import DataError
from agegender.labels import FEMALE, MALE, UNKNOWN

_PARTS = {"training": "", "testing": "test"}
_GENDERS = {"1": MALE, "2": FEMALE}
_WORDS, _GENDER = 15, 11


class MTFL(Source):
    """MTFL's faces, gender only; see the module for layout and coding."""

    name = "MTFL"
    homepage = "https://mmlab.ie.cuhk.edu.hk/projects/TCDCN.html"
    folders = ("MTFL",)
    hint = "dataset/MTFL/{training,testing}.txt and the folders lfw_5590, net_7876 and AFLW beside them"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the listed faces. Raises DataError where a list is missing or a line of another layout."""
        folder = self.folder(root)
        if folder is None:
            return
        for part, split in _PARTS.items():
            table = folder / f"{part}.txt"
            for line, words in read_words(table, what="MTFL keeps its labels there"):
                if len(words) != _WORDS:
                    raise DataError(
                        f"{table}:{line}: {len(words)} words, expected {_WORDS} (path, 10 numbers, 4 labels)"
                    )
                path = folder / words[0].replace("\\", "/")
                if words[_GENDER] not in _GENDERS:
                    problems.add(path, BAD_LABEL, f"gender {words[_GENDER]!r} is neither 1 nor 2", source=self.name)
                elif self.is_there(path, problems, named_in=table.name):
                    sample = FaceSample(path, -1, -1, self.name, split=split)
                    yield from self.checked(sample, problems, gender=_GENDERS[words[_GENDER]], age=UNKNOWN)
