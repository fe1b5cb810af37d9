"""Sets that keep their labels in the names of the files: CACD and FG-NET."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import BAD_NAME, Problems
from agegender.dataset.sources.base import Source, image_files


class NamedFiles(Source):
    """A set of files called by ``pattern``; ``form`` says the same to people."""

    pattern: ClassVar[re.Pattern[str]]
    form: ClassVar[str]

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the faces; badly named files go to ``problems``."""
        folder = self.folder(root)
        if folder is None:
            return
        for path in image_files(folder):
            match = self.pattern.fullmatch(path.stem)
            if match is None:
                problems.add(path, BAD_NAME, f"not {self.form}", source=self.name)
                continue
            yield from self.face(path, match, problems)

    @abstractmethod
    def face(self, path: Path, match: re.Match[str], problems: Problems) -> list[FaceSample]:
        """Return the face of a file whose name matches, none where its labels are impossible."""
