"""How a synthetic face looks, given its labels: every number that the drawing needs, chosen by one random stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agegender.labels import MALE

Colour = npt.NDArray[np.float32]

_TONES = ((250, 220, 200), (236, 196, 168), (214, 168, 132), (164, 116, 82), (104, 70, 50))
_HAIR = ((28, 22, 20), (52, 36, 26), (86, 58, 38), (132, 90, 52), (196, 156, 96), (128, 58, 34))
_EYES = ((62, 42, 28), (92, 66, 40), (74, 98, 70), (86, 118, 148))
_CLOTHES = ((150, 40, 48), (40, 70, 130), (60, 110, 80), (200, 190, 170), (40, 40, 46), (210, 150, 60), (130, 80, 140))


def rgb(red: float, green: float, blue: float) -> Colour:
    """Return a colour, or three factors for one, as float32 (3,)."""
    return np.array([red, green, blue], np.float32)


@dataclass(frozen=True)
class Looks:
    """Colours are RGB 0..255, lengths shares of the picture's side, the rest shares 0..1."""

    skin: Colour
    hair: Colour
    brow: Colour
    iris: Colour
    lips: Colour
    clothes: Colour
    child: float  # 1 at birth, 0 from 18 years on
    wrinkles: float  # 0 until 25 years, 1 at 90
    long_hair: bool
    baldness: float
    hairline: float
    fringe: bool
    cheek: float
    jaw: float
    squareness: float
    chin: float
    eye: float
    lid_droop: float
    brow_width: float
    brow_arch: float
    lip_height: float
    beard: float  # 0 none, up to 0.35 stubble, 1 a full beard
    moustache: float
    makeup: float
    glasses: bool
    round_glasses: bool
    blush: float
    spots: int


def choose_looks(rng: np.random.Generator, *, gender: int, age: int, tone: int) -> Looks:
    """Choose the looks of a face: cues of age and gender as in people, each with exceptions and noise."""
    male = gender == MALE
    child = max(0.0, 1.0 - age / 18.0) ** 1.2
    wrinkles = float(np.clip((age - 25) / 65.0 + rng.normal(0.0, 0.04), 0.0, 1.0)) if age >= 22 else 0.0
    adult = 1.0 - child
    skin = _jitter(rng, np.asarray(_TONES[tone], np.float32), 7.0)
    skin = skin * (1.0 - 0.10 * wrinkles) + np.float32(0.10 * wrinkles) * _gray_of(skin)
    hair, brow = _hair_colours(rng, age=age, dark=tone >= 3)
    long_hair = bool(rng.random() < (0.06 if male else 0.88)) and age >= 2
    baldness = _baldness(rng, male=male, age=age)
    grown = male and age >= 17
    style = rng.random()
    beard = (0.0 if style < 0.4 else rng.uniform(0.15, 0.4) if style < 0.7 else 1.0) if grown else 0.0
    lips = skin * 0.78 + np.float32(0.22) * rgb(190, 60, 70)
    makeup = 0.0 if male or age < 14 else float(rng.uniform(0.35, 1.0))
    lips = lips * (1 - 0.6 * makeup) + np.float32(0.6 * makeup) * rgb(186, 40, 62)
    return Looks(
        skin=skin,
        hair=hair,
        brow=brow,
        iris=_jitter(rng, np.asarray(_EYES[0 if tone >= 3 else rng.integers(len(_EYES))], np.float32), 8.0),
        lips=lips,
        clothes=_jitter(rng, np.asarray(_CLOTHES[rng.integers(len(_CLOTHES))], np.float32), 15.0),
        child=child,
        wrinkles=wrinkles,
        long_hair=long_hair,
        baldness=baldness,
        hairline=0.10 - 0.06 * child - 0.16 * baldness + rng.normal(0.0, 0.015),
        fringe=bool(long_hair and rng.random() < 0.35) or bool(3 <= age < 14 and rng.random() < 0.5),
        cheek=0.385 + 0.035 * child + rng.normal(0.0, 0.010),
        jaw=0.300 + (0.040 if male else -0.005) * adult + 0.045 * child + 0.03 * wrinkles + rng.normal(0.0, 0.008),
        squareness=1.0 - (0.18 if male else 0.0) * adult + rng.normal(0.0, 0.03),
        chin=0.975 + (0.02 if male else -0.01) * adult - 0.085 * child + rng.normal(0.0, 0.01),
        eye=0.066 + 0.028 * child - 0.012 * wrinkles + (0.0 if male else 0.004) + rng.normal(0.0, 0.002),
        lid_droop=0.55 * wrinkles,
        brow_width=(0.034 if male else 0.019) * (1.0 - 0.6 * child) + rng.normal(0.0, 0.002),
        brow_arch=0.012 if male else 0.030,
        lip_height=((0.026 if male else 0.038) - 0.006 * child) * (1.0 - 0.45 * wrinkles),
        beard=float(beard),
        moustache=1.0 if beard == 1.0 or (grown and rng.random() < 0.12) else 0.0,
        makeup=makeup,
        glasses=bool(rng.random() < (0.03 if age < 6 else 0.12 if age < 40 else 0.30 if age < 60 else 0.50)),
        round_glasses=bool(rng.random() < 0.5),
        blush=0.30 * child + 0.25 * makeup,
        spots=int(rng.poisson(max(0.0, age - 50) / 5.0)),
    )


def _jitter(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    shades = colour + rng.normal(0.0, spread) + rng.normal(0.0, spread / 3.0, 3)
    return np.asarray(np.clip(shades, 8.0, 255.0), np.float32)


def _gray_of(colour: Colour) -> Colour:
    return np.full(3, colour.mean(), np.float32)


def _hair_colours(rng: np.random.Generator, *, age: int, dark: bool) -> tuple[Colour, Colour]:
    """Return the colours of hair and brows: gray from about fifty on, brows some years later."""
    base = _jitter(rng, np.asarray(_HAIR[rng.integers(2 if dark else len(_HAIR))], np.float32), 8.0)
    white = np.full(3, rng.uniform(190.0, 235.0), np.float32)
    turning = rng.normal(52.0, 5.0)
    shares = [0.95 / (1.0 + math.exp(-(age - year) / 6.0)) for year in (turning, turning + 10.0)]
    hair, brow = (base * np.float32(1 - share) + white * np.float32(share) for share in shares)
    return hair, brow


def _baldness(rng: np.random.Generator, *, male: bool, age: int) -> float:
    """Return how far the hair has gone (or, in babies, not yet come)."""
    if age < 2:
        return float(rng.uniform(0.6, 1.0))
    if not male or age < 25:
        return 0.0
    reach = float(np.clip((age - 25) / 45.0, 0.0, 1.0))
    return reach * float(rng.uniform(0.25, 1.0))
