"""A photo's size, and a JPEG's colours and orientation, from the header, without decoding it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

# Start-of-frame markers; C4 (tables), C8 (reserved) and CC (arithmetic tables) lie between them.
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_ALONE = {0x01, *range(0xD0, 0xD9)}
_SCAN, _END, _APP1 = 0xDA, 0xD9, 0xE1
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class JpegHeader:
    """``components`` is 1 (grayscale), 3 (colour) or 4 (CMYK); ``orientation`` is EXIF's 1..8."""

    width: int
    height: int
    components: int
    orientation: int


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """Return the header of JPEG bytes, None where they are no JPEG or end before the frame is described."""
    if data[:2] != b"\xff\xd8":
        return None
    position, orientation = 2, 1
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF or marker in _ALONE:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        body = data[position + 4 : position + 2 + length]
        if marker in _FRAMES and len(body) >= 6:
            height, width, components = struct.unpack_from(">HHB", body, 1)
            return JpegHeader(width, height, components, orientation)
        if marker in (_SCAN, _END) or length < 2:
            return None
        if marker == _APP1 and body[:6] == b"Exif\0\0":
            orientation = exif_orientation(body[6:])
        position += 2 + length
    return None


def read_png_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) of PNG bytes, None where they are no PNG."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 24:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def exif_orientation(tiff: bytes) -> int:
    """Return the orientation 1..8 in a TIFF block, 1 where it says nothing or is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, offset)
        for entry in range(min(count, 512)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, offset + 2 + 12 * entry)
            if tag == _ORIENTATION and kind == 3 and 1 <= value <= 8:
                return int(value)
    except struct.error:
        return 1  # a cut-off block: better unturned than refused
    return 1
