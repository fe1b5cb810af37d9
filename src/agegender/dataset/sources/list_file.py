"""A list file of one's own as a source (``--list FILE``): ``path,gender,age``; see ``dataset.list_file``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.list_file import read_list, source_name
from agegender.dataset.problems import MISSING, Problems
from agegender.dataset.sources.base import Source


class ListSource(Source):
    """The faces of one list file. Images named there that do not exist go to the problems."""

    homepage = ""
    folders = ()
    hint = "--list FILE with lines path,gender,age (0 = female, 1 = male, -1 = unknown)"

    def __init__(self, file: Path | str) -> None:
        self.file = Path(file)
        self.name = source_name(self.file)  # type: ignore[misc]  # each list is a source with a name of its own

    def found(self, root: Path) -> bool:
        """Tell whether the list exists; it does not depend on ``root``."""
        return self.file.is_file()

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the list's faces in its order. Raises LabelError naming file and line where it can't be read."""
        for sample in read_list(self.file, problems=problems):
            if sample.path.is_file():
                yield sample
            else:
                problems.add(sample.path, MISSING, f"named in {self.file}", source=sample.source)
