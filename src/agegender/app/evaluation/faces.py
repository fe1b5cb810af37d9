"""The faces that eval scores: records as they are, records cropped anew, or the photos of a list."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from agegender.app.evaluation.images import Image, ImageSource, Origin, record_origins
from agegender.app.evaluation.model import EvalModel
from agegender.cores import usable_cores
from agegender.dataset.crop import find_face
from agegender.errors import CheckpointError, DataError, ImageError, UsageError
from agegender.face.align import warp
from agegender.face.detector import Detection, Detector
from agegender.face.templates import Template
from agegender.input_shape import Size, is_vector, size_of
from agegender.pipeline.config import LoaderConfig
from agegender.pipeline.loader import Loader
from agegender.recordio import RecordSet
from agegender.resize import resize_crop

MIN_FACE = 20.0
# Images that are read ahead of the detector.
_AHEAD = 32


@dataclass(frozen=True, kw_only=True)
class ModelCrop:
    """What a model takes: ``size`` of its input (see ``input_shape``); ``template`` and its ``side``, None if unknown.

    ``embedding`` says which embeddings it takes, as the JSON of their set does; None where it takes pictures.
    """

    size: Size
    template: Template | None
    side: int
    embedding: dict[str, Any] | None = None

    @property
    def picture(self) -> tuple[int, int]:
        """Height and width. Raises UsageError where the model takes embeddings."""
        if len(self.size) != 2:
            raise UsageError(f"the model takes embeddings of {self.size[0]} numbers, not pictures (tools/embed.py)")
        return self.size[0], self.size[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRows:
    """A batch: ``data`` as in ``pipeline.Batch``, ``labels`` float32 (n, 2) gender, age, or (n, 5) where ages are bins
    (see ``labels.BIN_LABELS``); ``rows`` (n,) of the set.

    The arrays are overwritten once the next batch is asked for.
    """

    data: npt.NDArray[Any]
    labels: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]


@dataclass(kw_only=True)
class Losses:
    """Faces that can't be scored, by name: bad ``skipped`` ones, and those in which the detector saw no face."""

    skipped: list[str] = field(default_factory=list)
    not_found: list[str] = field(default_factory=list)


class FaceSet(Protocol):
    """Faces with labels, ready for the net, in batches."""

    losses: Losses

    def __len__(self) -> int: ...

    def batches(self) -> Iterator[FaceRows]:
        """Yield every face that can be used, once."""
        ...

    def origins(self) -> list[Origin]:
        """Return where each face of the set comes from, by row."""
        ...


def model_crop(model: EvalModel) -> ModelCrop:
    """Return what ``model`` takes. Raises CheckpointError where ``prefix.json`` doesn't say it."""
    info, name = model.info, model.source
    if info is None or info.data_shape is None:
        what = "does not exist" if info is None else "lacks the input shape"
        raise CheckpointError(f"{name} {what}: without it nobody knows the model's input size or what its outputs mean")
    size = size_of(info.data_shape)
    embedding = dict(info.input.get("embedding") or {}) if is_vector(info.data_shape) else None
    if not info.template:
        return ModelCrop(size=size, template=None, side=size[0], embedding=embedding)
    try:
        template, side = Template.from_json(info.template)
    except UsageError as error:
        raise CheckpointError(f"{name}: {error}") from error
    return ModelCrop(size=size, template=template, side=side, embedding=embedding)


class RecordFaces:
    """Records that are in the model's crop template, or embeddings: only brought to size. ``start``: the first row."""

    def __init__(
        self,
        records: RecordSet,
        crop: ModelCrop,
        *,
        batch_size: int,
        config: LoaderConfig,
        label_order: str,
        start: int = 0,
    ) -> None:
        self.losses = Losses()
        self._records = records
        self._start = start
        self._loader = Loader(
            records,
            batch_size=batch_size,
            size=crop.size,
            config=config,
            last="partial",
            label_order=label_order,
            order=np.arange(start, len(records)) if start else None,
        )

    def __len__(self) -> int:
        return len(self._records)

    def batches(self) -> Iterator[FaceRows]:
        """Yield the records in their order. Raises RecordError for a bad one, unless such are skipped."""
        first = self._start
        with self._loader as loader:
            for batch in loader.epoch(0):
                # Where a bad record was skipped, the loader serves the next one twice: it counts only in its own place.
                places = np.arange(first, first + batch.valid)
                own = batch.positions[: batch.valid] == places
                first += batch.valid
                data, labels = batch.data[: batch.valid], batch.known_labels[: batch.valid]
                if not own.all():
                    data, labels = data[own], labels[own]
                yield FaceRows(data=data, labels=labels, rows=places[own])
            self.losses.skipped += [f"{path}: record {key}: {reason}" for key, path, reason in loader.skipped]

    def origins(self) -> list[Origin]:
        """Return key, path, source, subject, group, box and score of each record; "" is what train.csv doesn't say."""
        return record_origins(self._records)


