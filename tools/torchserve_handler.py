"""A handler for TorchServe: photos in, faces with age and gender out, by an exported .onnx file on ONNX Runtime.

    python tools/export.py m50 --output m50.onnx
    torch-model-archiver --model-name agegender --version 1.0 --serialized-file m50.onnx \\
        --handler tools/torchserve_handler.py --export-path store
    torchserve --start --model-store store --models agegender=agegender.mar

It needs agegender in the Python that TorchServe runs (pip install "agegender[onnx]"), and neither the checkout nor
PyTorch. What one photo is answered: {"faces": [...]} as infer.py --json writes them, or {"error": ...} with the status
and the words of serve.py.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from agegender import Predictor
from agegender.service.pictures import decode_picture
from agegender.service.refusal import RefusedError

# A picture with more is refused before it is decoded.
MOST_PIXELS = 50_000_000


class FaceHandler:
    """What TorchServe makes of this file in each of its workers: it calls ``initialize`` once, then ``handle``."""

    def __init__(self) -> None:
        self.initialized = False

    def initialize(self, context: Any) -> None:
        """Open the archive's .onnx file, and the detector. Raises what ``Predictor`` raises."""
        folder = Path(context.system_properties["model_dir"])
        gpu = context.system_properties.get("gpu_id")
        self._predictor = Predictor(
            folder / context.manifest["model"]["serializedFile"],
            gpu_ids="cpu" if gpu is None else str(gpu),
            # A worker each for as many cores as TorchServe is told to take.
            threads=1,
        )
        self.initialized = True

    def handle(self, rows: list[dict[str, Any]], context: Any) -> list[dict[str, Any]]:
        """Return an answer for each of ``rows``, in order: a photo is its ``data`` or ``body``, bytes or base64.

        The faces of all photos go through the net together; one that can't be read doesn't spoil the others.
        """
        answers: list[dict[str, Any]] = [{} for _ in rows]
        photos = {}
        for index, row in enumerate(rows):
            try:
                photos[index] = decode_picture(_bytes_of(row), max_pixels=MOST_PIXELS)
            except RefusedError as refusal:
                answers[index] = {"error": refusal.to_json()}
                context.set_response_status(refusal.status, refusal.cause, index)
        for index, faces in zip(photos, self._predictor.predict(list(photos.values())), strict=True):
            answers[index] = {"faces": [face.to_json() for face in faces]}
        return answers


def _bytes_of(row: dict[str, Any]) -> bytes:
    value = row.get("data", row.get("body"))
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise RefusedError(422, "bad_image", "the photo is a text that is no base64") from None
    if not isinstance(value, bytes | bytearray):
        raise RefusedError(422, "no_image", "the request holds no photo: send its bytes, or base64")
    return bytes(value)
