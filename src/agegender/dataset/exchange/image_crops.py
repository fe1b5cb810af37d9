"""From the image of an entry to the JPEG of its record: here, or in other processes where the face is detected."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from agegender.cores import usable_cores
from agegender.dataset.crew import Chunk, Crew, MakeDetector
from agegender.dataset.crop import UNREADABLE, Crop, CropSettings, crop_face, is_finished
from agegender.dataset.exchange.entry import Entry
from agegender.dataset.face_record import FaceSample
from agegender.errors import RecordError
from agegender.face.photo import read_photo

# What goes to a process at a time: so many faces, or fewer where their images are large.
_CHUNK, _CHUNK_BYTES = 8, 16 << 20

Face = tuple[FaceSample, Entry]


class ImageCrops:
    """Crops images as ``settings`` say; ``make_detector`` opens a detector in each of ``workers`` processes."""

    def __init__(self, settings: CropSettings, workers: int | None, make_detector: MakeDetector | None) -> None:
        self.settings = settings
        self._workers = usable_cores() if workers is None else workers
        self._make_detector = make_detector

    def of(self, faces: Iterable[Face], *, detect: bool) -> Iterator[tuple[FaceSample, Crop]]:
        """Yield each sample with its crop, in order; ``detect`` says that their faces have to be found first.

        Raises RecordError for an image that can't be read.
        """
        for sample, crop in self._detected(faces) if detect else self._passed(faces):
            if crop.reason == UNREADABLE:
                raise RecordError(f"{sample.path}: {crop.reason} ({crop.detail})")
            yield sample, crop

    def _passed(self, faces: Iterable[Face]) -> Iterator[tuple[FaceSample, Crop]]:
        for number, (sample, entry) in enumerate(faces):
            if isinstance(entry.data, bytes) and is_finished(entry.data, self.settings.size):
                yield sample, Crop(entry.data)
            else:
                yield sample, crop_face(_drawn(sample, entry), number, settings=self.settings, detector=None)

    def _detected(self, faces: Iterable[Face]) -> Iterator[tuple[FaceSample, Crop]]:
        samples = deque[FaceSample]()  # of the chunks that are under way
        with Crew(self.settings, workers=self._workers, make_detector=self._make_detector) as crew:
            for _, crops in crew.crop(_chunks(faces, samples)):
                for crop in crops:
                    yield samples.popleft(), crop


def _chunks(faces: Iterable[Face], samples: deque[FaceSample]) -> Iterator[Chunk]:
    """Yield the faces with their images in chunks; ``samples`` gets each of them without."""
    first, size, part = 0, 0, list[FaceSample]()
    for sample, entry in faces:
        samples.append(sample)
        part.append(_drawn(sample, entry))
        size += _bytes(entry)
        if len(part) == _CHUNK or size >= _CHUNK_BYTES:
            yield Chunk(first, part, detect=True)
            first, size, part = first + len(part), 0, []
    if part:
        yield Chunk(first, part, detect=True)


def _bytes(entry: Entry) -> int:
    return entry.data.nbytes if isinstance(entry.data, np.ndarray) else len(entry.data or b"")


def _drawn(sample: FaceSample, entry: Entry) -> FaceSample:
    """Return the sample with its image, in a form that can go to another process."""
    data = entry.data
    assert data is not None
    if isinstance(data, bytes):
        return replace(sample, draw=partial(read_photo, data, name=str(sample.path)))
    return replace(sample, draw=partial(_same, data))


def _same(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return pixels
