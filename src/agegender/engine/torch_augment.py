"""Mirror, colour and cutout on the device, drawn from the same numbers as the loader's own (``pipeline.augment``)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from agegender.pipeline.augment import CUT_COLOUR, LUMA, colour_matrices, cut_boxes, mirrored
from agegender.pipeline.batch import Batch
from agegender.pipeline.config import LoaderConfig


def left_to_the_loader(config: LoaderConfig) -> LoaderConfig:
    """Return what the loader still has to do: decode, jitter (which mirrors at no cost), JPEG damage."""
    mirror = config.rand_mirror and config.jitter > 0
    return replace(config, rand_mirror=mirror, color=0.0, cutoff=0, augmented_later=config.augments)


class DeviceAugmenter:
    """Do on the device what ``left_to_the_loader`` took from the loader's work.

    The same faces get the same mirror image and the same square as from the loader. Colours follow the same draws, but
    after the face has been brought to size rather than before, and without being rounded.
    """

    def __init__(self, config: LoaderConfig, *, seed: int) -> None:
        self._mirrors = config.rand_mirror and not config.jitter
        self._colour = config.color
        self._cutoff = config.cutoff
        self._seed = seed

    def __call__(self, data: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return ``data`` (n, 3, h, w) float 0..255, the images of ``batch``, changed."""
        slots = np.arange(batch.first, batch.first + len(data))
        if self._colour:
            data = self._recolour(data, *colour_matrices(slots, self._colour, seed=self._seed, epoch=batch.epoch))
        if self._mirrors:
            chosen = torch.from_numpy(mirrored(slots, seed=self._seed, epoch=batch.epoch)).to(data.device)
            data = torch.where(chosen[:, None, None, None], data.flip(3), data)
        if self._cutoff:
            height, width = data.shape[2:]
            boxes = cut_boxes(slots, self._cutoff, size=(height, width), seed=self._seed, epoch=batch.epoch)
            data = data.masked_fill(self._squares(boxes, data), CUT_COLOUR)
        return data

    def _recolour(self, data: torch.Tensor, matrices: npt.NDArray[np.float64], offsets: list[float]) -> torch.Tensor:
        device = data.device
        matrix = torch.from_numpy(matrices).to(device, torch.float32)
        luma = torch.tensor(LUMA, device=device, dtype=torch.float32)
        grey = (data.mean(dim=(2, 3)) * luma).sum(dim=1)
        added = torch.tensor(offsets, device=device, dtype=torch.float32) * grey
        changed = torch.einsum("nij,njhw->nihw", matrix, data) + added[:, None, None, None]
        return changed.clamp_(0, 255).contiguous(memory_format=torch.channels_last)

    def _squares(self, boxes: list[tuple[int, int, int, int] | None], data: torch.Tensor) -> torch.Tensor:
        """Return (n, 1, h, w) bool: where the squares are."""
        edges = torch.tensor([box or (0, 0, 0, 0) for box in boxes], device=data.device)
        top, bottom, left, right = (edge[:, None] for edge in edges.unbind(dim=1))
        rows, columns = (torch.arange(side, device=data.device)[None] for side in data.shape[2:])
        down, across = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
        return (down[:, :, None] & across[:, None, :])[:, None]
