"""A contact sheet: the faces of many photos in one picture, each with its label and the photo's name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ImageFont

from agegender.deploy.draw import COLOURS, INKS, Colour, font_size, labels, render_text
from agegender.deploy.face import Face
from agegender.typeface import typeface_path

Photo = npt.NDArray[np.uint8]

FACES = 200
TILE = 144
_GAP = 8
_DIGITS = 10  # pixels
_PAPER: Colour = (255, 255, 255)
_TEXT: Colour = (60, 60, 60)
_OUTSIDE: Colour = (225, 225, 225)
# How much is shown around the detector's box, as a share of it on each side.
_AROUND = 0.25


@dataclass(kw_only=True)
class ContactSheet:
    """Collects small pictures of the first ``limit`` faces and draws them in rows.

    ``len`` is how many it holds, ``total`` how many it was given. Memory is bounded: a face takes 62 kB. ``lang`` is
    that of the labels.
    """

    limit: int = FACES
    lang: str = "en"
    total: int = 0
    _tiles: list[Photo] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._tiles)

    def add(self, image: Photo, face: Face, *, name: str) -> None:
        """Add a face of the photo ``image`` (H, W, 3) uint8 RGB, which is called ``name``."""
        self.total += 1
        if len(self._tiles) < self.limit:
            self._tiles.append(_tile(image, face, name=name, lang=self.lang))

    def picture(self) -> Photo:
        """Return the sheet (H, W, 3) uint8 RGB, about as wide as high. ValueError where it holds no face."""
        if not self._tiles:
            raise ValueError("a contact sheet of no face")
        height, width = self._tiles[0].shape[:2]
        columns = min(len(self._tiles), math.ceil(math.sqrt(len(self._tiles) * 1.4)))
        rows = math.ceil(len(self._tiles) / columns)
        shape = (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3)
        sheet = np.full(shape, _PAPER, np.uint8)
        for number, tile in enumerate(self._tiles):
            row, column = divmod(number, columns)
            top, left = _GAP + row * (height + _GAP), _GAP + column * (width + _GAP)
            sheet[top : top + height, left : left + width] = tile
        return sheet


def _tile(image: Photo, face: Face, *, name: str, lang: str) -> Photo:
    """Return the face over its label, on the colour of its gender, and its photo's name."""
    size = font_size(_DIGITS)
    label = labels(face, lang)[0] or " "
    captions = [
        _line(label, size, ink=INKS[face.gender], ground=COLOURS[face.gender]),
        _line(_shortened(name, size), size, ink=_TEXT, ground=_PAPER),
    ]
    return np.concatenate([_around(image, face), *captions])


def _line(text: str, size: int, *, ink: Colour, ground: Colour) -> Photo:
    """Return a line of text as wide as a tile."""
    patch = render_text(text, size, ink=ink, ground=ground)[:, :TILE]
    line = np.full((patch.shape[0], TILE, 3), ground, np.uint8)
    line[:, : patch.shape[1]] = patch
    return line


def _around(image: Photo, face: Face) -> Photo:
    """Return the square around the face's box at the tile's size; gray where it reaches outside the photo."""
    left, top, right, bottom = (float(value) for value in face.box)
    side = max(right - left, bottom - top, 1.0) * (1 + 2 * _AROUND)
    corner = ((left + right - side) / 2, (top + bottom - side) / 2)
    height, width = image.shape[:2]
    # Cut first, with a pixel more to blend with: of a photo of 200 megapixels a face is a small part.
    x, y = (max(0, min(math.floor(start) - 1, end - 1)) for start, end in zip(corner, (width, height), strict=True))
    part = image[y : max(y + 1, math.ceil(corner[1] + side) + 1), x : max(x + 1, math.ceil(corner[0] + side) + 1)]
    scale, (high, wide) = TILE / side, part.shape[:2]
    if scale < 1:
        # Averaged to about the final size, else warping skips pixels.
        small = (max(1, round(wide * scale)), max(1, round(high * scale)))
        part = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA), np.uint8)
    across, down = scale * wide / part.shape[1], scale * high / part.shape[0]
    # OpenCV counts from the middle of the first pixel, boxes from its edge.
    right_by = (x - corner[0]) * scale + (across - 1) / 2
    down_by = (y - corner[1]) * scale + (down - 1) / 2
    tile = cv2.warpAffine(
        part,
        np.array([[across, 0, right_by], [0, down, down_by]]),
        (TILE, TILE),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_OUTSIDE,
    )
    return np.asarray(tile, np.uint8)


def _shortened(name: str, size: int) -> str:
    """Return ``name``, its middle left out where it is wider than a tile."""
    font = ImageFont.truetype(str(typeface_path()), size)
    # Line ends, and bytes that are no text.
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    if font.getlength(name) <= TILE - size:
        return name
    for kept in range(len(name) - 1, 1, -1):
        short = f"{name[: kept // 2]}...{name[len(name) - (kept - kept // 2) :]}"
        if font.getlength(short) <= TILE - size:
            return short
    return name[:1]
