"""Alignment: the transform is the least-squares one, and pixels arrive where it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from agegender.errors import ImageError, UsageError
from agegender.face.align import similarity, warp
from agegender.face.templates import TEMPLATES, get_template

ARCFACE = get_template("arcface")


def picture(height: int = 120, width: int = 140) -> np.ndarray:
    """Smooth, different everywhere: red grows to the right, green downwards."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], axis=2).astype(np.uint8)


@given(
    name=st.sampled_from(sorted(TEMPLATES)),
    scale=st.floats(0.05, 20),
    angle=st.floats(-3.1, 3.1),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_similarity_undoes_a_similarity(name: str, scale: float, angle: float, shift: tuple[float, float]) -> None:
    target = get_template(name).pixels(112)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = target @ turn.T + shift
    matrix = similarity(landmarks, get_template(name), 112)
    np.testing.assert_allclose(landmarks @ matrix[:, :2].T + matrix[:, 2], target, atol=1e-6)


def test_similarity_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(3)
    landmarks = ARCFACE.pixels(200) + rng.normal(0, 6, (5, 2))
    matrix = similarity(landmarks, ARCFACE, 112)
    # x' = a x - b y + c, y' = b x + a y + d, solved directly.
    x, y = landmarks.T
    one, zero = np.ones(5), np.zeros(5)
    rows = np.concatenate([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)])
    a, b, c, d = np.linalg.lstsq(rows, ARCFACE.pixels(112).T.reshape(-1), rcond=None)[0]
    np.testing.assert_allclose(matrix, [[a, -b, c], [b, a, d]], atol=1e-9)


@given(
    name=st.sampled_from(sorted(TEMPLATES)),
    size=st.sampled_from([64, 112, 224]),
    points=st.lists(st.tuples(st.floats(-100, 8000), st.floats(-100, 8000)), min_size=5, max_size=5),
)
def test_similarity_is_that_of_scikit_image(name: str, size: int, points: list[tuple[float, float]]) -> None:
    landmarks, template = np.array(points), get_template(name)
    assume(landmarks.std(axis=0).max() > 0.5)
    transform = SimilarityTransform.from_estimate(landmarks, template.pixels(size))
    # Points that say next to nothing of the rotation, such as a mirrored face, leave both nothing but rounding.
    assume(transform and transform.scale > 1e-3 * size / (np.ptp(landmarks, axis=0).max() + 1))
    np.testing.assert_allclose(similarity(landmarks, template, size), transform.params[:2], atol=1e-6)


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((5, 2)),
        np.full((5, 2), 1 / 3),
        np.tile([1234.567, 0.1], (5, 1)),
        np.full((5, 2), np.nan),
        np.full((5, 2), np.inf),
        ARCFACE.pixels(1) * 1e200,
    ],
)
def test_points_that_determine_nothing(points: np.ndarray) -> None:
    with pytest.raises(ImageError, match="don't determine a crop"):
        similarity(points, ARCFACE, 112)


def test_wrong_shape_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match=r"landmarks have shape \(2, 5\), not \(5, 2\)"):
        similarity(np.zeros((2, 5)), ARCFACE, 112)


def test_a_face_in_place_is_cut_out() -> None:
    image = picture()
    crop = warp(image, ARCFACE.pixels(64) + np.array([30, 20]), ARCFACE, size=64)
    np.testing.assert_array_equal(crop, image[20:84, 30:94])


def test_rotation_turns_the_face_upright() -> None:
    image = picture(100, 100)
    turned = np.rot90(image).copy()
    points = ARCFACE.pixels(100)
    # rot90 brings (x, y) to (y, width - 1 - x).
    landmarks = np.stack([points[:, 1], 99 - points[:, 0]], axis=1)
    crop = warp(turned, landmarks, ARCFACE, size=100)
    assert np.abs(crop[1:-1, 1:-1].astype(int) - image[1:-1, 1:-1]).max() <= 1


@pytest.mark.parametrize("shrink", [2, 3, 8, 20])
def test_large_faces_do_not_alias(shrink: int) -> None:
    side = 32 * shrink
    y, x = np.mgrid[:side, :side]
    checks = np.repeat(((x + y) % 2 * 200).astype(np.uint8)[..., None], 3, axis=2)
    crop = warp(checks, ARCFACE.pixels(side), ARCFACE, size=32)
    # An odd block holds one white pixel more or less than black ones.
    assert np.abs(crop[2:-2, 2:-2].astype(int) - 100).max() <= 100 / shrink**2 + 1


def test_shrinking_keeps_the_place() -> None:
    image = picture(448, 448)
    crop = warp(image, ARCFACE.pixels(448), ARCFACE, size=112)
    means = image.reshape(112, 4, 112, 4, 3).mean(axis=(1, 3))
    # The template's points are pixel indices, so a pixel's centre lies up to 1.5 px of the photo off its block's.
    assert np.abs(crop[1:-1, 1:-1] - means[1:-1, 1:-1]).max() <= 2


def test_outside_is_black_or_one_colour() -> None:
    image = np.full((50, 50, 3), 200, np.uint8)
    landmarks = ARCFACE.pixels(100)
    assert (warp(image, landmarks, ARCFACE, size=100)[60:, 60:] == 0).all()
    crops = [
        warp(image, landmarks, ARCFACE, size=100, border="random", rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    assert (crops[0][60:, 60:] == crops[0][99, 99]).all()
    np.testing.assert_array_equal(crops[0], crops[1])
    assert (crops[0][99, 99] != crops[2][99, 99]).any()
    assert (crops[2][:40, :40] == 200).all()


def test_borders_are_checked() -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(UsageError, match=r"unknown border 'white' \(black, random\)"):
        warp(image, ARCFACE.pixels(50), ARCFACE, size=50, border="white")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs rng"):
        warp(image, ARCFACE.pixels(50), ARCFACE, size=50, border="random")


def test_a_tiny_and_a_huge_face_both_work() -> None:
    image = picture()
    for side in (0.01, 5000):
        assert warp(image, ARCFACE.pixels(1) * side, ARCFACE, size=112).shape == (112, 112, 3)
