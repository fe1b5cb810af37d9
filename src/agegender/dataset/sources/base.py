"""What a source is: one public dataset, known by its folder under ``dataset/`` and read without changing it."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import BAD_LABEL, MISSING, Problems
from agegender.dataset.sources.options import SourceOptions
from agegender.errors import LabelError
from agegender.labels import clean_age, clean_gender

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class Source(ABC):
    """One public dataset in its original layout.

    ``name`` is what ``--sources`` takes, ``template`` the crop template its images are in (None: loose photos),
    ``folders`` the names its folder may have under the data root, ``hint`` what to put where.
    """

    name: ClassVar[str]
    template: ClassVar[str | None] = None
    homepage: ClassVar[str]
    folders: ClassVar[tuple[str, ...]]
    hint: ClassVar[str]
    options = SourceOptions()

    def with_options(self, options: SourceOptions) -> Source:
        """Return the same source read with other choices."""
        source = copy.copy(self)
        source.options = options
        return source

    def folder(self, root: Path) -> Path | None:
        """Return the dataset's folder under ``root``, the first of ``folders`` that exists (in any case)."""
        return find_folder(root, self.folders)

    def found(self, root: Path) -> bool:
        """Tell whether the dataset lies under ``root``."""
        return self.folder(root) is not None

    @abstractmethod
    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the usable faces, sorted by name; what is unusable goes to ``problems``.

        Raises DataError when the dataset as a whole is damaged (a list is missing, two lists differ in length).
        """

    def is_there(self, path: Path, problems: Problems, *, named_in: str) -> bool:
        """Tell whether an image that the list ``named_in`` names exists; one that doesn't goes to ``problems``."""
        if os.path.isfile(path):  # noqa: PTH113 - for every face
            return True
        problems.add(path, MISSING, f"named in {named_in}", source=self.name)
        return False

    def checked(
        self, sample: FaceSample, problems: Problems, *, gender: str | float, age: str | float
    ) -> list[FaceSample]:
        """Return ``sample`` with cleaned labels as a list of one, or an empty list when a label is impossible."""
        try:
            labels = {"gender": clean_gender(gender), "age": clean_age(age)}
        except LabelError as error:
            problems.add(sample.path, BAD_LABEL, str(error), source=self.name)
            return []
        return [relabelled(sample, **labels)]


def relabelled(sample: FaceSample, *, gender: int, age: int) -> FaceSample:
    """Return a copy of ``sample`` with these labels (``dataclasses.replace`` is four times as slow)."""
    return FaceSample(
        sample.path,
        gender,
        age,
        sample.source,
        sample.subject,
        sample.group,
        sample.split,
        sample.template,
        sample.draw,
        sample.low,
        sample.high,
        sample.std,
        sample.fold,
        sample.box,
    )


def find_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the first folder of ``names`` (each may have several parts) under ``root``, ignoring case."""
    for name in names:
        folder: Path | None = root
        for part in name.split("/"):
            folder = _child(folder, part) if folder is not None else None
        if folder is not None:
            return folder
    return None


def _child(folder: Path, name: str) -> Path | None:
    if (folder / name).is_dir():
        return folder / name
    try:
        children = sorted(child for child in folder.iterdir() if child.name.lower() == name.lower() and child.is_dir())
    except OSError:
        return None  # no such folder: nothing lies in it
    return children[0] if children else None


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the image files below ``folder``, folder by folder, sorted by name; hidden ones are left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except NotADirectoryError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue  # also the ._name.jpg that macOS writes into archives
        if entry.is_dir():
            yield from image_files(Path(entry.path))
        elif entry.name.lower().endswith(IMAGE_SUFFIXES):
            yield Path(entry.path)
