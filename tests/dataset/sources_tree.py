"""Trees in the datasets' layouts: files are only named, their bytes do not matter here."""

from __future__ import annotations

from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import Problems
from agegender.dataset.sources import SOURCES, SourceOptions


def touch(path: Path) -> None:
    """Make a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"image")


def write(path: Path, *lines: str) -> None:
    """Make a text file of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(name: str, root: Path, **options: object) -> tuple[dict[str, FaceSample], Problems]:
    """Return the faces of a source by file name, and what it left out."""
    problems = Problems()
    source = SOURCES[name].with_options(SourceOptions(**options))  # type: ignore[arg-type]
    samples = list(source.samples(root, problems))
    assert {sample.source for sample in samples} <= {name}
    return {sample.path.name: sample for sample in samples}, problems
