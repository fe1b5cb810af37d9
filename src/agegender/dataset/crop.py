"""From one face of a source to the JPEG of its record: passed through, resized, or found in the photo and warped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agegender.dataset.face_record import FaceSample
from agegender.errors import ImageError
from agegender.face.align import Border, warp
from agegender.face.detector import Detection, Detector, intersection_over_union, largest_central
from agegender.face.photo import encode_jpeg, read_photo
from agegender.face.templates import Template
from agegender.resize import resize_crop

# Reasons for skipping a face, beside those of the sources.
UNREADABLE = "unreadable image"
NO_FACE = "no face found"
OTHER_TEMPLATE = "other template"

# The face that a photo is of is looked for in two steps, down to these shares of the photo's shorter side: a chip or
# a portrait costs a few levels of the detector's pyramid, and only where nothing large is found is more looked at.
SEARCH_SHARES = (0.3, 0.1)

# A box that a set gives may be another detector's: what is looked at around it, and how much of it a face must share.
BOX_MARGIN, LEAST_OVERLAP = 0.5, 0.2

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)
# Larger than nearly all aligned crops, small enough to be allocated cheaply.
_FIRST_READ = 64 << 10
_START, _END = b"\xff\xd8", b"\xff\xd9"
# Baseline and extended sequential frames: what every JPEG decoder reads, also those of cameras and of GPUs.
_SEQUENTIAL = (0xC0, 0xC1)
_FRAMES = frozenset((*range(0xC0, 0xD0),)) - {0xC4, 0xC8, 0xCC}
_EXIF = 0xE1
# By size, how the last finished file began, up to its frame's size and components: one encoder's files begin alike.
_finished_starts: dict[int, bytes] = {}


@dataclass(frozen=True, kw_only=True)
class CropSettings:
    """How crops look: ``template`` at ``size`` x ``size`` pixels, JPEG ``quality``, ``border`` outside of a photo.

    ``min_face`` is the smallest face in pixels that is looked for; ``seed`` gives the colours of a random border.
    """

    template: Template
    size: int
    quality: int
    border: Border
    min_face: float
    seed: int


class Crop(NamedTuple):
    """The record's JPEG, or why there is none. ``box`` is x1, y1, x2, y2 in the photo where a face was detected."""

    body: bytes | None
    reason: str = ""
    detail: str = ""
    box: tuple[float, ...] = ()
    score: float | None = None


def needs_detector(sample: FaceSample, settings: CropSettings) -> bool:
    """Tell whether the face has to be found in its image first."""
    return sample.template != settings.template.name


def crop_face(sample: FaceSample, number: int, *, settings: CropSettings, detector: Detector | None) -> Crop:
    """Return the record body of one face; ``number`` is its place in the job, for a random border's colour.

    Errors of the image become the crop's reason; nothing is raised for them.
    """
    try:
        loose = needs_detector(sample, settings)
        if sample.draw is not None:
            image = sample.draw()
        else:
            data = _read(sample)
            if not loose and is_finished(data, settings.size):
                return Crop(data)
            image = read_photo(data, name=str(sample.path))
        if loose:
            return _find_and_warp(sample, number, image, settings, detector)
        return Crop(encode_jpeg(resize_crop(image, (settings.size, settings.size)), settings.quality))
    except ImageError as error:
        return Crop(None, UNREADABLE, str(error))


def crop_faces(
    samples: Sequence[FaceSample], first: int, *, settings: CropSettings, detector: Detector | None
) -> list[Crop]:
    """Return the crops of samples that are numbered from ``first``."""
    return [
        crop_face(sample, number, settings=settings, detector=detector) for number, sample in enumerate(samples, first)
    ]


def is_ready(sample: FaceSample, settings: CropSettings) -> bool:
    """Tell whether the file of a face will pass through as it is; False also where it can't be read."""
    if sample.draw is not None or needs_detector(sample, settings):
        return False
    try:
        return is_finished(_read(sample), settings.size)
    except ImageError:
        return False


