"""Corruptions do what they are called, by the amounts they name, and nothing depends on what ran before."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg

from agegender.face.corruption import CORRUPTIONS, SEVERITIES, corrupt
from agegender.resize import resize_crop

pytestmark = pytest.mark.quick

DRAWN = {"shift", "rotate", "noise"}
SIDE = 112
# Far enough from the border that nothing mirrored is seen.
INNER = slice(24, -24)


def ramp(side: int = SIDE) -> npt.NDArray[np.uint8]:
    """Red says the column and green the row, two levels per pixel."""
    y, x = np.mgrid[:side, :side]
    return np.stack([2 * x, 2 * y, np.full_like(x, 90)], axis=2).astype(np.uint8)


def texture(height: int = SIDE, width: int = SIDE) -> npt.NDArray[np.uint8]:
    """Smooth colours with fine detail on them, as a face has."""
    rng = np.random.default_rng(5)
    coarse = resize_crop(rng.integers(40, 216, (6, 6, 3)).astype(np.uint8), (height, width))
    return np.clip(coarse + rng.normal(0, 8, coarse.shape), 0, 255).astype(np.uint8)


def places(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return (n, n, 2) x, y: which place of the ramp is seen at each inner pixel."""
    return image[INNER, INNER, :2].astype(np.float64) / 2


def where(side: int = SIDE) -> npt.NDArray[np.float64]:
    """Return (n, n, 2) x, y of the inner pixels."""
    return places(ramp(side))


