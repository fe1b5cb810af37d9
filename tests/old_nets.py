"""Nets as people saved them with MXNet years ago, small, with parameters whose results can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph.checkpoint import symbol_path


def save(prefix: Path, symbol: Any, params: dict[str, np.ndarray], *, epoch: int = 0) -> Path:
    """Save a pair by MXNet's own means; parameters that aren't given are no part of it."""
    mx = load_mxnet()
    prefix.parent.mkdir(parents=True, exist_ok=True)
    mx.model.save_checkpoint(
        str(prefix), epoch, symbol, {name: mx.nd.array(array) for name, array in params.items()}, {}
    )
    return prefix


def as_old_json(prefix: Path) -> None:
    """Rewrite the symbol as MXNet 0.8 wrote it: attributes under ``param``, inputs without version, no version."""
    path = symbol_path(prefix)
    document = json.loads(path.read_text())
    for node in document["nodes"]:
        node["param"] = node.pop("attrs", {})
        node["inputs"] = [entry[:2] for entry in node["inputs"]]
        node["backward_source_id"] = -1
    document["heads"] = [head[:2] for head in document["heads"]]
    path.write_text(json.dumps({key: document[key] for key in ("nodes", "arg_nodes", "heads")}))


def ordinal_bias(age: int, *, male: float) -> np.ndarray:
    """(202,): gender logits whose softmax says ``male``, then 100 pairs of which the first ``age`` say yes."""
    pairs = np.zeros((100, 2), np.float32)
    pairs[:age, 1] = 4
    pairs[age:, 0] = 4
    return np.concatenate([[0, np.log(male / (1 - male))], pairs.reshape(-1)]).astype(np.float32)


def ordinal(prefix: Path, *, age: int = 31, male: float = 0.8, side: int = 8, training: bool = False) -> Path:
    """insightface's gender-age: one output of 202; ``training``: with its 101 SoftmaxOutputs and the label."""
    mx = load_mxnet()
    data = (mx.sym.Variable("data") - 127.5) * 0.0078125
    fc1 = mx.sym.FullyConnected(mx.sym.Flatten(data), num_hidden=202, name="fc1")
    symbol = fc1
    if training:
        label = mx.sym.Variable("softmax_label")
        outputs = []
        for i in range(101):
            name = "gender_softmax" if i == 0 else f"age_softmax_{i - 1}"
            own = mx.sym.reshape(mx.sym.slice_axis(label, axis=1, begin=i, end=i + 1), shape=(128,))
            pair = mx.sym.slice_axis(fc1, axis=1, begin=2 * i, end=2 * i + 2)
            outputs.append(mx.sym.SoftmaxOutput(data=pair, label=own, name=name))
        symbol = mx.sym.Group([*outputs, mx.sym.BlockGrad(fc1, name="all")])
    weight = np.zeros((202, 3 * side * side), np.float32)
    return save(prefix, symbol, {"fc1_weight": weight, "fc1_bias": ordinal_bias(age, male=male)})


def dex(prefix: Path, *, classes: int = 101, age: int = 40, male: float = 0.3, side: int = 8) -> Path:
    """A softmax over ages and one over genders, as trained: each a SoftmaxOutput with a label of its own."""
    mx = load_mxnet()
    flat = mx.sym.Flatten(mx.sym.Variable("data"), name="flat")
    ages = mx.sym.FullyConnected(flat, num_hidden=classes, name="age_fc")
    genders = mx.sym.FullyConnected(flat, num_hidden=2, name="gender_fc")
    symbol = mx.sym.Group(
        [
            mx.sym.SoftmaxOutput(ages, mx.sym.Variable("age_label"), name="age_prob"),
            mx.sym.SoftmaxOutput(genders, mx.sym.Variable("gender_label"), name="gender_prob"),
        ]
    )
    logits = np.full(classes, -20, np.float32)
    logits[age] = 20
    params = {
        "age_fc_weight": np.zeros((classes, 3 * side * side), np.float32),
        "age_fc_bias": logits,
        "gender_fc_weight": np.zeros((2, 3 * side * side), np.float32),
        "gender_fc_bias": np.log(np.array([1 - male, male], np.float32)),
    }
    return save(prefix, symbol, params)


def mean_of_channel(prefix: Path, *, channel: int = 0, side: int = 8, scale: float = 1.0, name: str = "pred") -> Path:
    """A regression like SSR-Net's, to one number: the mean of one channel of what goes in, times ``scale``.

    Its loss, with a label, is still on it. As in the MXNet port of SSR-Net that was made for ncnn, a range is an input
    of its own, ``stage_num0`` (1, 3): here twice its second value is added.
    """
    mx = load_mxnet()
    flat = mx.sym.Flatten(mx.sym.Variable("data"))
    mean = mx.sym.FullyConnected(flat, num_hidden=1, no_bias=True, name="mean")
    local = mx.sym.broadcast_add(mx.sym.Variable("stage_num0"), mx.sym.FullyConnected(flat, num_hidden=3, name="local"))
    stage = mx.sym.slice_axis(local, axis=1, begin=1, end=2) * 2
    symbol = mx.sym.LinearRegressionOutput(mean + stage, mx.sym.Variable("lro_label"), name=name)
    weight = np.zeros((1, 3, side, side), np.float32)
    weight[:, channel] = scale / side**2
    params = {
        "mean_weight": weight.reshape(1, -1),
        "local_weight": np.zeros((3, 3 * side * side), np.float32),
        "local_bias": np.zeros(3, np.float32),
    }
    return save(prefix, symbol, params, epoch=3)