def is_finished(data: bytes, size: int) -> bool:
    """Tell whether a file is a record body as it is: a whole, upright, sequential colour JPEG of ``size`` x ``size``.

    Only markers are read. Progressive, grayscale and CMYK files, and those with EXIF data, are decoded and encoded.
    """
    if not data.startswith(_START) or not data.endswith(_END):
        return False
    known = _finished_starts.get(size)
    if known is not None and data.startswith(known):
        return True
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in _FRAMES:
            height, width = data[position + 5] << 8 | data[position + 6], data[position + 7] << 8 | data[position + 8]
            finished = marker in _SEQUENTIAL and width == height == size and data[position + 9] == 3
            if finished:
                _finished_starts[size] = data[: position + 10]
            return finished
        if marker == _EXIF and data[position + 4 : position + 8] == b"Exif":
            return False
        position += 2 + (data[position + 2] << 8 | data[position + 3])
    return False


def find_face(image: npt.NDArray[np.uint8], detector: Detector, *, min_face: float) -> Detection | None:
    """Return the largest central face of ``image`` (H, W, 3) uint8 RGB, None where there is none.

    Faces down to 0.1 of the shorter side and ``min_face`` pixels are looked for, large ones first.
    """
    side = min(image.shape[:2])
    smallest = dict.fromkeys(max(float(min_face), share * side) for share in SEARCH_SHARES)
    for size in smallest:
        face = largest_central(detector.detect(image, min_face=size), image.shape)
        if face is not None:
            return face
    return None


def find_face_in(
    image: npt.NDArray[np.uint8], box: Sequence[float], detector: Detector, *, min_face: float
) -> Detection | None:
    """Return the face of ``image`` (H, W, 3) uint8 RGB that ``box`` (x1, y1, x2, y2) marks, None where there is none.

    It is looked for in the box and ``BOX_MARGIN`` of its side around; of several the one that shares most with it.
    """
    x1, y1, x2, y2 = box
    around = BOX_MARGIN * max(x2 - x1, y2 - y1)
    left, top = max(0, int(x1 - around)), max(0, int(y1 - around))
    part = image[top : max(0, int(y2 + around)), left : max(0, int(x2 + around))]
    if min(part.shape[:2]) < 1:
        return None
    shift = np.array([left, top], np.float32)
    wanted = np.asarray(box, np.float64)
    smallest = max(min_face, SEARCH_SHARES[-1] * min(part.shape[:2]))
    found = [
        Detection(face.box + np.tile(shift, 2), face.landmarks + shift, face.score)
        for face in detector.detect(np.ascontiguousarray(part), min_face=smallest)
    ]
    best = max(found, key=lambda face: intersection_over_union(face.box, wanted), default=None)
    return best if best is not None and intersection_over_union(best.box, wanted) >= LEAST_OVERLAP else None


def _read(sample: FaceSample) -> bytes:
    try:
        # Half the time of open(): it matters where files pass through.
        descriptor = os.open(sample.path, _READ)
        try:
            data = os.read(descriptor, _FIRST_READ)
            if len(data) < _FIRST_READ:
                return data
            with open(descriptor, "rb", closefd=False) as file:
                return data + file.read()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ImageError(f"{sample.path}: can't be read ({error.strerror or error})") from error


def _find_and_warp(
    sample: FaceSample,
    number: int,
    image: npt.NDArray[np.uint8],
    settings: CropSettings,
    detector: Detector | None,
) -> Crop:
    if detector is None:
        raise ValueError(f"{sample.path} is not in the template {settings.template.name!r}: a detector is needed")
    if sample.box is None:
        face = find_face(image, detector, min_face=settings.min_face)
    else:
        face = find_face_in(image, sample.box, detector, min_face=settings.min_face)
    if face is None:
        if sample.box is not None:
            return Crop(None, NO_FACE, f"in the box {' '.join(f'{value:g}' for value in sample.box)}")
        if sample.template is None:
            return Crop(None, NO_FACE, f"in a photo of {image.shape[1]}x{image.shape[0]}")
        return Crop(None, OTHER_TEMPLATE, f"cropped as {sample.template!r}, and no face is found to warp")
    rng = np.random.default_rng((settings.seed, number))
    try:
        crop = warp(
            image, face.landmarks, settings.template, size=settings.size, border=settings.border, rng=rng
        )  # fmt: skip
    except ImageError as error:
        return Crop(None, NO_FACE, str(error))
    box = tuple(round(float(value), 1) for value in face.box)
    return Crop(encode_jpeg(crop, settings.quality), box=box, score=round(face.score, 4))
