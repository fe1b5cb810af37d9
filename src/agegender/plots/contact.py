"""A contact sheet: many faces on one page, each with what it is labelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL_INCHES = 1.2
CAPTION_INCHES = 0.25


def contact_sheet(
    images: Sequence[NDArray[np.uint8]], captions: Sequence[str], *, columns: int = 8, title: str = ""
) -> Figure:
    """Draw images (h, w, 3) uint8 RGB of any size in a grid, each over its caption, and return the figure.

    Raises ValueError when there is no image or not one caption for each.
    """
    if not images or len(images) != len(captions):
        raise ValueError(f"{len(images)} images and {len(captions)} captions: one caption for each of at least one")
    from matplotlib.figure import Figure

    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    head = 0.4 if title else 0.05
    height = rows * (CELL_INCHES + CAPTION_INCHES) + head
    figure = Figure(figsize=(columns * CELL_INCHES, height), dpi=120)
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(0.01, 0.005, 0.99, 1 - (head + CAPTION_INCHES) / height, 0.05, 0.05 + CAPTION_INCHES)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, caption in zip(grid.flat, images, captions, strict=False):
        axes.imshow(image, interpolation="antialiased")
        axes.set_title(caption, fontsize=7, pad=2)
    if title:
        figure.suptitle(title, fontsize=10, y=1 - 0.15 / height)
    return figure
