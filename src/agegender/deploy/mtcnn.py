"""MTCNN (Zhang et al., IEEE Signal Processing Letters 2016): three networks, each checking what the last one found."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from agegender.deploy.boxes import Floats, refine, square, suppress
from agegender.deploy.mosaic import Level, build_mosaic, scales
from agegender.deploy.shipped import check_listed
from agegender.errors import CheckpointError, UsageError
from agegender.executor import open_executor
from agegender.executor.base import Executor
from agegender.executor.choice import choose_executor
from agegender.executor.onnx_runtime import thread_count
from agegender.face.detector import Detection
from agegender.face.preprocess import to_input
from agegender.graph.builtin import builtin_json
from agegender.graph.checkpoint import Checkpoint
from agegender.graph.params import load_params
from agegender.graph.symbol import Graph

Photo = npt.NDArray[np.uint8]
Item = TypeVar("Item")
Result = TypeVar("Result")
NETS = ("pnet", "rnet", "onet")

_WINDOW, _STRIDE = 12, 2  # P-Net looks at 12 x 12 pixels, every second one
_R_SIDE, _O_SIDE = 24, 48
# Crops per call, so that memory stays flat and O-Net's maps stay in the cache (64 at once take a fifth longer); smaller
# remainders are padded to the next of these, which keeps the number of bound executors small.
_CHUNKS = (4, 8, 16)
# P-Net runs on tiles: memory stays flat for any photo, and cache misses cost more than their seams. Sides are rounded
# up, so that photos of about the same size share a bound executor.
_LARGEST_TILE, _GRID = 160, 32
# Beyond these, more threads per operator pay better than more tiles and crops at once.
_MOST_WORKERS = 8


class MTCNN:
    """Finds faces and five landmarks with P-Net, R-Net and O-Net.

    ``thresholds`` are the least face probabilities of the three networks, ``min_face`` the side in pixels of the
    smallest face, ``factor`` the pyramid's step. ``workers`` threads take tiles and crops at once, which needs networks
    that several threads may call. Raises UsageError where these are out of range.
    """

    def __init__(
        self,
        pnet: Executor,
        rnet: Executor,
        onet: Executor,
        *,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8),
        min_face: float = 20,
        factor: float = 0.709,
        workers: int = 1,
    ) -> None:
        if len(thresholds) != 3 or not all(0 <= value < 1 for value in thresholds):
            raise UsageError(f"detection thresholds {thresholds} are not three numbers within 0..1")
        if not 0 < factor < 1:
            raise UsageError(f"pyramid factor {factor} is not between 0 and 1")
        self.thresholds = thresholds
        self.min_face = _checked_min_face(min_face)
        self.factor = factor
        self._pnet, self._rnet, self._onet = pnet, rnet, onet
        if workers < 1:
            raise UsageError(f"{workers} workers can't find faces: at least 1")
        # Its threads start with the first photo.
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="mtcnn") if workers > 1 else None

    def detect(self, image: Photo, *, min_face: float | None = None) -> list[Detection]:
        """Return the faces of ``image`` (H, W, 3) uint8 RGB, best score first."""
        smallest = self.min_face if min_face is None else _checked_min_face(min_face)
        boxes = self._propose(image, smallest)
        if len(boxes):
            boxes = self._check(image, boxes)
        return self._locate(image, boxes) if len(boxes) else []

    def _propose(self, image: Photo, min_face: float) -> Floats:
        """P-Net on the pyramid: (n, 4) square boxes that may hold a face."""
        steps = scales(image.shape, min_face=min_face, factor=self.factor, window=_WINDOW)
        if not steps:
            return np.empty((0, 4), np.float32)
        mosaic, levels = build_mosaic(image, steps, each=self._map)
        probability, offsets = self._scan(mosaic)
        found = [self._read_level(level, probability, offsets) for level in levels]
        boxes = np.concatenate([boxes for boxes, _, _ in found])
        scores = np.concatenate([scores for _, scores, _ in found])
        moves = np.concatenate([moves for _, _, moves in found])
        kept = suppress(boxes, scores, overlap=0.7, over="union")
        return square(refine(boxes[kept], moves[kept]))

    def _scan(self, mosaic: Photo) -> tuple[Floats, Floats]:
        """Run P-Net over the mosaic in tiles of one size: face probability (h, w) and box offsets (4, h, w)."""
        down, high = _tiles(mosaic.shape[0])
        across, wide = _tiles(mosaic.shape[1])
        # Windows start in their own tile; the last ones reach into the next.
        reach = _WINDOW - _STRIDE
        padded = np.zeros((down * high + reach, across * wide + reach, 3), np.uint8)
        padded[: mosaic.shape[0], : mosaic.shape[1]] = mosaic
        probability = np.empty((down * high // _STRIDE, across * wide // _STRIDE), np.float32)
        offsets = np.empty((4, *probability.shape), np.float32)

        def scan_tile(corner: tuple[int, int]) -> None:
            top, left = corner
            tile = padded[top : top + high + reach, left : left + wide + reach]
            output = self._pnet.forward(to_input(tile[None]))
            rows = slice(top // _STRIDE, (top + high) // _STRIDE)
            columns = slice(left // _STRIDE, (left + wide) // _STRIDE)
            probability[rows, columns] = output["prob_output"][0, 1]
            offsets[:, rows, columns] = output["box_output"][0]

        self._map(scan_tile, itertools.product(range(0, down * high, high), range(0, across * wide, wide)))
        return probability, offsets

    def _read_level(self, level: Level, probability: Floats, offsets: Floats) -> tuple[Floats, Floats, Floats]:
        """Return boxes (n, 4) in the photo's pixels, scores (n,) and offsets (n, 4) that one level proposes."""
        top, left = level.top // _STRIDE, level.left // _STRIDE
        rows = (level.height - _WINDOW) // _STRIDE + 1
        columns = (level.width - _WINDOW) // _STRIDE + 1
        window = probability[top : top + rows, left : left + columns]
        y, x = np.nonzero(window > self.thresholds[0])
        corner = np.stack([x, y], axis=1) * _STRIDE
        boxes = (np.concatenate([corner, corner + _WINDOW], axis=1) / level.scale).astype(np.float32)
        scores = window[y, x]
        kept = suppress(boxes, scores, overlap=0.5, over="union")
        return boxes[kept], scores[kept], offsets[:, top + y[kept], left + x[kept]].T

    def _check(self, image: Photo, boxes: Floats) -> Floats:
        """R-Net on the proposals: (n, 4) square boxes that look like a face."""
        output = self._run(self._rnet, image, boxes, side=_R_SIDE)
        scores = output["prob_output"][:, 1]
        sure = scores > self.thresholds[1]
        boxes, scores, offsets = boxes[sure], scores[sure], output["box_output"][sure]
        kept = suppress(boxes, scores, overlap=0.7, over="union")
        return square(refine(boxes[kept], offsets[kept]))

    def _locate(self, image: Photo, boxes: Floats) -> list[Detection]:
        """O-Net on what is left: final boxes, landmarks and scores."""
        output = self._run(self._onet, image, boxes, side=_O_SIDE)
        scores = output["prob_output"][:, 1]
        sure = scores > self.thresholds[2]
        boxes, scores = boxes[sure], scores[sure]
        # Five x, then five y, as shares of the box.
        points = output["landmark_output"][sure].reshape(-1, 2, 5).transpose(0, 2, 1)
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
        landmarks = (boxes[:, None, :2] + points * sides).astype(np.float32)
        boxes = refine(boxes, output["box_output"][sure])
        kept = suppress(boxes, scores, overlap=0.7, over="smaller")
        return [Detection(boxes[i], landmarks[i], float(scores[i])) for i in kept]

    def _run(self, net: Executor, image: Photo, boxes: Floats, *, side: int) -> dict[str, Floats]:
        """Run ``net`` on the crops of ``boxes`` (n > 0); outputs by name, one row per box."""

        def run_part(part: Floats) -> dict[str, Floats]:
            count = min(size for size in _CHUNKS if size >= len(part))
            output = net.forward(to_input(_crops(image, part, side=side, count=count)))
            return {name: value[: len(part)] for name, value in output.items()}

        parts = [boxes[start : start + _CHUNKS[-1]] for start in range(0, len(boxes), _CHUNKS[-1])]
        outputs = self._map(run_part, parts)
        return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}

    def _map(self, task: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Return what ``task`` gives for each of ``items``, in their order."""
        return list(map(task, items) if self._pool is None else self._pool.map(task, items))


def open_mtcnn(
    models: Path | None = None,
    *,
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8),
    min_face: float = 20,
    engine: str = "auto",
    gpu_ids: str = "cpu",
    threads: int | None = None,
) -> MTCNN:
    """Return MTCNN on the shipped weights, or on those in the folder ``models``.

    ``engine`` (auto: ONNX Runtime where it is installed) runs it on the first device of ``gpu_ids``, with ``threads``
    threads. Raises CheckpointError where the weights are missing, damaged or not those of the manifest beside them,
    UsageError where a value is out of range.
    """
    chosen, _ = choose_executor(engine, gpu_ids)
    device = gpu_ids.partition(",")[0]
    workers = 1
    if chosen == "onnxruntime" and device == "cpu":
        # Whole tiles and batches on each thread: these networks' layers are too small to be worth sharing out.
        cores = thread_count(threads)
        workers = min(cores, _MOST_WORKERS)
        threads = cores // workers
    nets = [
        open_executor(load_net(name, models), engine=chosen, gpu_ids=device, threads=threads, free_size=name == "pnet")
        for name in NETS
    ]
    return MTCNN(*nets, thresholds=thresholds, min_face=min_face, workers=workers)


def load_net(name: str, models: Path | None = None) -> Checkpoint:
    """Return one of ``NETS`` with the shipped weights, or those in ``models``. Raises CheckpointError, see above."""
    folder = models or _shipped_folder()
    path = folder / f"{name}-0001.params"
    check_listed(path)
    return Checkpoint(folder / name, 1, Graph.from_json(builtin_json(f"mtcnn_{name}")), load_params(path))


def _tiles(length: int) -> tuple[int, int]:
    """Return how many tiles cover ``length`` pixels, and the side of each."""
    starts = max(length - (_WINDOW - _STRIDE), _STRIDE)
    count = math.ceil(starts / _LARGEST_TILE)
    return count, math.ceil(starts / count / _GRID) * _GRID


def _crops(image: Photo, boxes: Floats, *, side: int, count: int) -> Photo:
    """Return the square ``boxes`` (n, 4) of the photo as (count, side, side, 3), black where they reach outside it.

    Rows beyond n are black.
    """
    crops = np.zeros((count, side, side, 3), np.uint8)
    height, width = image.shape[:2]
    # Plain numbers: there are hundreds of these boxes, and NumPy's own take longer than the resizing.
    corners = np.rint(boxes[:, :2]).astype(np.int64).tolist()
    lengths = np.maximum(np.rint(boxes[:, 2] - boxes[:, 0]), 1).astype(np.int64).tolist()
    for crop, (left, top), length in zip(crops, corners, lengths, strict=False):
        if 0 <= left <= width - length and 0 <= top <= height - length:
            inside = image[top : top + length, left : left + length]
        else:
            inside = _reaching_outside(image, left, top, length)
        cv2.resize(inside, (side, side), dst=crop, interpolation=cv2.INTER_AREA)
    return crops


def _reaching_outside(image: Photo, left: int, top: int, length: int) -> Photo:
    """Return the square of the photo at its own size, with black around it."""
    square = np.zeros((length, length, 3), np.uint8)
    part = image[max(top, 0) : max(top + length, 0), max(left, 0) : max(left + length, 0)]
    down, across = max(-top, 0), max(-left, 0)
    square[down : down + part.shape[0], across : across + part.shape[1]] = part
    return square


def _checked_min_face(min_face: float) -> float:
    if not min_face >= _WINDOW:
        raise UsageError(f"smallest face {min_face} is below {_WINDOW} pixels, the window of P-Net")
    return float(min_face)


def _shipped_folder() -> Path:
    """Return the first of the places for models that holds MTCNN."""
    from agegender.graph.lookup import model_folders

    places = [folder / "mtcnn" for folder in model_folders()]
    for place in places:
        if (place / "pnet-0001.params").is_file():
            return place
    raise CheckpointError(f"the weights of MTCNN are in none of {', '.join(map(str, places))}")
