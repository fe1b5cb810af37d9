"""The contact sheet's layout and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.plots.contact import contact_sheet


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (8, 8, 1), (9, 8, 2)])
def test_layout(count: int, columns: int, rows: int) -> None:
    images = [np.full((20, 30, 3), number, np.uint8) for number in range(count)]
    figure = contact_sheet(images, [f"face {number}" for number in range(count)], title="train.rec")
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in drawn] == [f"face {number}" for number in range(count)]
    assert len(figure.axes) == columns * rows
    assert figure.get_suptitle() == "train.rec"


@pytest.mark.parametrize(("images", "captions"), [(0, 0), (2, 1)])
def test_a_caption_for_each(images: int, captions: int) -> None:
    with pytest.raises(ValueError, match=f"{images} images and {captions} captions: one caption for each of at least"):
        contact_sheet([np.zeros((4, 4, 3), np.uint8)] * images, ["x"] * captions)
