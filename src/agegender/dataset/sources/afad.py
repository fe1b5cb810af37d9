"""AFAD, the Asian Face Age Dataset: https://afad-dataset.github.io/

Layout: ``dataset/AFAD-Full/<age>/<111|112>/*.jpg`` as the tarball unpacks (also ``AFAD-Lite``, and either inside
``AFAD`` or ``tarball``; Lite is a part of Full, so Full wins where both lie there): loose face crops of 20 to 536
pixels from the RenRen network.
Terms: academic research only.
Coding: 111 = male (1), 112 = female (0).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import BAD_NAME, Problems
from agegender.dataset.sources.base import Source, image_files
from agegender.labels import FEMALE, MALE

_GENDERS = {"111": MALE, "112": FEMALE}
_PLACES = ("", "AFAD/", "tarball/", "tarball-master/", "tarball-lite/", "tarball-lite-master/")
_FOLDERS = tuple(f"{place}{part}" for part in ("AFAD-Full", "AFAD-Lite") for place in _PLACES)


class AFAD(Source):
    """AFAD crops; see the module for layout and coding."""

    name = "AFAD"
    homepage = "https://afad-dataset.github.io/"
    folders = (*_FOLDERS, "AFAD")
    hint = "dataset/AFAD-Full/<age>/<111 or 112>/*.jpg (the unpacked tarball; AFAD-Lite too)"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the faces; files in folders of another name go to ``problems``."""
        folder = self.folder(root)
        if folder is None:
            return
        for path in image_files(folder):
            age, code = path.parent.parent.name, path.parent.name
            if code not in _GENDERS or not age.isdigit():
                problems.add(path, BAD_NAME, "not <age>/<111 or 112>/<file>.jpg", source=self.name)
                continue
            sample = FaceSample(path, -1, -1, self.name)
            yield from self.checked(sample, problems, gender=_GENDERS[code], age=age)
