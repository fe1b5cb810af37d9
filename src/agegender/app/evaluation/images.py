"""Images that eval has to crop before it can score them: records in another template, photos of a list."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agegender.dataset.face_record import FaceSample
from agegender.errors import DataError, ImageError, RecordError, UsageError
from agegender.face.photo import read_photo
from agegender.labels import BIN_LABELS, MAX_AGE, UNKNOWN
from agegender.pipeline.batch import known_width
from agegender.pipeline.decode import Decoder
from agegender.recordio import RecordSet, unpack
from agegender.recordio.shards import set_json

Image = npt.NDArray[np.uint8]
# How much of a file is looked at to see whether it is text: its first bytes.
_START = 8192
# What train.csv says of a record beside its key.
ORIGIN_COLUMNS = ("path", "source", "subject", "group", "box", "score")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a face comes from, as far as that is written down: "" unknown.

    ``box`` is x1 y1 x2 y2 of the detected face in pixels of the photo, ``score`` the detection's, as in train.csv.
    """

    key: int
    path: str = ""
    source: str = ""
    subject: str = ""
    group: str = ""
    box: str = ""
    score: str = ""


class ImageSource(Protocol):
    """Images with labels that ``CroppedFaces`` crops. ``read`` is called from several threads."""

    def __len__(self) -> int: ...

    def read(self, row: int) -> tuple[Image, Sequence[float]]:
        """Return the image (h, w, 3) uint8 RGB and its labels: gender and age, or all five where a face may have a bin.

        Raises DataError naming it.
        """
        ...

    def name(self, row: int) -> str:
        """Return what messages call the image."""
        ...

    def needs_detector(self, row: int) -> bool:
        """Tell whether the face has to be found in the image first."""
        ...

    def origins(self) -> list[Origin]:
        """Return where each image comes from."""
        ...


class RecordImages:
    """Records whose faces are in another crop template than the model's."""

    def __init__(self, records: RecordSet, *, label_order: str) -> None:
        self._records = records
        self._swapped = label_order == "age,gender"
        self._label_width = known_width(binned=label_order == BIN_LABELS)

    def __len__(self) -> int:
        return len(self._records)

    def read(self, row: int) -> tuple[Image, Sequence[float]]:
        """Decode a record. Raises RecordError naming file and record."""
        try:
            header, body = unpack(self._records.read(row))
            image = Decoder().decode(body)
        except (ImageError, RecordError) as error:
            raise RecordError(f"{self.name(row)}: {error}") from error
        if len(header.label) < 2:
            raise RecordError(f"{self.name(row)}: it has {len(header.label)} labels instead of gender and age")
        gender, age = (float(value) for value in (header.label[1::-1] if self._swapped else header.label[:2]))
        if gender not in (-1, 0, 1) or not (age == -1 or 0 <= age <= MAX_AGE):
            raise RecordError(f"{self.name(row)}: gender {gender:g}, age {age:g} are no labels (see --label_order)")
        further = header.label[2 : self._label_width].tolist()
        return image, (gender, age, *further, *[float(UNKNOWN)] * (self._label_width - 2 - len(further)))

    def name(self, row: int) -> str:
        """Return file and record."""
        return f"{self._records.path_of(row)}: record {self._records.keys[row]}"

    def needs_detector(self, row: int) -> bool:
        """Always: nothing here is in the model's template."""
        return True

    def origins(self) -> list[Origin]:
        """Return what train.csv says of each record."""
        return record_origins(self._records)


def check_list(path: Path) -> None:
    """Raise UsageError where the file ``path`` is no text at all, such as a photo; what a list says isn't looked at."""
    with open(path, "rb") as file:
        start = file.read(_START)
    # UTF-16, as Excel may write it, is text with zeros in it: the list's reader says what to do.
    if b"\0" in start and not start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(
            f"--data {path} is neither records (a name in .rec) nor a list of photos (text: path,gender,age); "
            "infer.py --image tells the faces of one photo"
        )


class ListImages:
    """The photos of a list file; ``template`` is the model's, which some of them may be in already."""

    def __init__(self, samples: Sequence[FaceSample], *, template: str | None) -> None:
        self._samples = samples
        self._template = template
        self._label_width = known_width(binned=any(sample.low >= 0 for sample in samples))

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, row: int) -> tuple[Image, Sequence[float]]:
        """Read a photo. Raises ImageError naming it."""
        sample = self._samples[row]
        return read_photo(sample.path), sample.label[: self._label_width]

    def name(self, row: int) -> str:
        """Return the path."""
        return str(self._samples[row].path)

    def needs_detector(self, row: int) -> bool:
        """Tell whether the photo is not said to be a crop in the model's template."""
        return self._samples[row].template is None or self._samples[row].template != self._template

    def origins(self) -> list[Origin]:
        """Return path, source, subject and group of each line."""
        return [
            Origin(
                key=row,
                path=str(sample.path),
                source=sample.source,
                subject=sample.subject,
                group=sample.group,
            )
            for row, sample in enumerate(self._samples)
        ]


def record_origins(records: RecordSet) -> list[Origin]:
    """Return what ``train.csv`` beside the set says of each record (path, source, subject, group, box, score), by
    position."""
    known: dict[int, Origin] = {}
    path = set_json(Path(records.path)).with_suffix(".csv")
    if path.is_file():
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                try:
                    key = int(row["key"])
                except (KeyError, TypeError, ValueError):
                    raise DataError(f"{path}: {row} has no key") from None
                given = {name: row.get(name) or "" for name in ORIGIN_COLUMNS}
                known[key] = Origin(key=key, **given)
    keys: list[int] = records.keys.tolist()
    return [known.get(key) or Origin(key=key) for key in keys]
