"""What the loader does to pixels and labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg

from agegender.pipeline import Loader, LoaderConfig
from agegender.pipeline.augment import Augmenter
from agegender.pipeline.decode import Decoder
from agegender.recordio import Header, RecordSet, RecordWriter, open_records, pack
from agegender.resize import resize_crop

MakeSet = Callable[..., RecordSet]
Image = npt.NDArray[np.uint8]


def load(records: RecordSet, size: tuple[int, int], config: LoaderConfig | None = None, epoch: int = 0) -> Image:
    with Loader(records, batch_size=len(records), size=size, config=config, seed=11) as loader:
        return next(loader.epoch(epoch)).data.copy()


def decoded(records: RecordSet, position: int) -> Image:
    """Decode as OpenCV does, from the last JPEG or PNG of the payload."""
    body = np.frombuffer(records.read(position), np.uint8)[32:]
    return np.asarray(cv2.cvtColor(cv2.imdecode(body, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


@pytest.mark.parametrize("size", [(48, 40), (24, 20), (30, 33), (96, 80)])
def test_plain_loading_is_decode_and_resize(make_set: MakeSet, size: tuple[int, int]) -> None:
    records = make_set(5, side=(48, 40))
    data = load(records, size)
    assert data.dtype == np.uint8 and data.shape == (5, *size, 3)
    for position in range(5):
        expected = resize_crop(decoded(records, position), size)
        np.testing.assert_allclose(data[position].astype(int), expected.astype(int), atol=1)


def test_mirrors_are_exact_and_half_of_all(make_set: MakeSet) -> None:
    records = make_set(200)
    plain, mirrored = load(records, (48, 48)), load(records, (48, 48), LoaderConfig(rand_mirror=True))
    turned = [bool((image != other).any()) for image, other in zip(plain, mirrored)]
    for flip, image, other in zip(turned, plain, mirrored):
        np.testing.assert_array_equal(other, image[:, ::-1] if flip else image)
    assert 70 <= sum(turned) <= 130


def test_cutout_is_a_grey_square(make_set: MakeSet) -> None:
    records = make_set(100)
    plain = load(records, (48, 48))
    cut = load(records, (48, 48), LoaderConfig(rand_mirror=False, cutoff=10))
    sides: list[tuple[int, int]] = []
    for image, other in zip(plain, cut):
        changed = (image != other).any(axis=2)
        if not changed.any():
            continue
        assert (other[changed] == 128).all()
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        sides.append((int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1))
    assert 30 <= len(sides) <= 70
    assert max(sides) == (10, 10)


def test_without_strength_jitter_changes_nothing() -> None:
    """The warp itself is exact: with a share next to nothing it gives the image back, and its mirror."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    augmenter = Augmenter(LoaderConfig(jitter=1e-6), size=(40, 40))
    plan = augmenter.plan(np.arange(20), seed=0, epoch=0)
    outcomes = set()
    for row in range(20):
        out = np.empty_like(image)
        augmenter.apply(image, out, plan, row)
        straight, turned = (out == image).all(), (out == image[:, ::-1]).all()
        assert straight or turned
        outcomes.add(bool(straight))
    assert outcomes == {True, False}


@pytest.mark.parametrize("size", [(64, 64), (112, 112), (128, 128)])
def test_jitter_stays_within_its_share(size: tuple[int, int]) -> None:
    """A dot in the middle moves by at most half the share of the side; the spread over many is most of that."""
    image = np.zeros((112, 112, 3), np.uint8)
    image[52:60, 52:60] = 255
    augmenter = Augmenter(LoaderConfig(rand_mirror=False, jitter=0.1), size=size)
    plan = augmenter.plan(np.arange(200), seed=0, epoch=0)
    centres = []
    for row in range(200):
        out = np.empty((*size, 3), np.uint8)
        augmenter.apply(image, out, plan, row)
        weight = out[..., 0].astype(float)
        rows, columns = np.indices(size)
        centres.append(((rows * weight).sum() / weight.sum(), (columns * weight).sum() / weight.sum()))
    shift = (np.array(centres) - (np.array(size) - 1) / 2) / size
    assert np.abs(shift).max() <= 0.05 + 0.003
    assert np.abs(shift).max() > 0.045
    assert np.abs(shift.mean(axis=0)).max() < 0.01


def test_jitter_shrinks_without_aliasing() -> None:
    """Stripes of one pixel become even grey, as an averaging resize makes them, not a moire pattern."""
    image = np.zeros((112, 112, 3), np.uint8)
    image[:, ::2] = 255
    augmenter = Augmenter(LoaderConfig(rand_mirror=False, jitter=0.05), size=(28, 28))
    plan = augmenter.plan(np.arange(20), seed=0, epoch=0)
    for row in range(20):
        out = np.empty((28, 28, 3), np.uint8)
        augmenter.apply(image, out, plan, row)
        assert out[3:-3, 3:-3].std() < 25


def test_colour_changes_stay_in_range_and_keep_grey_grey() -> None:
    image = np.repeat(np.random.default_rng(0).integers(60, 180, (16, 16, 1), dtype=np.uint8), 3, axis=2)
    augmenter = Augmenter(LoaderConfig(rand_mirror=False, color=0.2), size=(16, 16))
    plan = augmenter.plan(np.arange(100), seed=0, epoch=0)
    means = []
    for row in range(100):
        out = np.empty_like(image)
        augmenter.apply(image, out, plan, row)
        assert np.ptp(out.astype(int), axis=2).max() <= 1
        means.append(out.mean() / image.mean())
    assert 0.8 - 0.01 <= min(means) < 0.85
    assert 1.15 < max(means) <= 1.2 + 0.01


