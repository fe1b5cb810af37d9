from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch

from agegender.config import as_json
from agegender.engine.torch_augment import DeviceAugmenter, left_to_the_loader
from agegender.pipeline import Loader, LoaderConfig
from agegender.recordio import Header, RecordWriter, open_records, pack

SIZE = (24, 32)


@pytest.fixture
def records(tmp_path: Path) -> Any:
    rng = np.random.default_rng(1)
    with RecordWriter(tmp_path / "faces.rec") as writer:
        for key in range(40):
            image = rng.integers(60, 190, (*SIZE, 3), dtype=np.uint8)
            body = simplejpeg.encode_jpeg(image, quality=95, colorsubsampling="444")
            writer.write(key, pack(Header(np.float32([0, 30]), key), body))
    return open_records(tmp_path / "faces.rec")


def batches(records: Any, config: LoaderConfig, *, epoch: int) -> list[Any]:
    """Return (images, batch) of an epoch; the second worker of two, so that places are no row numbers."""
    made = []
    with Loader(records, batch_size=8, size=SIZE, config=config, shuffle=True, seed=7, rank=1, world=2) as loader:
        for batch in loader.epoch(epoch):
            made.append((batch.data.copy(), batch))
    return made


@pytest.mark.parametrize(
    ("config", "tolerance"),
    [
        (LoaderConfig(rand_mirror=True), 0.0),
        (LoaderConfig(rand_mirror=False, cutoff=10), 0.0),
        (LoaderConfig(rand_mirror=True, cutoff=9), 0.0),
        # The loader's colours are rounded to whole levels, twice (the image, then its mean).
        (LoaderConfig(rand_mirror=True, cutoff=10, color=0.3), 1.01),
        (LoaderConfig(rand_mirror=True, jitter=0.1, cutoff=10), 0.0),
    ],
)
def test_the_device_does_to_each_face_what_the_loader_does(
    records: Any, config: LoaderConfig, tolerance: float
) -> None:
    on_device = DeviceAugmenter(config, seed=7)
    plain = batches(records, left_to_the_loader(config), epoch=3)
    for (expected, _), (images, batch) in zip(batches(records, config, epoch=3), plain, strict=True):
        data = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        changed = on_device(data, batch).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(changed, expected, rtol=0, atol=tolerance)


def test_nothing_asked_for_changes_nothing(records: Any) -> None:
    on_device = DeviceAugmenter(LoaderConfig(rand_mirror=False), seed=7)
    images, batch = batches(records, LoaderConfig(rand_mirror=False), epoch=0)[0]
    data = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    assert on_device(data, batch) is data


@pytest.mark.parametrize(("mirror", "jitter"), [(True, 0.0), (True, 0.1), (False, 0.0)])
def test_the_loader_decodes_as_fast_as_if_it_did_all_itself(mirror: bool, jitter: float) -> None:
    config = LoaderConfig(rand_mirror=mirror, jitter=jitter)
    rest = left_to_the_loader(config)
    assert rest.augments == config.augments == (mirror or jitter > 0)
    assert "augmented_later" not in as_json(rest)