class CroppedFaces:
    """Images that are cropped here: found by the detector and warped, or only resized where they are crops already.

    ``start``: the first row.
    """

    def __init__(
        self,
        images: ImageSource,
        crop: ModelCrop,
        *,
        batch_size: int,
        make_detector: Callable[[], Detector],
        bad_records: str,
        start: int = 0,
    ) -> None:
        self.losses = Losses()
        self._images = images
        self._crop = crop
        self._size = crop.picture
        self._start = start
        self._batch_size = batch_size
        self._make_detector = make_detector
        self._skip = bad_records == "skip"
        self._detector: Detector | None = None
        # What the detector found, by row.
        self._found: dict[int, Detection] = {}

    def __len__(self) -> int:
        return len(self._images)

    def origins(self) -> list[Origin]:
        """Return where each image comes from, and, once ``batches`` has been through, where the detector saw a face."""
        known = self._images.origins()
        for row, face in self._found.items():
            box = " ".join(f"{float(end):.1f}" for end in face.box)
            known[row] = replace(known[row], box=box, score=f"{face.score:.4f}")
        return known

    def batches(self) -> Iterator[FaceRows]:
        """Yield the faces. Raises DataError for an image that can't be read, unless such are skipped."""
        data = np.empty((self._batch_size, *self._size, 3), np.uint8)
        labels: list[Sequence[float]] = []
        rows: list[int] = []
        for row, image, label in self._readable():
            face = self._face(row, image)
            if face is None:
                self.losses.not_found.append(self._images.name(row))
                continue
            data[len(rows)] = face
            labels.append(label)
            rows.append(row)
            if len(rows) == self._batch_size:
                yield FaceRows(data=data, labels=np.array(labels, np.float32), rows=np.array(rows))
                labels, rows = [], []
        if rows:
            yield FaceRows(data=data[: len(rows)], labels=np.array(labels, np.float32), rows=np.array(rows))

    def _readable(self) -> Iterator[tuple[int, Image, Sequence[float]]]:
        """Yield (row, image, labels) in order, read ahead by threads."""
        with ThreadPoolExecutor(usable_cores(), thread_name_prefix="photos") as threads:
            ahead: deque[tuple[int, Future[tuple[Image, Sequence[float]]]]] = deque()
            try:
                for row in range(self._start, len(self)):
                    ahead.append((row, threads.submit(self._images.read, row)))
                    if len(ahead) == _AHEAD:
                        yield from self._result(*ahead.popleft())
                while ahead:
                    yield from self._result(*ahead.popleft())
            finally:
                for _, work in ahead:
                    work.cancel()

    def _result(
        self, row: int, work: Future[tuple[Image, Sequence[float]]]
    ) -> Iterator[tuple[int, Image, Sequence[float]]]:
        try:
            yield row, *work.result()
        except DataError as error:
            if not self._skip:
                raise type(error)(f"{error} (--bad_records skip passes over such images)") from error
            self.losses.skipped.append(str(error))

    def _face(self, row: int, image: Image) -> Image | None:
        """Return the crop of ``image`` at the net's input size, None where there is no face in it."""
        if not self._images.needs_detector(row):
            return resize_crop(image, self._size)
        if self._detector is None:
            self._detector = self._make_detector()
        found = find_face(image, self._detector, min_face=MIN_FACE)
        template = self._crop.template
        if found is None or template is None:
            return None
        try:
            crop = resize_crop(warp(image, found.landmarks, template, size=self._crop.side), self._size)
        except ImageError:
            return None  # landmarks that determine no crop: no face was found
        self._found[row] = found
        return crop
