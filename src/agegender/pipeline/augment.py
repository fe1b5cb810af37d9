"""Augmentation: mirror, crop jitter, colour, JPEG damage, cutout; drawn for many faces at once, applied to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from agegender.pipeline.config import LoaderConfig
from agegender.pipeline.degrade import KINDS, degrade
from agegender.pipeline.randomness import uniform
from agegender.resize import resize_crop

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]

# Streams of the draws. New ones go to the end: each is independent, so that old ones keep their values.
MIRROR, SHIFT_X, SHIFT_Y, SCALE, ANGLE, BRIGHTNESS, CONTRAST, SATURATION, DAMAGE, QUALITY, CUT, CUT_X, CUT_Y = range(13)
DEGRADE, KIND, LEVEL, NOISE_SEED = range(13, 17)

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
    # Kind, level and noise seed; None for faces that are left alone.
    degraded: list[tuple[int, float, int] | None] | None
    cut: list[Box | None] | None


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

        mirror = mirrored(slots, seed=seed, epoch=epoch) if config.rand_mirror else None
        quality = _qualities(draw(DAMAGE, QUALITY), config.jpeg) if config.jpeg else None
        degraded = _degradations(draw(DEGRADE, KIND, LEVEL, NOISE_SEED), config.degrade) if config.degrade else None
        cut = cut_boxes(slots, config.cutoff, size=self._size, seed=seed, epoch=epoch) if config.cutoff else None
        colour = offset = None
        if config.color:
            colour, offset = colour_matrices(slots, config.color, seed=seed, epoch=epoch)
        untouched = np.full(len(slots), not (config.jitter or config.color))
        for touched in (mirror, quality, *(None if one is None else _given(one) for one in (degraded, cut))):
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
            degraded=degraded,
            cut=cut,
        )

    def apply(self, image: Image, out: Image, plan: Plan, row: int) -> None:
        """Write ``image`` (h, w, 3) as ``plan`` has it for face ``row`` into ``out`` (the net's height, width, 3)."""
        if plan.colour is not None and plan.contrast_offset is not None:
            image = self._recolour(image, plan.colour[row], plan.contrast_offset[row])
        if plan.degraded is not None and (degradation := plan.degraded[row]) is not None:
            kind, level, noise_seed = degradation
            image = degrade(image, kind, level, seed=noise_seed)
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


def mirrored(slots: npt.NDArray[np.int64], *, seed: int, epoch: int) -> npt.NDArray[np.bool_]:
    """Return (n,) which faces are mirrored: half of them."""
    return np.asarray(uniform(slots, seed=seed, epoch=epoch, streams=(MIRROR,))[0] < 0.5)


def cut_boxes(
    slots: npt.NDArray[np.int64], side: int, *, size: tuple[int, int], seed: int, epoch: int
) -> list[Box | None]:
    """Return (top, bottom, left, right) of the grey square of each face, None for the half that keep whole."""
    cut, across, down = uniform(slots, seed=seed, epoch=epoch, streams=(CUT, CUT_X, CUT_Y))
    height, width = size
    middle_x, middle_y = (across * width).astype(np.int64), (down * height).astype(np.int64)
    half = side // 2
    other_half = side - half
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


def colour_matrices(
    slots: npt.NDArray[np.int64], strength: float, *, seed: int, epoch: int
) -> tuple[Floats, list[float]]:
    """Return (n, 3, 3) matrices that change saturation, contrast and brightness at once, and (n,) contrast offsets.

    Contrast pulls towards the image's own mean grey, so that grey times the offset has to be added.
    """
    draws = uniform(slots, seed=seed, epoch=epoch, streams=(BRIGHTNESS, CONTRAST, SATURATION))
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


def _degradations(draws: Floats, share: float) -> list[tuple[int, float, int] | None]:
    """Return kind, level and seed of the noise for each face, None for those that are left alone."""
    chosen, kind, level, noise = draws
    kinds, seeds = (kind * KINDS).astype(np.int64), (noise * 2.0**32).astype(np.int64)
    each = zip((chosen < share).tolist(), kinds.tolist(), level.tolist(), seeds.tolist())
    return [(one, strength, seed) if hit else None for hit, one, strength, seed in each]


def _given(choices: Sequence[object]) -> npt.NDArray[np.bool_]:
    return np.array([choice is not None for choice in choices])


def _damage(image: Image, quality: int) -> Image:
    body = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420")
    return np.asarray(simplejpeg.decode_jpeg(body), np.uint8)
