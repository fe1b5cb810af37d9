"""Eight-bit models: ONNX Runtime's static quantisation, calibrated on real crops."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from agegender.errors import DataError

# What is computed in eight bits: layers that cost time, and what stands between them. Softmax and the expectation of
# the age stay in float32, where a step of 1/255 would be years.
_OPERATORS = ("Conv", "Gemm", "MatMul", "Relu", "LeakyRelu", "PRelu", "Add", "Mul", "GlobalAveragePool", "MaxPool")


def quantize(
    model: onnx.ModelProto,
    batches: Iterable[npt.NDArray[np.float32]],
    *,
    keep: Iterable[str] = (),
    percentile: float | None = None,
) -> onnx.ModelProto:
    """Return ``model`` in eight bits: weights per channel and signed, activations unsigned (QDQ format).

    ``batches`` are what its input is given, (n, 3, height, width) float32; from their values the ranges of the
    activations are taken, from all of them or, with ``percentile``, but for the outermost. ``keep`` names nodes that
    stay in float32. Metadata is kept. Raises DataError where ``batches`` is empty.
    """
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    reader = _Reader(model.graph.input[0].name, batches)
    options: dict[str, Any] = {"ActivationSymmetric": False, "WeightSymmetric": True}
    method = CalibrationMethod.MinMax
    if percentile is not None:
        method = CalibrationMethod.Percentile
        options["CalibPercentile"] = percentile
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, ready, done = (Path(folder, f"{name}.onnx") for name in ("plain", "ready", "done"))
        onnx.save(model, plain)
        # Folds BatchNorm into convolutions, which eight bits need most.
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            done,
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(_OPERATORS),
            nodes_to_exclude=list(keep),
            calibrate_method=method,
            extra_options=options,
        )
        if not reader.count:
            raise DataError("there is no face to calibrate on")
        quantized = onnx.load(done)
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    quantized.producer_name, quantized.producer_version = model.producer_name, model.producer_version
    return quantized


class _Reader:
    """Hands batches to ONNX Runtime's calibration, in its own protocol."""

    def __init__(self, name: str, batches: Iterable[npt.NDArray[np.float32]]) -> None:
        self._name = name
        self._batches: Iterator[npt.NDArray[np.float32]] = iter(batches)
        self.count = 0

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """Return the next input by name, None at the end."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        self.count += len(batch)
        return {self._name: batch}

    def __iter__(self) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        return self

    def __next__(self) -> dict[str, npt.NDArray[np.float32]]:
        result = self.get_next()
        if result is None:
            raise StopIteration
        return result


class _quiet:  # noqa: N801 - used like a function
    """Silences what ONNX Runtime's quantisation writes to the root logger about files that nobody else sees."""

    def __enter__(self) -> None:
        self._level = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *error: object) -> None:
        logging.disable(self._level)
