"""What goes into a net: pictures of some height and width, or embeddings of some length."""

from __future__ import annotations

import numpy as np

# (height, width) of pictures, or (n,), how many numbers an embedding has.
Size = tuple[int, ...]

_COLOURS = 3


def is_vector(shape: tuple[int, ...]) -> bool:
    """Tell whether a net's input ``shape`` (channels, height, width) is an embedding's: more channels than colours on a
    single pixel."""
    return len(shape) == 3 and shape[0] > _COLOURS and shape[1:] == (1, 1)


def size_of(shape: tuple[int, int, int]) -> Size:
    """Return the size of what goes into a net with the input ``shape`` (channels, height, width)."""
    return (shape[0],) if is_vector(shape) else shape[1:]


def face_memory(size: Size) -> tuple[tuple[int, int, int], type[np.uint8] | type[np.float32]]:
    """Return shape (h, w, channels) and type of one face in a batch; an embedding is one pixel of n channels."""
    if len(size) == 1:
        return (1, 1, size[0]), np.float32
    return (size[0], size[1], _COLOURS), np.uint8
