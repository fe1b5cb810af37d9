"""SCRFD models in ONNX, generated: cells of plain colour are faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

FULL = 255
# The colour of a face by stride, and which of a cell's two anchors it is.
COLOURS = {8: 0, 16: 1, 32: 2, 64: 0, 128: 0}
WINNERS = {8: 1, 16: 0, 32: 1, 64: 0, 128: 0}
# Distances from the anchor to the sides of the box, and of the landmarks, in strides.
SIDES = (2.0, 1.0, 3.0, 4.0)
POINTS = ((-1.0, 0.0), (1.0, 0.0), (0.0, 1.0), (-0.5, 2.0), (0.5, 2.0))


def save_scrfd(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    strides: tuple[int, ...] = (8, 16, 32),
    landmarks: bool = True,
    batched: bool = False,
    sides: npt.ArrayLike = SIDES,
    points: npt.ArrayLike = POINTS,
    flat: bool = True,
) -> Path:
    """Write a model with SCRFD's inputs and outputs; ``size`` (width, height) fixes that of its input.

    Its input is normalised as insightface does it, (value - 127.5) / 128. Without ``flat`` the outputs are maps.
    """
    from onnx import TensorProto, checker, helper, numpy_helper, save

    nodes, constants = [], []

    def constant(name: str, values: npt.ArrayLike, dtype: type = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    anchors = 2 if len(strides) == 3 else 1
    kinds = {"score": 1, "bbox": 4, "kps": 10}
    names = {kind: [f"{kind}_{stride}" for stride in strides] for kind in list(kinds)[: 3 if landmarks else 2]}
    for stride in strides:
        nodes.append(
            helper.make_node("AveragePool", ["input"], [f"p{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2)
        )
        for kind in names:
            length = kinds[kind]
            weight, bias = np.zeros((anchors * length, 3, 1, 1)), np.zeros(anchors * length)
            if kind == "score":
                bias[:] = -20
                # As if the input were 0..255: logit 0.1 * (value - those of the other two colours) - 20.
                weight[WINNERS[stride] % anchors] = -12.8
                weight[WINNERS[stride] % anchors, COLOURS[stride]] = 12.8
                bias[WINNERS[stride] % anchors] -= 12.75
            else:
                bias[:] = np.tile(np.ravel(sides if kind == "bbox" else points), anchors)
            at = f"{kind}_{stride}"
            inputs = [f"p{stride}", constant(f"{at}_w", weight), constant(f"{at}_b", bias)]
            nodes.append(helper.make_node("Conv", inputs, [f"{at}_map"]))
            raw = f"{at}_map"
            if kind == "score":
                nodes.append(helper.make_node("Sigmoid", [raw], [f"{at}_p"]))
                raw = f"{at}_p"
            if not flat:
                nodes.append(helper.make_node("Identity", [raw], [at]))
                continue
            nodes.append(helper.make_node("Transpose", [raw], [f"{at}_t"], perm=[0, 2, 3, 1]))
            shape = constant(f"{at}_s", [1, -1, length] if batched else [-1, length], np.int64)
            nodes.append(helper.make_node("Reshape", [f"{at}_t", shape], [at]))
    height, width = ("?", "?") if size is None else (size[1], size[0])
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, height, width])

    def shape_of(kind: str) -> list[int | str]:
        if not flat:
            return [1, anchors * kinds[kind], "h", "w"]
        return [1, "n", kinds[kind]] if batched else ["n", kinds[kind]]

    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}_n" if d == "n" else d for d in shape_of(kind)])
        for kind in names
        for name in names[kind]
    ]
    graph = helper.make_graph(nodes, "scrfd", [given], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    save(model, path)
    return path


def save_other(path: Path, *, side: int = 112) -> Path:
    """Write a model that insightface takes for face recognition (side 112) or knows nothing of."""
    from onnx import TensorProto, helper, save

    node = helper.make_node("GlobalAveragePool", ["input"], ["fc1"])
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side, side])
    told = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 3, 1, 1])
    graph = helper.make_graph([node], "other", [given], [told])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def coloured(
    width: int, height: int, *cells: tuple[int, int, int], scale: int = 1, value: int = FULL
) -> npt.NDArray[np.uint8]:
    """Return a black photo (height, width, 3) RGB with cells (stride, row, column), each ``scale`` times as large."""
    image = np.zeros((height, width, 3), np.uint8)
    for stride, row, column in cells:
        side = stride * scale
        image[row * side : (row + 1) * side, column * side : (column + 1) * side, COLOURS[stride]] = value
    return image
