"""FG-NET: https://yanweifu.github.io/FG_NET_data/

Layout: ``dataset/FGNET/images/<person>A<age>.JPG`` (a letter follows where there are several of one age, the A may be
small): 1,002 scanned photos of 82 people aged 0 to 69.
Terms: research only.
Coding: ages only; the gender is not given and stays -1. The usual protocol leaves one person out at a time, so the
person is the fold as well as the subject.
"""

from __future__ import annotations

import re
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import Problems
from agegender.dataset.sources.named_files import NamedFiles
from agegender.labels import UNKNOWN


class FGNET(NamedFiles):
    """FG-NET's photos, ages only; see the module for layout and coding."""

    name = "FG-NET"
    homepage = "https://yanweifu.github.io/FG_NET_data/"
    folders = ("FGNET/images", "FG-NET/images", "FG_NET/images", "FGNET", "FG-NET", "FG_NET")
    hint = "dataset/FGNET/images/<person>A<age>.JPG"
    pattern = re.compile(r"(\d{3})A(\d{2})[a-z]?", re.IGNORECASE)
    form = "<person>A<age>.JPG"

    def face(self, path: Path, match: re.Match[str], problems: Problems) -> list[FaceSample]:
        """Return the face of one file."""
        sample = FaceSample(path, -1, -1, self.name, subject=f"fgnet{match[1]}", fold=match[1])
        return self.checked(sample, problems, gender=UNKNOWN, age=match[2])
