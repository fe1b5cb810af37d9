"""Drawing one synthetic face: layer by layer from the back, points where the ``utkface`` template has them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from agegender.dataset.sources.canvas import Canvas, curve, ellipse, mirrored
from agegender.dataset.sources.looks import Looks, choose_looks, rgb

TEMPLATE = "utkface"
# Where that template has the points (face.templates): both halves of a drawn face are alike, so the means are taken.
MIDDLE = 0.4945
EYE_Y, EYE_DX = 0.288, 0.1955
NOSE_Y = 0.520
MOUTH_Y, MOUTH_DX = 0.698, 0.176
_OVERSAMPLING = 1.5
_BLACK = rgb(20, 16, 16)
_WHITE = rgb(244, 242, 240)


def draw_face(rng: np.random.Generator, *, gender: int, age: int, tone: int, size: int = 112) -> npt.NDArray[np.uint8]:
    """Draw a face whose looks follow ``gender`` (0 female, 1 male), ``age`` (years) and skin ``tone`` (0..4).

    Returns uint8 (size, size, 3) RGB. All else, background, light and pose included, comes from ``rng``.
    """
    looks = choose_looks(rng, gender=gender, age=age, tone=tone)
    side = round(size * _OVERSAMPLING)
    roll, scale, shift = rng.normal(0.0, 0.035), 1.0 + rng.normal(0.0, 0.02), rng.normal(0.0, 0.012, 2)
    canvas = Canvas(_background(rng, side), pose=(roll, scale, shift[0], shift[1]))
    _back(canvas, looks)
    _skin(canvas, looks, rng)
    _wrinkles(canvas, looks)
    for turn in (1.0, -1.0):
        _eye(canvas, looks, side=turn)
    _nose(canvas, looks)
    _beard(canvas, looks)
    _mouth(canvas, looks)
    _front_hair(canvas, looks, rng)
    if looks.glasses:
        _glasses(canvas, looks)
    return _lit(rng, cv2.resize(canvas.pixels, (size, size), interpolation=cv2.INTER_AREA))


def _background(rng: np.random.Generator, side: int) -> npt.NDArray[np.uint8]:
    """Four random corners run into each other, with some soft blotches."""
    corners = rng.uniform(30, 220) + rng.normal(0.0, 25.0, (2, 2, 1)) + rng.normal(0.0, 12.0, (2, 2, 3))
    blotches = (rng.normal(0.0, 7.0, (6, 6, 1)) + rng.normal(0.0, 3.0, (6, 6, 3))).astype(np.float32)
    smooth = np.asarray(cv2.resize(corners.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR))
    rough = np.asarray(cv2.resize(blotches, (side, side), interpolation=cv2.INTER_CUBIC))
    return _as_uint8(smooth + rough)


def _lit(rng: np.random.Generator, image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Shine light on the picture: a side, a strength, a tint; and the camera's noise."""
    size = image.shape[0]
    ramp = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    slope = rng.normal(0.0, 0.10, 2).astype(np.float32)
    light = 1.0 + slope[0] * ramp[None, :] + slope[1] * ramp[:, None]
    tint = np.float32(rng.uniform(0.72, 1.12)) * (1.0 + rng.normal(0.0, 0.03, 3)).astype(np.float32)
    noise = rng.normal(0.0, rng.uniform(0.5, 3.5), image.shape[:2]).astype(np.float32)
    lit = image.astype(np.float32) * light[:, :, None] * tint + noise[:, :, None]
    return _as_uint8(lit + 0.5)


