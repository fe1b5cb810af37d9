"""What degraded training faces look like, and which faces they are."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from agegender.errors import UsageError
from agegender.pipeline import Loader, LoaderConfig
from agegender.pipeline.degrade import BLUR, DARK, GRAY, KINDS, NOISE, SMALL, degrade
from agegender.recordio import RecordSet

Image = npt.NDArray[np.uint8]
MakeSet = Callable[..., RecordSet]


@pytest.fixture
def face() -> Image:
    """A checkered picture: nothing in it is even."""
    rng = np.random.default_rng(2)
    cells = rng.integers(40, 216, (14, 14, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(cells, (112, 112), interpolation=cv2.INTER_NEAREST), np.uint8)


def detail(image: Image) -> float:
    """Return how much neighbouring pixels differ."""
    return float(np.abs(np.diff(image.astype(int), axis=1)).mean())


@pytest.mark.parametrize("kind", range(KINDS))
def test_every_kind_keeps_shape_and_original(face: Image, kind: int) -> None:
    before = face.copy()
    changed = degrade(face, kind, 0.5, seed=1)
    assert changed.shape == face.shape and changed.dtype == np.uint8
    assert (changed != face).any()
    np.testing.assert_array_equal(face, before)
    np.testing.assert_array_equal(degrade(face, kind, 0.5, seed=1), changed)


@pytest.mark.parametrize("kind", [SMALL, BLUR])
def test_detail_goes_the_more_the_stronger(face: Image, kind: int) -> None:
    mild, strong = (detail(degrade(face, kind, level, seed=1)) for level in (0.0, 1.0))
    assert strong < 0.8 * mild < 0.8 * detail(face) * 1.01
    assert degrade(face, kind, 1.0, seed=1).mean() == pytest.approx(face.mean(), abs=1.5)


@pytest.mark.parametrize(("level", "sigma"), [(0.0, 2.0), (1.0, 20.0)])
def test_noise_has_its_spread_and_follows_the_seed(face: Image, level: float, sigma: float) -> None:
    difference = degrade(face, NOISE, level, seed=1).astype(int) - face
    assert difference.std() == pytest.approx(sigma, rel=0.05)
    assert abs(difference.mean()) < 0.5
    assert (degrade(face, NOISE, level, seed=2) != degrade(face, NOISE, level, seed=1)).any()


def test_dusk_darkens_and_gray_has_no_colour(face: Image) -> None:
    mild, strong = (degrade(face, DARK, level, seed=1).mean() for level in (0.0, 1.0))
    assert strong < mild < face.mean()
    gray = degrade(face, GRAY, 0.0, seed=1)
    np.testing.assert_array_equal(gray[..., 0], gray[..., 2])


def test_the_share_asked_for_is_degraded_and_the_rest_left_alone(make_set: MakeSet) -> None:
    records = make_set(200)
    loaded = []
    for share in (0.0, 0.3):
        config = LoaderConfig(rand_mirror=True, degrade=share)
        with Loader(records, batch_size=200, size=(48, 48), config=config, seed=3) as loader:
            loaded.append(next(loader.epoch(0)).data.copy())
    changed = [bool((one != other).any()) for one, other in zip(*loaded)]
    assert 40 <= sum(changed) <= 80


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(UsageError, match=rf"degrade {share} is not within 0\.\.1"):
        LoaderConfig(degrade=share)
