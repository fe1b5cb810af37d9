"""Annotated photos: a box and a few words per face."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from agegender.deploy.face import Face
from agegender.typeface import typeface_path

Photo = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Area = tuple[int, int, int, int]  # left, top, right, bottom

# Blue and orange of Okabe and Ito's palette: apart for every kind of colour blindness, and in print.
COLOURS: dict[str | None, Colour] = {"male": (0, 114, 178), "female": (230, 159, 0), None: (130, 130, 130)}
_INK: dict[str | None, Colour] = {"male": (255, 255, 255), "female": (0, 0, 0), None: (255, 255, 255)}
_WORDS = {"en": {"male": "male", "female": "female"}, "zh": {"male": "男", "female": "女"}}
_SMALLEST_TEXT = 10


def draw_faces(image: Photo, faces: Sequence[Face], *, lang: str = "en") -> Photo:
    """Return a copy of ``image`` (H, W, 3) uint8 RGB with a box around each face and its gender and age beside it.

    Lines and letters grow with the photo and the face; no label leaves the picture, and labels avoid other faces and
    each other where there is room. ``lang`` is "en" or "zh".
    """
    picture = np.ascontiguousarray(image).copy()
    line = max(1, round(min(image.shape[:2]) / 300))
    boxes = [_box_area(face, image.shape) for face in faces]
    for face, (left, top, right, bottom) in zip(faces, boxes, strict=True):
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), COLOURS[face.gender], line)
    taken: list[Area] = []
    for face, box in zip(faces, boxes, strict=True):
        others = [other for other in boxes if other is not box]
        area = _draw_label(picture, face, box, line=line, lang=lang, avoid=[*others, *taken])
        taken.append(area)
    return picture


def label(face: Face, lang: str = "en") -> str:
    """Return the words for a face: ``male 34``, in Chinese ``男 34``; what isn't known is left out."""
    words = [] if face.gender is None else [_WORDS[lang][face.gender]]
    return " ".join([*words, *([] if face.age is None else [f"{face.age:.0f}"])])


def _draw_label(picture: Photo, face: Face, box: Area, *, line: int, lang: str, avoid: Sequence[Area]) -> Area:
    text = label(face, lang)
    height, width = picture.shape[:2]
    size = _text_size(box, picture.shape)
    patch = _render(text, size, _INK[face.gender], COLOURS[face.gender])
    if patch.shape[1] > width or patch.shape[0] > height:
        scale = min(width / patch.shape[1], height / patch.shape[0])
        small = (max(1, int(patch.shape[1] * scale)), max(1, int(patch.shape[0] * scale)))
        patch = np.asarray(cv2.resize(patch, small, interpolation=cv2.INTER_AREA), np.uint8)
    area = _place(box, patch.shape, picture.shape, line=line, avoid=avoid)
    left, top, right, bottom = area
    picture[top:bottom, left:right] = patch
    return area


def _text_size(box: Area, shape: tuple[int, ...]) -> int:
    """Return the height of the letters: a readable share of the photo, less over small faces."""
    photo = min(shape[:2]) / 22
    face = (box[2] - box[0]) / 3.5
    return round(max(_SMALLEST_TEXT, min(photo, face), min(shape[:2]) / 40))


def _place(box: Area, patch: tuple[int, ...], shape: tuple[int, ...], *, line: int, avoid: Sequence[Area]) -> Area:
    """Return where a label goes: above the box, below, inside or beside it, where it hides least."""
    height, width = patch[:2]
    # The box's line lies half outside it.
    left, top, right, bottom = box[0] - line // 2, box[1] - line // 2, box[2] + line // 2, box[3] + line // 2
    wishes = [
        (left, top - height),
        (left, bottom),
        (right - width, top - height),
        (right - width, bottom),
        (right, top),
        (left - width, top),
        (left, bottom - height),
        (left, top),
    ]
    areas = []
    for x, y in wishes:
        x, y = min(max(x, 0), shape[1] - width), min(max(y, 0), shape[0] - height)
        areas.append((x, y, x + width, y + height))
    # Hiding the own face counts too, but less than covering a neighbour's.
    return min(areas, key=lambda area: 2 * sum(_shared(area, other) for other in avoid) + _shared(area, box))


def _shared(one: Area, other: Area) -> int:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0


def _box_area(face: Face, shape: tuple[int, ...]) -> Area:
    """Return the face's box in whole pixels inside the photo, at least one pixel wide and high."""
    left, top, right, bottom = (round(float(value)) for value in face.box)
    left, top = min(max(left, 0), shape[1] - 1), min(max(top, 0), shape[0] - 1)
    return left, top, min(max(right, left + 1), shape[1]), min(max(bottom, top + 1), shape[0])


def _render(text: str, size: int, ink: Colour, ground: Colour) -> Photo:
    """Return ``text`` as a small picture (h, w, 3)."""
    font = _font(size)
    left, _, right, _ = font.getbbox(text)
    ascent, descent = font.getmetrics()
    margin = max(2, size // 5)
    patch = Image.new("RGB", (round(right - left) + 2 * margin, ascent + descent), ground)
    ImageDraw.Draw(patch).text((margin - left, 0), text, fill=ink, font=font)
    return np.array(patch)


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(typeface_path()), size)