def test_jpeg_damage_hits_its_share(make_set: MakeSet) -> None:
    records = make_set(200)
    plain = load(records, (48, 48))
    damaged = load(records, (48, 48), LoaderConfig(rand_mirror=False, jpeg=0.25))
    hit = (plain != damaged).any(axis=(1, 2, 3))
    assert 30 <= hit.sum() <= 70
    difference = np.abs(plain[hit].astype(int) - damaged[hit].astype(int)).mean()
    assert 0.5 < difference < 15


def test_one_augmentation_leaves_the_draws_of_another(make_set: MakeSet) -> None:
    records = make_set(50)
    plain = load(records, (48, 48))
    mirrored = load(records, (48, 48), LoaderConfig(rand_mirror=True))
    both = load(records, (48, 48), LoaderConfig(rand_mirror=True, cutoff=4))
    turned = (plain != mirrored).any(axis=(1, 2, 3))
    for flip, image, other in zip(turned, plain, both):
        expected = image[:, ::-1] if flip else image
        assert (other != expected).any(axis=2).sum() <= 16


def write(path: Path, bodies: list[bytes], label: tuple[float, ...] = (1, 30)) -> RecordSet:
    with RecordWriter(path) as writer:
        for key, body in enumerate(bodies):
            writer.write(key, pack(Header(np.array(label, np.float32), key), body))
    return open_records(path)


def test_other_formats_and_colour_spaces(tmp_path: Path) -> None:
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8), (20, 20))
    bgr, grey = cv2.cvtColor(image, cv2.COLOR_RGB2BGR), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    bodies = [
        cv2.imencode(kind, picture)[1].tobytes() for kind, picture in ((".png", bgr), (".png", grey), (".jpg", grey))
    ]
    png, grey_png, grey_jpeg = load(write(tmp_path / "mixed.rec", bodies), (20, 20))
    np.testing.assert_array_equal(png, image)
    np.testing.assert_array_equal(grey_png, np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_allclose(grey_jpeg.astype(int), grey_png.astype(int), atol=8)


def test_images_of_any_size_in_one_set(tmp_path: Path) -> None:
    sides = [(300, 200), (10, 10), (112, 112), (500, 400), (64, 64)]
    images = [np.full((*side, 3), 40 * (number + 1), np.uint8) for number, side in enumerate(sides)]
    bodies = [cv2.imencode(".jpg", image)[1].tobytes() for image in images]
    data = load(write(tmp_path / "sizes.rec", bodies), (64, 64))
    assert [int(image.mean().round()) for image in data] == pytest.approx([40, 80, 120, 160, 200], abs=1)


def test_labels_in_either_order_and_more_of_them(tmp_path: Path) -> None:
    body = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    records = write(tmp_path / "ssr.rec", [body] * 3, label=(34, 1))
    with Loader(records, batch_size=3, size=(4, 4), label_order="age,gender") as loader:
        assert next(loader.epoch(0)).labels.tolist() == [[1, 34]] * 3
    records = write(tmp_path / "wide.rec", [body] * 3, label=(0, 34, 30, 40, 2.5))
    with Loader(records, batch_size=3, size=(4, 4)) as loader:
        assert loader.label_width == 5
        assert next(loader.epoch(0)).labels.tolist() == [[0, 34, 30, 40, 2.5]] * 3


def test_sizes_may_change_from_face_to_face(tmp_path: Path) -> None:
    """Faces that fit are decoded straight into the batch; one of another size in between must not be."""
    sides = [48, 48, 30, 48, 60, 48, 48, 20, 20, 48]
    images = [
        cv2.resize(np.random.default_rng(key).integers(0, 256, (4, 4, 3), dtype=np.uint8), (side, side))
        for key, side in enumerate(sides)
    ]
    records = write(tmp_path / "sizes.rec", [simplejpeg.encode_jpeg(image, quality=95) for image in images])
    data = load(records, (48, 48))
    for position, image in enumerate(data):
        np.testing.assert_array_equal(image, resize_crop(decoded(records, position), (48, 48)))


def test_cmyk_jpegs_are_read(tmp_path: Path) -> None:
    # Adobe's inverted CMYK: 255 is no ink.
    ink = np.full((20, 20, 4), 255, np.uint8)
    ink[..., 1:3] = 0
    body = simplejpeg.encode_jpeg(ink, colorspace="CMYK")
    (image,) = load(write(tmp_path / "cmyk.rec", [body]), (20, 20))
    assert image.shape == (20, 20, 3)
    red, green, blue = image.mean(axis=(0, 1))
    assert red > 200 and green < 60 and blue < 60


def test_the_fast_decoder_is_close_and_the_exact_one_is_opencv() -> None:
    # As muted as skin: on loud colours the two differ more.
    image = cv2.resize(np.random.default_rng(0).integers(100, 156, (6, 6, 3), dtype=np.uint8), (64, 64))
    body = simplejpeg.encode_jpeg(image, quality=95, colorsubsampling="420")
    exact, fast = Decoder().decode(body).astype(int), Decoder(fast=True).decode(body).astype(int)
    opencv = cv2.cvtColor(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(exact - opencv).max() <= 1
    assert 0 < np.abs(exact - fast).mean() < 1
