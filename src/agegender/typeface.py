"""The small typeface that comes with the package: Latin and some 600 Chinese characters, for text in pictures.

A bare machine has no Chinese font, and matplotlib and OpenCV bring none. Noto Sans CJK, cut down (SIL Open Font
License, beside the file); made by ``tools/make_typeface.py``.
"""

from __future__ import annotations

from pathlib import Path

FAMILY = "AgeGender Sans"


def typeface_path() -> Path:
    """Return the OpenType file (.otf), readable by FreeType: matplotlib, Pillow, OpenCV's freetype module."""
    return Path(__file__).resolve().parent / "plots/fonts/AgeGenderSans.otf"
