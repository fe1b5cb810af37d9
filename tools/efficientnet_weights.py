"""EfficientNet-Lite0's parameters under the names of the PyTorch packages and of timm, and what we call them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from agegender.errors import CheckpointError
from symbols.efficientnet_lite import STAGES

Arrays = dict[str, npt.NDArray[Any]]

# What a classifier or another program wraps around the network.
_WRAPPED = re.compile(r"^(?:(?:module|model|backbone)\.)+")
# (stage, unit) of each block, in order: one package counts them through, timm within their stage.
_PLACES = [(stage, unit) for stage, (_, _, _, blocks, _) in enumerate(STAGES, 1) for unit in range(1, blocks + 1)]
_AROUND = {"conv_stem": "stem_conv2d", "conv_head": "last_conv2d"}
# The layers of a block, under the package's names and under timm's, which numbers a block's norms as they come: the
# first block, which widens nothing, has other names there.
_PACKAGE = {
    "expand_conv": "expand_conv2d",
    "bn0": "expand_batchnorm",
    "depthwise_conv": "dw_conv2d",
    "bn1": "dw_batchnorm",
    "project_conv": "project_conv2d",
    "bn2": "project_batchnorm",
}
_TIMM = {
    "conv_pw": "expand_conv2d",
    "bn1": "expand_batchnorm",
    "conv_dw": "dw_conv2d",
    "bn2": "dw_batchnorm",
    "conv_pwl": "project_conv2d",
    "bn3": "project_batchnorm",
}
_TIMM_FIRST = {
    "conv_dw": "dw_conv2d",
    "bn1": "dw_batchnorm",
    "conv_pw": "project_conv2d",
    "bn2": "project_batchnorm",
}
_CONV = {"weight": "arg:{}_weight"}
_NORM = {
    "weight": "arg:{}_gamma",
    "bias": "arg:{}_beta",
    "running_mean": "aux:{}_moving_mean",
    "running_var": "aux:{}_moving_var",
}
# Of the packages' classifier and their counters: nothing that we would miss.
_LEFT = re.compile(r"(?:_fc|classifier)\.|.*\.num_batches_tracked$")


def translate(theirs: Mapping[str, npt.NDArray[Any]]) -> tuple[Arrays, list[str]]:
    """Return parameters as our graph names them (``arg:...``, ``aux:...``), and their names of what has no place here.

    Classifier and counters are left out of both. Raises CheckpointError where it is no EfficientNet without
    squeeze-and-excitation.
    """
    names = {name: _WRAPPED.sub("", name) for name in theirs}
    plain = set(names.values())
    timm = "conv_stem.weight" in plain
    if not timm and "_conv_stem.weight" not in plain:
        raise CheckpointError("this is no EfficientNet: it has neither conv_stem.weight nor _conv_stem.weight")
    if any("_se_reduce" in name or ".se." in name for name in plain):
        raise CheckpointError("these are weights of an EfficientNet with squeeze-and-excitation, not of Lite0")
    params: Arrays = {}
    unused: list[str] = []
    for name, bare in names.items():
        ours = _our_name(bare, timm=timm)
        if ours is not None:
            params[ours] = theirs[name]
        elif not _LEFT.match(bare):
            unused.append(name)
    return params, unused


def _our_name(bare: str, *, timm: bool) -> str | None:
    layer, _, kind = bare.rpartition(".")
    ours = _timm_layer(layer) if timm else _package_layer(layer)
    if ours is None:
        return None
    pattern = (_NORM if ours.endswith("batchnorm") else _CONV).get(kind)
    return None if pattern is None else pattern.format(ours)


def _package_layer(layer: str) -> str | None:
    block = re.fullmatch(r"_blocks\.(\d+)\._(\w+)", layer)
    if block is None:
        around = {"_bn0": "stem_batchnorm", "_bn1": "last_batchnorm"}
        return around.get(layer) or _AROUND.get(layer.removeprefix("_"))
    if int(block[1]) >= len(_PLACES) or block[2] not in _PACKAGE:
        return None
    stage, unit = _PLACES[int(block[1])]
    return f"stage{stage}_unit{unit}_{_PACKAGE[block[2]]}"


def _timm_layer(layer: str) -> str | None:
    block = re.fullmatch(r"blocks\.(\d+)\.(\d+)\.(\w+)", layer)
    if block is None:
        return {"bn1": "stem_batchnorm", "bn2": "last_batchnorm", **_AROUND}.get(layer)
    stage, unit = int(block[1]) + 1, int(block[2]) + 1
    ours = (_TIMM_FIRST if stage == 1 else _TIMM).get(block[3])
    return f"stage{stage}_unit{unit}_{ours}" if ours is not None and (stage, unit) in _PLACES else None
