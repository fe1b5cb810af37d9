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
COLOURS: dict[str | None, Colour] = {"male": (0, 114, 178), "female": (230, 159, 0), None: (110, 110, 110)}
INKS: dict[str | None, Colour] = {"male": (255, 255, 255), "female": (0, 0, 0), None: (255, 255, 255)}
_WORDS = {"en": {"male": "male", "female": "female"}, "zh": {"male": "男", "female": "女"}}
_LETTERS = {"en": {"male": "M", "female": "F"}, "zh": {"male": "男", "female": "女"}}
# Height of digits and capitals: at least so many pixels, and a share of the photo's height between these.
SMALLEST_TEXT = 10
LEAST_SHARE, MOST_SHARE = 0.016, 0.038
# A digit of our typeface is so much of its nominal size.
_DIGIT = 0.74
# A label may be so much wider than its face before a shorter form is taken.
_WIDEST = 2.3


def draw_faces(image: Photo, faces: Sequence[Face], *, lang: str = "en") -> Photo:
    """Return a copy of ``image`` (H, W, 3) uint8 RGB with a box around each face and its gender and age beside it.

    Lines and letters grow with the photo and the face: digits are 1.5% to 4% of the photo's height, at least 10 pixels
    high. No label leaves the picture; labels avoid other faces and each other where there is room, and get shorter
    (see ``labels``) where there is little. ``lang`` is "en" or "zh".
    """
    picture = np.ascontiguousarray(image).copy()
    line = max(1, round(min(image.shape[:2]) / 300))
    boxes = [_box_area(face, image.shape) for face in faces]
    for face, (left, top, right, bottom) in zip(faces, boxes, strict=True):
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), COLOURS[face.gender], line)
    taken: list[Area] = []
    for number, (face, box) in enumerate(zip(faces, boxes, strict=True)):
        avoid = [*boxes[:number], *boxes[number + 1 :], *taken]
        area = _draw_label(picture, face, box, line=line, lang=lang, avoid=avoid)
        if area is not None:
            taken.append(area)
    return picture


def labels(face: Face, lang: str = "en") -> list[str]:
    """Return the words for a face, from the longest form to the shortest; what isn't known is left out.

    ``female 34 (29-41)``, ``female 34``, ``F 34``; in Chinese ``女 34 (29-41)``, ``女 34``.
    """
    age = [] if face.age is None else [f"{face.age:.0f}"]
    interval = []
    if face.age is not None and face.age_interval is not None:
        interval = [f"({face.age_interval[0]:.0f}-{face.age_interval[1]:.0f})"]
    word, letter = ([] if face.gender is None else [words[lang][face.gender]] for words in (_WORDS, _LETTERS))
    forms = [[*word, *age, *interval], [*word, *age], [*letter, *age]]
    return list(dict.fromkeys(" ".join(form) for form in forms))


def render_text(text: str, size: int, *, ink: Colour, ground: Colour) -> Photo:
    """Return ``text`` as a small picture (h, w, 3) uint8 RGB, equally high for all texts; ``size`` is the font's."""
    font = _font(size)
    left, _, right, _ = font.getbbox(text)
    top, bottom = _extent(size)
    margin = max(2, round(size / 4))
    rim = max(1, round(size / 10))
    patch = Image.new("RGB", (round(right - left) + 2 * margin, bottom - top + 2 * rim), ground)
    ImageDraw.Draw(patch).text((margin - left, rim - top), text, fill=ink, font=font)
    return np.array(patch)


def font_size(digits: float) -> int:
    """Return the size of the font whose digits are ``digits`` pixels high."""
    return max(1, round(digits / _DIGIT))


def _draw_label(picture: Photo, face: Face, box: Area, *, line: int, lang: str, avoid: Sequence[Area]) -> Area | None:
    """Draw the longest form of the label that hides no other face or label, else the shortest where it hides least."""
    size = _text_size(box, picture.shape)
    best: tuple[int, Area, Photo] | None = None
    forms = [text for text in labels(face, lang) if text]
    for text in forms:
        patch = _fitted(render_text(text, size, ink=INKS[face.gender], ground=COLOURS[face.gender]), picture.shape)
        if patch.shape[1] > _WIDEST * (box[2] - box[0]) and text != forms[-1]:
            continue
        area, hidden = _place(box, patch.shape, picture.shape, line=line, avoid=avoid)
        if best is None or hidden < best[0]:
            best = hidden, area, patch
        if hidden == 0:
            break
    if best is None:
        return None
    _, (left, top, right, bottom), patch = best
    picture[top:bottom, left:right] = patch
    return left, top, right, bottom


def _fitted(patch: Photo, shape: tuple[int, ...]) -> Photo:
    """Return ``patch``, made smaller where it is larger than the whole photo."""
    height, width = shape[:2]
    if patch.shape[1] <= width and patch.shape[0] <= height:
        return patch
    scale = min(width / patch.shape[1], height / patch.shape[0])
    small = (max(1, int(patch.shape[1] * scale)), max(1, int(patch.shape[0] * scale)))
    return np.asarray(cv2.resize(patch, small, interpolation=cv2.INTER_AREA), np.uint8)


def _text_size(box: Area, shape: tuple[int, ...]) -> int:
    """Return the size of the font: a readable share of the photo, less over small faces."""
    least = max(SMALLEST_TEXT, LEAST_SHARE * shape[0])
    most = max(SMALLEST_TEXT, MOST_SHARE * shape[0])
    return font_size(min(max((box[2] - box[0]) / 7, least), most))


def _place(
    box: Area, patch: tuple[int, ...], shape: tuple[int, ...], *, line: int, avoid: Sequence[Area]
) -> tuple[Area, int]:
    """Return where a label goes, above the box, below, inside or beside it, and what it hides of others there."""
    height, width = patch[:2]
    # The box's line lies half outside it.
    left, top, right, bottom = box[0] - line // 2, box[1] - line // 2, box[2] + line // 2, box[3] + line // 2
    middle = (left + right - width) // 2
    across = [left, right - width, middle]
    if width > 1.4 * (right - left):
        across.sort(key=lambda x: x != middle)  # far to one side it would seem to be the neighbour's
    wishes = [
        *((x, top - height) for x in across),
        *((x, bottom) for x in across),
        (right, top),
        (left - width, top),
        (right, bottom - height),
        (left - width, bottom - height),
        (left, bottom - height),
        (left, top),
    ]
    places = []
    for x, y in wishes:
        x, y = min(max(x, 0), shape[1] - width), min(max(y, 0), shape[0] - height)
        area = x, y, x + width, y + height
        places.append((area, sum(_shared(area, other) for other in avoid)))
    # Hiding the own face counts too, but less than covering a neighbour's.
    return min(places, key=lambda place: 3 * place[1] + _shared(place[0], box))


def _shared(one: Area, other: Area) -> int:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0


def _box_area(face: Face, shape: tuple[int, ...]) -> Area:
    """Return the face's box in whole pixels inside the photo, at least one pixel wide and high."""
    left, top, right, bottom = (round(float(value)) for value in face.box)
    left, top = min(max(left, 0), shape[1] - 1), min(max(top, 0), shape[0] - 1)
    return left, top, min(max(right, left + 1), shape[1]), min(max(bottom, top + 1), shape[0])


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(typeface_path()), size)


@lru_cache(maxsize=32)
def _extent(size: int) -> tuple[int, int]:
    """Return the first and the last row of what labels are made of, below the font's origin."""
    _, top, _, bottom = _font(size).getbbox("(lf0男女")
    return int(top), int(bottom)