def _as_uint8(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def _outline(looks: Looks) -> npt.NDArray[np.float64]:
    """Return the face's outline: a skull's half ellipse above, cheeks and jaw below."""
    upper = ellipse(MIDDLE, 0.40, looks.cheek, 0.46)
    upper = upper[upper[:, 1] < 0.40]
    right = curve(
        (MIDDLE + looks.cheek, 0.40),
        (MIDDLE + 0.45 * looks.cheek + 0.55 * looks.jaw + 0.03, 0.64),
        (MIDDLE + looks.jaw * (1.13 - 0.27 * looks.squareness), 0.82 - 0.03 * looks.child),
        (MIDDLE + 0.52 * looks.jaw, looks.chin - 0.032),
        (MIDDLE, looks.chin),
    )
    return np.concatenate([upper, right, mirrored(right, MIDDLE)[::-1]])


def _back(canvas: Canvas, looks: Looks) -> None:
    """Draw what is behind the face: hair, neck, clothes, ears."""
    dark = looks.hair * np.float32(0.72)
    if looks.long_hair:
        for turn in (1, -1):
            lock = curve((0.0, -0.15), (0.36, -0.08), (0.475, 0.25), (0.47, 0.65), (0.50, 1.1), (0.0, 1.1))
            lock = np.concatenate([lock, [[0.0, -0.15]]])
            canvas.fill(lock * (turn, 1.0) + (MIDDLE, 0.0), dark, blur=0.006)
    elif looks.baldness < 0.75:
        thin = 0.03 * looks.baldness
        canvas.fill(ellipse(MIDDLE, 0.24, looks.cheek + 0.045 - thin, 0.40 - thin, square=0.8), dark, blur=0.006)
    neck = 0.24 - 0.05 * looks.child + 0.03 * (1.0 - min(1.0, looks.squareness))
    canvas.fill(ellipse(MIDDLE, 1.0, neck, 0.28), looks.skin * np.float32(0.78), blur=0.01)
    canvas.fill(ellipse(MIDDLE, 1.16, 0.62, 0.16), looks.clothes, blur=0.008)
    if not looks.long_hair:
        for turn in (1, -1):
            x = MIDDLE + turn * (looks.cheek + 0.012)
            canvas.fill(ellipse(x, 0.45, 0.042, 0.095 + 0.02 * looks.wrinkles), looks.skin * np.float32(0.88))
            canvas.fill(ellipse(x, 0.46, 0.018, 0.055), looks.skin * np.float32(0.68), alpha=0.7, blur=0.008)


def _skin(canvas: Canvas, looks: Looks, rng: np.random.Generator) -> None:
    """Draw the face itself with its shading, blush and age spots."""
    outline = _outline(looks)
    canvas.fill(outline, looks.skin * np.float32(0.80))
    inner = (outline - (MIDDLE, 0.5)) * (0.86, 0.92) + (MIDDLE, 0.49)
    canvas.fill(inner, looks.skin, blur=0.05)
    light = np.minimum(looks.skin * np.float32(1.08) + 4, 255).astype(np.float32)
    canvas.fill(ellipse(MIDDLE, 0.20, 0.16, 0.09), light, alpha=0.6, blur=0.05)
    red = (looks.skin * np.float32(0.6) + np.float32(0.4) * rgb(225, 90, 90)).astype(np.float32)
    for turn in (1, -1):
        x = MIDDLE + turn * 0.23
        canvas.fill(ellipse(x, 0.50, 0.08, 0.06), light, alpha=0.5, blur=0.035)
        canvas.fill(ellipse(x + turn * 0.01, 0.56, 0.09, 0.055), red, alpha=looks.blush, blur=0.035)
    for _ in range(looks.spots):
        x, y = MIDDLE + rng.uniform(-0.33, 0.33), rng.uniform(0.05, 0.72)
        radius = rng.uniform(0.005, 0.014)
        brown = looks.skin * rgb(0.70, 0.62, 0.55)
        canvas.fill(ellipse(x, y, radius, radius * 0.8), brown, alpha=0.6, blur=0.004)


def _wrinkles(canvas: Canvas, looks: Looks) -> None:
    """Draw the lines that come with the years: forehead, crow's feet, bags, folds beside the mouth, jowls."""
    depth = looks.wrinkles
    if depth < 0.03:
        return
    dark = looks.skin * rgb(0.58, 0.52, 0.50)
    strength = 0.25 + 0.65 * depth
    for number in range(round(5 * depth)):
        y = 0.20 - 0.033 * number
        reach = 0.17 + 0.08 * depth - 0.012 * number
        bend = curve((MIDDLE - reach, y + 0.006), (MIDDLE - reach / 2, y - 0.008), (MIDDLE, y), (MIDDLE + reach, y))
        canvas.line(bend, dark, width=0.007, alpha=strength * 0.8, blur=0.003)
    for turn in (1, -1):
        x = MIDDLE + turn * EYE_DX
        for number in range(round(4 * depth)):
            start = (x + turn * 0.088, EYE_Y - 0.012 + 0.012 * number)
            end = (x + turn * (0.125 + 0.03 * depth), EYE_Y - 0.035 + 0.028 * number)
            canvas.line(curve(start, end), dark, width=0.006, alpha=strength, blur=0.002)
        bag = curve((x - 0.06, EYE_Y + 0.052), (x, EYE_Y + 0.078 + 0.015 * depth), (x + 0.06, EYE_Y + 0.048))
        canvas.line(bag, dark, width=0.010, alpha=strength * 0.8, blur=0.006)
        fold = curve(
            (MIDDLE + turn * 0.085, NOSE_Y + 0.005),
            (MIDDLE + turn * 0.165, NOSE_Y + 0.09),
            (MIDDLE + turn * (0.185 + 0.02 * depth), MOUTH_Y + 0.02 + 0.08 * depth),
        )
        canvas.line(fold, dark, width=0.009 + 0.006 * depth, alpha=strength, blur=0.006)
        if depth > 0.45:
            jowl = curve((MIDDLE + turn * 0.14, MOUTH_Y + 0.05), (MIDDLE + turn * 0.18, MOUTH_Y + 0.15))
            canvas.line(jowl, dark, width=0.012, alpha=depth * 0.7, blur=0.008)
            cheek = curve((MIDDLE + turn * 0.27, 0.52), (MIDDLE + turn * 0.25, 0.62), (MIDDLE + turn * 0.27, 0.72))
            canvas.line(cheek, dark, width=0.007, alpha=(depth - 0.4) * 0.9, blur=0.005)


def _eye(canvas: Canvas, looks: Looks, *, side: float) -> None:
    """Draw one eye with its lid and brow; ``side`` is 1 for the eye on the right of the picture, -1 for the other."""
    x, width = MIDDLE + side * EYE_DX, looks.eye
    height = width * (0.50 + 0.18 * looks.child) * (1.0 - 0.35 * looks.lid_droop)
    shadow = looks.skin * rgb(0.66, 0.58, 0.56)
    canvas.fill(ellipse(x, EYE_Y - 0.012, width * 1.35, height * 1.8), shadow, alpha=0.45, blur=0.02)
    if looks.makeup > 0.4:
        tinted = looks.skin * rgb(0.60, 0.45, 0.58)
        canvas.fill(ellipse(x, EYE_Y - height, width * 1.15, height), tinted, alpha=0.5 * looks.makeup, blur=0.012)
    canvas.fill(ellipse(x, EYE_Y, width, height, square=1.15), _WHITE * np.float32(0.94))
    iris = height * 0.98
    canvas.fill(ellipse(x, EYE_Y, iris, iris * 0.98), looks.iris)
    canvas.fill(ellipse(x, EYE_Y, iris * 0.45, iris * 0.45), _BLACK)
    canvas.fill(ellipse(x - 0.012, EYE_Y - 0.012, 0.008, 0.008), _WHITE)
    droop = height * looks.lid_droop
    lid = curve((x - width, EYE_Y + droop * 0.3), (x, EYE_Y - height + droop * 0.6), (x + width, EYE_Y + droop * 0.3))
    covering = np.concatenate([lid, curve((x + width, EYE_Y - height), (x - width, EYE_Y - height))])
    canvas.fill(covering, looks.skin * np.float32(0.86), alpha=looks.lid_droop > 0.05, blur=0.003)
    canvas.line(lid, _BLACK, width=0.009 + 0.011 * looks.makeup, alpha=0.65 + 0.35 * looks.makeup)
    if looks.makeup > 0.3:
        lash = curve((x + side * width * 0.9, EYE_Y - 0.004), (x + side * (width + 0.028), EYE_Y - 0.026))
        canvas.line(lash, _BLACK, width=0.010, alpha=looks.makeup)
    inner, outer = x - side * 0.085, x + side * 0.095
    y = EYE_Y - 0.10 - 0.012 * looks.child + 0.012 * looks.wrinkles
    brow = curve((inner, y + 0.012), (x + side * 0.02, y - looks.brow_arch), (outer, y + 0.018))
    canvas.line(brow, looks.brow, width=max(0.008, looks.brow_width), alpha=0.9 - 0.45 * looks.child, blur=0.004)


def _nose(canvas: Canvas, looks: Looks) -> None:
    dark = looks.skin * rgb(0.62, 0.54, 0.52)
    light = np.minimum(looks.skin * np.float32(1.10) + 5, 255).astype(np.float32)
    wide = 0.072 - 0.018 * looks.child + 0.010 * looks.wrinkles
    length = 0.17 * (1.0 - 0.55 * looks.child)
    bridge = np.array([[MIDDLE, NOSE_Y - length], [MIDDLE, NOSE_Y - 0.01]])
    canvas.line(bridge, light, width=0.035, alpha=0.55 - 0.25 * looks.child, blur=0.014)
    for turn in (1, -1):
        edge = curve((MIDDLE + turn * 0.035, NOSE_Y - length), (MIDDLE + turn * wide, NOSE_Y + 0.01))
        canvas.line(edge, dark, width=0.020, alpha=0.30 - 0.15 * looks.child, blur=0.012)
        wing = curve(
            (MIDDLE + turn * wide, NOSE_Y - 0.02),
            (MIDDLE + turn * (wide + 0.012), NOSE_Y + 0.015),
            (MIDDLE + turn * 0.045, NOSE_Y + 0.032),
        )
        canvas.line(wing, dark, width=0.010, alpha=0.7, blur=0.004)
        canvas.fill(ellipse(MIDDLE + turn * 0.032, NOSE_Y + 0.026, 0.016, 0.009), dark * np.float32(0.6), alpha=0.8)


def _beard(canvas: Canvas, looks: Looks) -> None:
    """Draw stubble or a beard on jaw and chin, and a moustache."""
    colour = looks.brow * np.float32(0.9)
    if looks.beard > 0.0:
        outline = _outline(looks)
        lower = outline[outline[:, 1] > 0.58]
        inner = ellipse(MIDDLE, 0.60, looks.jaw * 0.80, 0.20)
        edge = inner[inner[:, 1] > 0.60]
        right, left = lower[: len(lower) // 2], lower[len(lower) // 2 :]
        shape = np.concatenate([right, left, edge[np.argsort(edge[:, 0])]])
        canvas.fill(shape, colour, alpha=min(0.92, looks.beard), blur=0.014)
    if looks.moustache > 0.0:
        top = curve((MIDDLE - 0.16, MOUTH_Y - 0.005), (MIDDLE, MOUTH_Y - 0.075), (MIDDLE + 0.16, MOUTH_Y - 0.005))
        bottom = curve((MIDDLE + 0.16, MOUTH_Y - 0.005), (MIDDLE, MOUTH_Y - 0.020), (MIDDLE - 0.16, MOUTH_Y - 0.005))
        canvas.fill(np.concatenate([top, bottom]), colour, alpha=0.9, blur=0.006)


def _mouth(canvas: Canvas, looks: Looks) -> None:
    """Draw the lips between the template's corners, narrower in children."""
    reach = MOUTH_DX * (1.0 - 0.22 * looks.child)
    high, smile = looks.lip_height, 0.012
    left, right = (MIDDLE - reach, MOUTH_Y - smile), (MIDDLE + reach, MOUTH_Y - smile)
    upper = curve(left, (MIDDLE - 0.045, MOUTH_Y - high), (MIDDLE, MOUTH_Y - high * 0.7))
    upper = np.concatenate([upper, mirrored(upper, MIDDLE)[::-1]])
    lower = curve(
        right, (MIDDLE + 0.07, MOUTH_Y + high), (MIDDLE, MOUTH_Y + high * 1.4), (MIDDLE - 0.07, MOUTH_Y + high), left
    )
    canvas.fill(np.concatenate([upper, lower]), looks.lips, blur=0.003)
    middle = curve(left, (MIDDLE, MOUTH_Y + 0.006), right)
    canvas.line(middle, looks.lips * np.float32(0.45), width=0.010, alpha=0.85)
    shade = looks.skin * np.float32(0.7)
    canvas.fill(ellipse(MIDDLE, MOUTH_Y + high * 1.4 + 0.02, 0.08, 0.010), shade, alpha=0.5, blur=0.008)


def _front_hair(canvas: Canvas, looks: Looks, rng: np.random.Generator) -> None:
    """Draw the hair above the forehead and, where it is long, beside the cheeks."""
    line = 0.17 if looks.fringe else looks.hairline
    part = rng.uniform(-0.15, 0.15)
    if looks.baldness < 0.55:
        recess = 0.10 * looks.baldness
        front = curve(
            (MIDDLE - looks.cheek - 0.05, 0.34 if looks.long_hair else 0.30),
            (MIDDLE - looks.cheek + 0.030, 0.21),
            (MIDDLE - 0.25, line + 0.035 - recess),
            (MIDDLE + part, line - (0.0 if looks.fringe else 0.02)),
            (MIDDLE + 0.25, line + 0.035 - recess),
            (MIDDLE + looks.cheek - 0.030, 0.21),
            (MIDDLE + looks.cheek + 0.05, 0.34 if looks.long_hair else 0.30),
        )
        cap = np.concatenate([front, [[MIDDLE + 0.5, -0.2], [MIDDLE - 0.5, -0.2]]])
        canvas.fill(cap, looks.hair, blur=0.006)
        shine = np.minimum(looks.hair * np.float32(1.2) + 14, 255).astype(np.float32)
        for offset in rng.uniform(-0.3, 0.3, 5):
            strand = curve((MIDDLE + offset, -0.05), (MIDDLE + offset * 1.15, line - 0.015))
            canvas.line(strand, shine, width=0.010, alpha=0.35, blur=0.006)
    if looks.long_hair:
        for turn in (1, -1):
            lock = curve((0.40, 0.05), (0.345, 0.30), (0.385, 0.60), (0.36, 0.85), (0.40, 1.1))
            strip = np.concatenate([lock, curve((0.54, 1.1), (0.49, 0.5), (0.46, 0.05))])
            canvas.fill(strip * (turn, 1.0) + (MIDDLE, 0.0), looks.hair, blur=0.008)


def _glasses(canvas: Canvas, looks: Looks) -> None:
    frame = _BLACK if looks.round_glasses else rgb(70, 46, 36)
    square = 1.0 if looks.round_glasses else 0.55
    for turn in (1, -1):
        rim = ellipse(MIDDLE + turn * EYE_DX, EYE_Y + 0.012, 0.125, 0.092, square=square)
        canvas.fill(rim, _WHITE, alpha=0.10)
        canvas.line(np.concatenate([rim, rim[:1]]), frame, width=0.012)
        bow = np.array([[MIDDLE + turn * (EYE_DX + 0.125), EYE_Y], [MIDDLE + turn * 0.42, EYE_Y - 0.01]])
        canvas.line(bow, frame, width=0.012)
    canvas.line(curve((MIDDLE - 0.06, EYE_Y), (MIDDLE, EYE_Y - 0.012), (MIDDLE + 0.06, EYE_Y)), frame, width=0.012)
