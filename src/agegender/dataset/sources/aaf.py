"""AAF, the All-Age-Faces Dataset: https://github.com/JingchunCheng/All-Age-Faces-Dataset

Layout: ``dataset/All-Age-Faces Dataset/original images/<number>A<age>.jpg`` and ``image sets/{train,val}.txt`` (lines
``<number>A<age>.jpg <gender>``, with or without the ending): 13,322 faces, mostly of Asian people, aged 2 to 80, each
of another person. The aligned faces (the archive spells the folder ``aglined faces``) are used where the originals are
not there.
Terms: research only.
Coding: 0 = female, 1 = male, as ours. The official parts are kept: train and val.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import BAD_NAME, Problems
from agegender.dataset.sources.base import Source
from agegender.dataset.sources.tables import first_of, read_words
from agegender.errors import DataError

_IMAGES = ("original images", "aglined faces", "aligned faces", "original_images")
_NAME = re.compile(r"\d{5}A(\d{2})")


class AllAgeFaces(Source):
    """AAF's faces; see the module for layout and coding."""

    name = "AAF"
    homepage = "https://github.com/JingchunCheng/All-Age-Faces-Dataset"
    folders = ("All-Age-Faces Dataset", "All-Age-Faces-Dataset", "AAF/All-Age-Faces Dataset", "AAF")
    hint = "dataset/All-Age-Faces Dataset/original images/*.jpg and its image sets/{train,val}.txt"

    def samples(self, root: Path, problems: Problems) -> Iterator[FaceSample]:
        """Yield the listed faces. Raises DataError where the images or a list are missing or of another layout."""
        folder = self.folder(root)
        if folder is None:
            return
        images = first_of(folder, _IMAGES, what="the archive keeps the photos there")
        for split in ("train", "val"):
            table = folder / "image sets" / f"{split}.txt"
            for line, words in read_words(table, what="AAF keeps its labels there"):
                if len(words) != 2:
                    raise DataError(f"{table}:{line}: {len(words)} words, expected <file> <gender>")
                stem = words[0].removesuffix(".jpg")
                path = images / f"{stem}.jpg"
                match = _NAME.fullmatch(stem)
                if match is None:
                    problems.add(path, BAD_NAME, "not <number>A<age>.jpg", source=self.name)
                elif self.is_there(path, problems, named_in=f"image sets/{split}.txt"):
                    sample = FaceSample(path, -1, -1, self.name, split=split)
                    yield from self.checked(sample, problems, gender=words[1], age=match[1])
