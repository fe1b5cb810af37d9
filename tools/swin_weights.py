"""Swin's parameters under the names of timm, of the paper's own code and of transformers, and what we call them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import CheckpointError

Arrays = dict[str, npt.NDArray[Any]]

TABLE = "relative_position_bias_table"
# What a classifier or another program wraps around the backbone.
_WRAPPED = re.compile(r"^(?:(?:module|model|backbone|swin)\.)+")
# Theirs, below patch_embed or a block, and ours. ``norm`` becomes gamma and beta, all others weight and bias.
_TIMM = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.qkv": "attn_qkv",
    "attn.proj": "attn_proj",
    "mlp.fc1": "mlp_fc1",
    "mlp.fc2": "mlp_fc2",
}
_TRANSFORMERS = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    **{f"attention.self.{which}": f"attn_{which[0]}" for which in ("query", "key", "value")},
    **{f"attention.{which}_proj": f"attn_{which}" for which in "qkv"},
    "attention.output.dense": "attn_proj",
    "attention.o_proj": "attn_proj",
    "intermediate.dense": "mlp_fc1",
    "output.dense": "mlp_fc2",
    "mlp.fc1": "mlp_fc1",
    "mlp.fc2": "mlp_fc2",
}
_TABLES = (f"attn.{TABLE}", f"attention.self.{TABLE}", f"attention.relative_position_bias.{TABLE}")
_AROUND = {
    "patch_embed.proj": "patch_embed_proj",
    "patch_embed.norm": "patch_embed_norm",
    "norm": "norm",
    "embeddings.patch_embeddings.projection": "patch_embed_proj",
    "embeddings.norm": "patch_embed_norm",
    "layernorm": "norm",
}
_BLOCK = re.compile(r"(?:encoder\.)?layers\.(\d+)\.blocks\.(\d+)\.(.+)")
_MERGE = re.compile(r"(encoder\.)?layers\.(\d+)\.downsample\.(norm|reduction)\.(weight|bias)")
_COMPUTED = ("relative_position_index", "attn_mask")


@dataclass(frozen=True)
class SwinWeights:
    """A backbone's parameters as our graph names them (``arg:stage1_block1_attn_qkv_weight``), and what it is.

    ``channels`` of the first stage, blocks (``depths``) and heads of attention of each stage, side of the ``window``.
    ``unused`` are their names of what has no place here: ``computed`` in our graph, or other.
    """

    params: Arrays
    channels: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    computed: list[str]
    unused: list[str]

    def fitted(self, name: str, shape: tuple[int, ...], window: tuple[int, int]) -> npt.NDArray[Any]:
        """Return a parameter of ``shape``; of a bias table what concerns a smaller ``window``.

        Raises CheckpointError where it has another shape.
        """
        array = self.params[name]
        if name.endswith(TABLE) and array.shape != shape:
            array = _smaller_table(array, self.window, window)
        if array.shape != shape:
            raise CheckpointError(f"{name.removeprefix('arg:')} has shape {array.shape}, this network wants {shape}")
        return np.asarray(array, np.float32)


def translate(theirs: Mapping[str, npt.NDArray[Any]]) -> SwinWeights:
    """Return what a state dict holds. Raises CheckpointError where it is no Swin of the first version."""
    names = {name: _WRAPPED.sub("", name) for name in theirs}
    # The paper's code merges at the end of a stage, as transformers does; timm from 0.9 on at the start of the next.
    at_end = any(plain.startswith("layers.0.downsample.") for plain in names.values())
    params: Arrays = {}
    computed: list[str] = []
    unused: list[str] = []
    for name, plain in names.items():
        ours = _our_name(plain, at_end=at_end)
        if ours is not None:
            params[f"arg:{ours}"] = theirs[name]
        else:
            (computed if plain.endswith(_COMPUTED) else unused).append(name)
    if any(".logit_scale" in name or ".cpb_mlp." in name for name in unused):
        raise CheckpointError("these are weights of Swin V2, another network (scaled cosine attention)")
    _join_qkv(params)
    return _described(params, computed, unused)


def _our_name(plain: str, *, at_end: bool) -> str | None:
    block = _BLOCK.fullmatch(plain)
    if block is not None:
        stem, rest = f"stage{int(block[1]) + 1}_block{int(block[2]) + 1}", block[3]
        if rest in _TABLES:
            return f"{stem}_attn_{TABLE}"
        layer, _, kind = rest.rpartition(".")
        ours = (_TRANSFORMERS if plain.startswith("encoder.") else _TIMM).get(layer)
        return None if ours is None else _with_kind(f"{stem}_{ours}", kind)
    merge = _MERGE.fullmatch(plain)
    if merge is not None:
        stage = int(merge[2]) + (2 if at_end or merge[1] else 1)
        return _with_kind(f"stage{stage}_merge_{merge[3]}", merge[4])
    layer, _, kind = plain.rpartition(".")
    return _with_kind(_AROUND[layer], kind) if layer in _AROUND else None


def _with_kind(layer: str, kind: str) -> str | None:
    norm = layer.rpartition("_")[2].startswith("norm")
    kinds = {"weight": "gamma", "bias": "beta"} if norm else {"weight": "weight", "bias": "bias"}
    return f"{layer}_{kinds[kind]}" if kind in kinds else None


def _join_qkv(params: Arrays) -> None:
    """Bring transformers' three projections together; one of them alone stays, and nobody asks for it."""
    for name in [name for name in params if re.search(r"_attn_q_(weight|bias)$", name)]:
        parts = [name.replace("_attn_q_", f"_attn_{which}_") for which in "qkv"]
        if all(part in params for part in parts):
            params[name.replace("_attn_q_", "_attn_qkv_")] = np.concatenate([params.pop(part) for part in parts])


def _described(params: Arrays, computed: list[str], unused: list[str]) -> SwinWeights:
    blocks = {(int(m[1]), int(m[2])) for m in (re.match(r"arg:stage(\d+)_block(\d+)_", name) for name in params) if m}
    if not blocks or "arg:patch_embed_proj_weight" not in params:
        raise CheckpointError("this is no Swin: it has no patch_embed.proj.weight and layers.0.blocks.0")
    depths = tuple(
        max((unit for s, unit in blocks if s == stage), default=0) for stage in range(1, max(s for s, _ in blocks) + 1)
    )
    tables = [params.get(f"arg:stage{stage}_block1_attn_{TABLE}") for stage in range(1, len(depths) + 1)]
    there = [table for table in tables if table is not None and table.ndim == 2]
    if len(there) != len(depths):
        raise CheckpointError(f"a stage has no {TABLE}: weights of another network, or not all of them")
    window = (math.isqrt(max(len(table) for table in there)) + 1) // 2
    return SwinWeights(
        params,
        channels=len(params["arg:patch_embed_proj_weight"]),
        depths=depths,
        heads=tuple(table.shape[1] for table in there),
        window=window,
        computed=computed,
        unused=unused,
    )


def _smaller_table(table: npt.NDArray[Any], window: int, wanted: tuple[int, int]) -> npt.NDArray[Any]:
    """Return the rows for places that lie no further apart than in a window of ``wanted``: the table's middle."""
    side = 2 * window - 1
    if table.ndim != 2 or len(table) != side**2 or max(wanted) > window:
        return table
    (top, left) = (window - length for length in wanted)
    square = table.reshape(side, side, -1)
    return square[top : side - top, left : side - left].reshape(-1, table.shape[1])
