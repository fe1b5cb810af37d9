"""Augmentation: mirror, crop jitter, colour, JPEG damage, cutout; drawn for many faces at once, applied to each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from agegender.pipeline.config import LoaderConfig
from agegender.pipeline.randomness import uniform
from agegender.resize import resize_crop

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

# Streams of the draws. New ones go to the end: each is independent, so that old ones keep their values.
MIRROR, SHIFT_X, SHIFT_Y, SCALE, ANGLE, BRIGHTNESS, CONTRAST, SATURATION, DAMAGE, QUALITY, CUT, CUT_X, CUT_Y = range(13)

# 128 is what the nets' own normalisation turns into 0.
CUT_COLOUR = 128
DAMAGE_QUALITY = (15, 75)
# How much red, green and blue add to the brightness we see (ITU-R BT.601, as JPEG has it).
LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to each of n faces; None where that augmentation is off.

    ``untouched`` says which faces are only brought to size. Lists rather than arrays where items are read one by one,
    which is faster.
    """

    untouched: list[bool]
    mirror: list[bool] | None
    warp: list[list[list[float]]] | None
    colour: Floats | None
    contrast_offset: list[float] | None
    quality: list[int] | None
    cut: list[tuple[int, int, int, int] | None] | None


class Augmenter:
    """Apply what ``LoaderConfig`` asks for to faces of any size, towards a net input of ``size`` (height, width).

    One per thread: it keeps memory between calls.
    """

    def __init__(self, config: LoaderConfig, *, size: tuple[int, int]) -> None:
        self._config = config
        self._size = size
        self._warped = np.empty((0, 0, 3), np.uint8)
        self._matrix = np.empty((3, 4), np.float64)

    def plan(self, slots: npt.NDArray[np.int64], *, seed: int, epoch: int) -> Plan:
        """Draw for the faces at places ``slots`` (n,) of an epoch; depends on nothing but the arguments."""
        config = self._config

        def draw(*streams: int) -> Floats:
            return uniform(slots, seed=seed, epoch=epoch, streams=streams)

        mirror = draw(MIRROR)[0] < 0.5 if config.rand_mirror else None
        quality = _qualities(draw(DAMAGE, QUALITY), config.jpeg) if config.jpeg else None
        cut = draw(CUT, CUT_X, CUT_Y) if config.cutoff else None
        colour = offset = None
        if config.color:
            colour, offset = _colour_matrices(draw(BRIGHTNESS, CONTRAST, SATURATION), config.color)
        untouched = np.full(len(slots), not (config.jitter or config.color))
        for touched in (mirror, quality, None if cut is None else cut[0] < 0.5):
            if touched is not None:
                untouched &= ~touched.astype(np.bool_)
        return Plan(
            untouched=untouched.tolist(),
            # A warp mirrors by itself, at no cost.
            mirror=None if mirror is None or config.jitter else mirror.tolist(),
            warp=_warps(draw(SHIFT_X, SHIFT_Y, SCALE, ANGLE), config.jitter, mirror).tolist()
            if config.jitter
            else None,
            colour=colour,
            contrast_offset=offset,
            quality=None if quality is None else quality.tolist(),
            cut=None if cut is None else self._cuts(cut),
        )

    def apply(self, image: Image, out: Image, plan: Plan, row: int) -> None:
        """Write ``image`` (h, w, 3) as ``plan`` has it for face ``row`` into ``out`` (the net's height, width, 3)."""
        if plan.colour is not None and plan.contrast_offset is not None:
            image = self._recolour(image, plan.colour[row], plan.contrast_offset[row])
        if plan.quality is not None and plan.quality[row]:
            image = _damage(image, plan.quality[row])
        if plan.warp is not None:
            image = self._jitter(image, plan.warp[row])
        resized = resize_crop(image, self._size)
        if plan.mirror is not None and plan.mirror[row]:
            cv2.flip(resized, 1, out)
        else:
            out[:] = resized
        if plan.cut is not None and (box := plan.cut[row]) is not None:
            top, bottom, left, right = box
            out[top:bottom, left:right] = CUT_COLOUR

    def _recolour(self, image: Image, matrix: Floats, contrast_offset: float) -> Image:
        mean = cv2.mean(image)
        grey = mean[0] * LUMA[0] + mean[1] * LUMA[1] + mean[2] * LUMA[2]
        self._matrix[:, :3] = matrix
        self._matrix[:, 3] = contrast_offset * grey
        return np.asarray(cv2.transform(image, self._matrix), np.uint8)

    def _jitter(self, image: Image, warp: list[list[float]]) -> Image:
        """Warp at the larger of the image's and the net's size, so that shrinking afterwards averages as without it."""
        height, width = image.shape[:2]
        target_height, target_width = max(height, self._size[0]), max(width, self._size[1])
        if self._warped.shape[:2] != (target_height, target_width):
            self._warped = np.empty((target_height, target_width, 3), np.uint8)
        (a, b, shift_x), (c, d, shift_y) = warp
        # Turn around the middle; coordinates are pixel centres, so the middle of w pixels is (w - 1) / 2.
        wide, high = target_width / width, target_height / height
        a, b, c, d = a * wide, b * wide, c * high, d * high
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        x = (target_width - 1) / 2 + shift_x * target_width - a * middle_x - b * middle_y
        y = (target_height - 1) / 2 + shift_y * target_height - c * middle_x - d * middle_y
        matrix = np.array(((a, b, x), (c, d, y)))
        cv2.warpAffine(
            image,
            matrix,
            (target_width, target_height),
            self._warped,
            cv2.INTER_LINEAR,
            cv2.BORDER_REFLECT_101,
        )
        return self._warped

    def _cuts(self, draws: Floats) -> list[tuple[int, int, int, int] | None]:
        """Return (top, bottom, left, right) of the grey square of each face, None for the half that keep whole."""
        cut, across, down = draws
        height, width = self._size
        middle_x, middle_y = (across * width).astype(np.int64), (down * height).astype(np.int64)
        half = self._config.cutoff // 2
        other_half = self._config.cutoff - half
        boxes = np.stack(
            [
                np.maximum(middle_y - half, 0),
                np.minimum(middle_y + other_half, height),
                np.maximum(middle_x - half, 0),
                np.minimum(middle_x + other_half, width),
            ],
            axis=1,
        ).tolist()
        return [tuple(box) if hit else None for box, hit in zip(boxes, (cut < 0.5).tolist())]