def off(image: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    return float(np.abs(image.astype(np.int64) - other).mean())


@pytest.mark.parametrize("shape", [(112, 112), (97, 130), (25, 25), (8, 8)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_comes_back_as_a_new_one_of_its_size(name: str, shape: tuple[int, int]) -> None:
    image = texture(*shape)
    before = image.copy()
    spoilt = corrupt(image, name, seed=0, number=7)
    assert (spoilt.shape, spoilt.dtype) == (image.shape, np.uint8)
    assert spoilt.flags.c_contiguous
    assert not np.shares_memory(spoilt, image)
    np.testing.assert_array_equal(image, before)
    # A view that is not contiguous is the same picture.
    np.testing.assert_array_equal(corrupt(image[:, ::-1].copy()[:, ::-1], name, seed=0, number=7), spoilt)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_is_drawn_depends_on_seed_and_number_alone(name: str) -> None:
    image = texture()
    first = corrupt(image, name, seed=1, number=3)
    others = [corrupt(image, name, seed=seed, number=number) for seed in (1, 2) for number in range(6)]
    np.testing.assert_array_equal(corrupt(image, name, seed=1, number=3), first)
    same = [np.array_equal(other, first) for other in others]
    assert all(same) if name not in DRAWN else 0 < sum(same) < len(same)


def test_each_corruption_says_what_it_does() -> None:
    assert list(CORRUPTIONS) == [
        *("shift", "loose", "tight", "rotate", "small", "blur"),
        *("jpeg", "gray", "dark", "noise", "mirror"),
    ]
    assert all(corruption.summary and corruption.function.__doc__ for corruption in CORRUPTIONS.values())


def test_shift_moves_by_a_tenth_of_the_side_in_all_directions() -> None:
    moves = []
    for number in range(40):
        move = where() - places(corrupt(ramp(), "shift", seed=0, number=number))
        assert np.ptp(move, axis=(0, 1)).max() == 0
        moves.append(move[0, 0])
    lengths = np.hypot(*np.array(moves).T)
    # Whole pixels: up to half of one off on each axis.
    assert np.abs(lengths - 0.1 * SIDE).max() <= np.sqrt(0.5)
    assert len({tuple(np.sign(move)) for move in moves} & {(1, 1), (1, -1), (-1, 1), (-1, -1)}) == 4


@pytest.mark.parametrize(("name", "scale"), [("loose", 1 / 1.1), ("tight", 1.1)])
def test_loose_and_tight_scale_around_the_middle(name: str, scale: float) -> None:
    seen = places(corrupt(ramp(), name, seed=0, number=0))
    middle = (SIDE - 1) / 2
    assert np.abs(seen - (middle + (where() - middle) / scale)).max() < 0.5


def test_rotate_turns_by_ten_degrees_either_way() -> None:
    middle = (SIDE - 1) / 2
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    ways = []
    for number in range(20):
        seen = places(corrupt(ramp(), "rotate", seed=0, number=number)) - middle
        distances = [np.abs(seen - (where() - middle) @ way).max() for way in (turn, turn.T)]
        assert min(distances) < 0.5
        ways.append(int(np.argmin(distances)))
    assert set(ways) == {0, 1}


def test_small_keeps_what_24_pixels_can_hold() -> None:
    image = texture()
    spoilt = corrupt(image, "small", seed=0, number=0)
    assert off(resize_crop(spoilt, (24, 24)), resize_crop(image, (24, 24))) < 3
    # Of detail finer than a 24th of the side hardly anything is left.
    assert np.diff(spoilt.astype(float), axis=1).std() < np.diff(image.astype(float), axis=1).std() / 3
    tiny = texture(24, 30)
    np.testing.assert_array_equal(corrupt(tiny, "small", seed=0, number=0), tiny)


@pytest.mark.parametrize("side", [112, 224])
def test_blur_spreads_an_edge_by_its_sigma(side: int) -> None:
    edge = np.zeros((side, side, 3), np.uint8)
    edge[:, side // 2 :] = 255
    weights = np.diff(corrupt(edge, "blur", seed=0, number=0)[side // 2, :, 0].astype(float))
    x = np.arange(side - 1)
    middle = np.average(x, weights=weights)
    assert np.sqrt(np.average((x - middle) ** 2, weights=weights)) == pytest.approx(side * 2 / 112, rel=0.05)


def test_jpeg_is_of_quality_10() -> None:
    image = texture()

    def loss(quality: int) -> float:
        return off(simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(image, quality, "RGB", "420")), image)

    assert loss(12) < off(corrupt(image, "jpeg", seed=0, number=0), image) < loss(8)


def test_gray_leaves_the_luma() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 200, 200]]], np.uint8)
    assert corrupt(colours, "gray", seed=0, number=0)[0].tolist() == [[v] * 3 for v in (76, 150, 29, 200)]


def test_dark_leaves_a_quarter_of_the_light() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    light = (corrupt(values, "dark", seed=0, number=0) / 255) ** 2.2
    assert np.abs(light - 0.25 * (values / 255) ** 2.2).max() < 0.003


def test_noise_is_gaussian_independent_and_clipped() -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    added: Any = corrupt(flat, "noise", seed=0, number=0).astype(np.float64) - 128
    assert added.mean() == pytest.approx(0, abs=0.2)
    assert added.std() == pytest.approx(15, abs=0.3)
    assert (np.abs(added) < 15).mean() == pytest.approx(0.683, abs=0.02)
    correlation = np.corrcoef(added.reshape(-1, 3).T)
    assert np.abs(correlation - np.eye(3)).max() < 0.03
    for value in (0, 255):
        # Half of the noise points out of range and is cut off; wrapped around it would be far away.
        assert off(corrupt(np.full_like(flat, value), "noise", seed=0, number=0), np.full_like(flat, value)) < 7


def test_mirror_exchanges_left_and_right() -> None:
    image = texture(50, 41)
    spoilt = corrupt(image, "mirror", seed=0, number=0)
    np.testing.assert_array_equal(spoilt[:, 0], image[:, -1])
    np.testing.assert_array_equal(corrupt(spoilt, "mirror", seed=0, number=0), image)


GRADED = [name for name, corruption in CORRUPTIONS.items() if corruption.amounts]


def test_all_but_the_mirror_have_five_severities() -> None:
    assert [name for name in CORRUPTIONS if name not in GRADED] == ["mirror"]
    for name in GRADED:
        corruption = CORRUPTIONS[name]
        assert len(corruption.amounts) == len(SEVERITIES) == 5
        steps = np.diff(corruption.amounts)
        assert (steps > 0).all() or (steps < 0).all()
        assert corruption.unit


@pytest.mark.parametrize("name", GRADED)
def test_each_severity_harms_more_than_the_one_before(name: str) -> None:
    image = texture()
    harm = [off(corrupt(image, name, seed=0, number=0, severity=each), image) for each in SEVERITIES]
    assert harm[0] > 0
    assert harm == sorted(harm)
    assert harm[-1] > 1.3 * harm[0]


@pytest.mark.parametrize("name", GRADED)
def test_the_usual_amount_is_what_the_severity_of_that_amount_does(name: str) -> None:
    corruption, image = CORRUPTIONS[name], texture()
    usual = corrupt(image, name, seed=3, number=5)
    same = [number for number, amount in enumerate(corruption.amounts, 1) if amount == corruption.amount]
    for severity in same:
        np.testing.assert_array_equal(corrupt(image, name, seed=3, number=5, severity=severity), usual)
    assert same or name in ("blur", "noise")


def test_imagenet_c_s_own_amounts() -> None:
    assert CORRUPTIONS["jpeg"].amounts == (25, 18, 15, 10, 7)
    assert CORRUPTIONS["blur"].amounts == pytest.approx([s / 224 for s in (1, 2, 3, 4, 6)])
    assert CORRUPTIONS["noise"].amounts == pytest.approx([255 * c for c in (0.08, 0.12, 0.18, 0.26, 0.38)])


def test_a_severity_draws_what_the_others_draw() -> None:
    ways = [
        np.sign(where() - places(corrupt(ramp(), "shift", seed=0, number=4, severity=each)))[0, 0] for each in (3, 4, 5)
    ]
    assert np.ptp(ways, axis=0).max() == 0


@pytest.mark.parametrize(("name", "severity", "has"), [("blur", 0, 5), ("blur", 6, 5), ("mirror", 1, 0)])
def test_other_severities_are_refused(name: str, severity: int, has: int) -> None:
    with pytest.raises(ValueError, match=f"{name} has {has} severities, so none of number {severity}"):
        corrupt(texture(), name, seed=0, number=0, severity=severity)
