"""Choices that some datasets leave to who reads them; a source takes those that concern it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """``min_face_score`` and ``max_second_face`` (a share of the first face's score) choose among IMDB-WIKI's photos.

    ``adience_images`` is ``aligned`` or ``raw``, ``adience_bins`` 8 or 12, ``appa_age`` ``real`` or ``apparent``.
    """

    min_face_score: float = 1.0
    max_second_face: float = 0.8
    adience_images: str = "aligned"
    adience_bins: int = 8
    appa_age: str = "real"