def _warps(draws: Floats, jitter: float, mirror: npt.NDArray[np.bool_] | None) -> Floats:
    """Return (n, 2, 3): rotation times scale, mirrored where asked, and a shift in shares of the side."""
    shift_x, shift_y = jitter * (draws[:2] - 0.5)
    scale = 1 + jitter * (2 * draws[2] - 1)
    angle = jitter * (2 * draws[3] - 1)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    warps = np.empty((len(angle), 2, 3))
    warps[:, 0, 0], warps[:, 0, 1] = cosine, -sine
    warps[:, 1, 0], warps[:, 1, 1] = sine, cosine
    warps[:, 0, 2], warps[:, 1, 2] = shift_x, shift_y
    if mirror is not None:
        warps[:, 0] *= np.where(mirror, -1.0, 1.0)[:, None]
    return warps


def _colour_matrices(draws: Floats, strength: float) -> tuple[Floats, list[float]]:
    """Return (n, 3, 3) matrices that change saturation, contrast and brightness at once, and (n,) contrast offsets.

    Contrast pulls towards the image's own mean grey, so that grey times the offset has to be added.
    """
    brightness, contrast, saturation = 1 + strength * (2 * draws - 1)
    grey = np.broadcast_to(LUMA, (3, 3))
    mixed = saturation[:, None, None] * np.eye(3) + (1 - saturation)[:, None, None] * grey
    offset: list[float] = (brightness * (1 - contrast)).tolist()
    return (brightness * contrast)[:, None, None] * mixed, offset


def _qualities(draws: Floats, share: float) -> npt.NDArray[np.int64]:
    """Return (n,) JPEG qualities, 0 for faces that are left alone."""
    damage, level = draws
    lowest, highest = DAMAGE_QUALITY
    quality = lowest + np.floor(level * (highest - lowest + 1)).astype(np.int64)
    return np.where(damage < share, quality, 0)


def _damage(image: Image, quality: int) -> Image:
    body = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420")
    return np.asarray(simplejpeg.decode_jpeg(body), np.uint8)
