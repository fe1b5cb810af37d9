"""One net as deployment needs it: the crops it wants, what goes in, and what comes out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from agegender.calibration import Calibration
from agegender.doubt import entropy
from agegender.errors import CheckpointError, UsageError
from agegender.executor.base import Executor
from agegender.executor.monte_carlo import MonteCarlo
from agegender.face.align import warp
from agegender.face.detector import Detection
from agegender.face.preprocess import InputSpec, resize_crop, to_input
from agegender.face.templates import TEMPLATES, Template, get_template
from agegender.graph.info import ModelInfo
from agegender.input_shape import is_vector
from agegender.passes import plain, read_passes
from agegender.readout import Reading, Readout

Photo = npt.NDArray[np.uint8]
# The size of crops in a set, where a model doesn't say; both templates were measured at about it.
_USUAL_SIZE = 112


class FaceReader(Protocol):
    """What tells age and gender: a net, or a pair of them. ``crop`` for each photo, then ``read`` for all at once."""

    template: Template
    template_size: int

    def crop(self, image: Photo, detections: Sequence[Detection] | None) -> list[Any]:
        """Return what ``read`` takes, one item per face of ``image`` (H, W, 3) uint8 RGB.

        None for ``detections`` means that the photo is a crop in the net's template.
        """
        ...

    def read(self, crops: Sequence[Any]) -> Reading:
        """Return what is told of the n > 0 faces of ``crops``."""
        ...


class Net:
    """A net on an executor. ``source`` is the ``prefix.json`` that ``info`` comes from, for errors to name.

    ``template`` names the template of a model that doesn't know its own. Raises CheckpointError where ``info`` is None
    or doesn't say what goes in or comes out, UsageError where its template is unknown or another than ``template``.
    A calibration is used where it was measured on ``epoch``, or where that is not known (None).
    """

    def __init__(
        self,
        info: ModelInfo | None,
        executor: Executor,
        *,
        source: Path,
        template: str | None = None,
        epoch: int | None = None,
    ) -> None:
        if info is None:
            raise CheckpointError(
                f"{source} does not exist: without it nobody knows which crops the model was trained on, its input "
                "size or what its outputs mean (tools/convert.py writes it for an old checkpoint)"
            )
        if info.data_shape is None:
            raise CheckpointError(f"{source} lacks the input shape of the model")
        self.template, self.template_size = _template(info, source, wanted=template)
        self.input, self.readout = read_description(info, source)
        self.calibration = Calibration.from_json(info.calibration, epoch=epoch, where=f"{source}: calibration")
        self.source = source
        self._executor = executor

    def crop(self, image: Photo, detections: Sequence[Detection] | None) -> list[Photo]:
        """Return the faces of ``image`` (H, W, 3) uint8 RGB in the net's template; None: the photo itself is one."""
        if detections is None:
            return [resize_crop(image, (self.template_size, self.template_size))]
        return [warp(image, found.landmarks, self.template, size=self.template_size) for found in detections]

    def read(self, crops: Sequence[Photo]) -> Reading:
        """Return what the net tells of n > 0 crops, each (h, w, 3) uint8 RGB in its template, in one batch."""
        batch = np.stack([resize_crop(crop, self.input.size) for crop in crops])
        return calibrated(read_outputs(self.readout, self._executor, to_input(batch, self.input)), self.calibration)


def read_outputs(readout: Readout, executor: Executor, data: npt.NDArray[np.float32]) -> Reading:
    """Return what a net says of ``data`` (n, channels, height, width): of Monte Carlo dropout, the passes together."""
    outputs = executor.forward(data)
    if isinstance(executor, MonteCarlo):
        return read_passes(readout, outputs, steady=executor.steady)
    return readout.read(outputs)


def calibrated(reading: Reading, calibration: Calibration) -> Reading:
    """Return ``reading`` with its genders corrected and the intervals of its ages added.

    An interval is that of the plain answer, which is what was calibrated, also where ``reading`` is a mean of passes.
    """
    gender, interval = reading.gender, None
    if gender is not None:
        gender = calibration.gender(gender).astype(np.float32)
    undropped = plain(reading)
    if undropped.age is not None:
        ends = calibration.interval(undropped.distribution, age=undropped.age)
        interval = None if ends is None else ends.astype(np.float32)
    doubt = reading.doubt
    if doubt is not None and gender is not None:
        # Of the probabilities that are told.
        doubt = dataclasses.replace(doubt, gender_entropy=entropy(gender).astype(np.float32))
    return dataclasses.replace(reading, gender=gender, interval=interval, doubt=doubt)


def read_description(info: ModelInfo, source: Path) -> tuple[InputSpec, Readout]:
    """Return what goes into a net and what comes out. Raises CheckpointError, naming ``source``, for nonsense."""
    readout = read_readout(info, source)
    if info.data_shape is not None and is_vector(info.data_shape):
        raise CheckpointError(
            f"{source}: the model takes embeddings of {info.data_shape[0]} numbers, not pictures "
            "(infer.py --embeddings FILE takes those; --model names another model)"
        )
    try:
        return InputSpec.from_info(info.input), readout
    except UsageError as error:
        raise CheckpointError(f"{source}: {error}") from error


def read_readout(info: ModelInfo, source: Path) -> Readout:
    """Return what comes out of a net. Raises CheckpointError, naming ``source``, for nonsense."""
    try:
        return Readout.of_model(info.readout, head=info.head, task=info.task, age_bins=info.age_bins)
    except UsageError as error:
        raise CheckpointError(f"{source}: {error}") from error


def _template(info: ModelInfo, source: Path, *, wanted: str | None) -> tuple[Template, int]:
    """Return the template that the model was trained in and its size; ``wanted`` where the model doesn't say."""
    if not info.template:
        if wanted is None:
            raise UsageError(
                f"{source} doesn't say which crops the model was trained on; name them: "
                f"--template {'|'.join(TEMPLATES)}"
            )
        return get_template(wanted), _USUAL_SIZE
    try:
        template, size = Template.from_json(info.template)
    except UsageError as error:
        raise CheckpointError(f"{source}: {error}") from error
    if wanted not in (None, template.name):
        raise UsageError(f"the model was trained on {template.name!r} crops ({source}), not on {wanted!r}")
    return template, size
