"""tools/convert_swin.py: the same answers as transformers' Swin on the same weights, under every naming."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch

from agegender.engine.pretrained import start_from
from agegender.executor import open_executor
from agegender.graph import load_params, read_info
from agegender.graph.checkpoint import Checkpoint, load_checkpoint
from symbols.swin_blocks import IMAGENET_MEAN, IMAGENET_STD
from tests.executor.oracle import images
from tools import convert_swin as tool

Arrays = dict[str, np.ndarray]
SIDE = 64
# 32 and 64 channels in 1 and 2 heads; windows of 5 fit into neither map, of 16x16 and 8x8.
CONFIG = {"embed_dim": 32, "depths": [2, 2], "num_heads": [1, 2], "window_size": 5}


@pytest.fixture(scope="module")
def theirs() -> Any:
    """A tiny Swin of transformers whose parameters are all random."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    model = transformers.SwinModel(transformers.SwinConfig(image_size=SIDE, **CONFIG)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.5 if "table" in name else parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.2
            middle = 1.0 if name.endswith("norm.weight") or ("layernorm" in name and name.endswith("weight")) else 0.0
            parameter.normal_(middle, spread, generator=generator)
    return model


@pytest.fixture(scope="module")
def published(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    """The parameters as transformers itself saves them."""
    folder = tmp_path_factory.mktemp("saved")
    theirs.save_pretrained(folder)
    loaded: Arrays = pytest.importorskip("safetensors.numpy").load_file(folder / "model.safetensors")
    return loaded


def as_saved(state: Arrays) -> Arrays:
    return state


def in_classifier(state: Arrays) -> Arrays:
    extra = {"classifier.weight": np.zeros((3, 64), np.float32), "classifier.bias": np.zeros(3, np.float32)}
    return {f"swin.{name}": array for name, array in state.items()} | extra


def in_memory(state: Arrays) -> Arrays:
    """As transformers names them since version 5, except in files."""
    names = {
        "attention.self.query": "attention.q_proj",
        "attention.self.key": "attention.k_proj",
        "attention.self.value": "attention.v_proj",
        "attention.self.relative": "attention.relative_position_bias.relative",
        "attention.output.dense": "attention.o_proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    return {_replaced(name, names): array for name, array in state.items()}


def as_timm(state: Arrays) -> Arrays:
    """As timm names them since 0.9: one array for query, key and value, merging at the start of a stage."""
    old = as_in_the_paper(state)
    moved = {
        re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) + 1}.downsample", n): old[n] for n in old
    }
    head = {"head.fc.weight": np.zeros((3, 64), np.float32), "head.fc.bias": np.zeros(3, np.float32)}
    return moved | head


def as_in_the_paper(state: Arrays) -> Arrays:
    """As the paper's code names them, with the constants that it keeps."""
    names = {
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.norm": "patch_embed.norm",
        "encoder.": "",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "layernorm": "norm",
        "attention.self.relative": "attn.relative",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    renamed = {_replaced(name, names): array for name, array in state.items() if "attention.self.query" not in name}
    for name in [name for name in renamed if "attention.self.key" in name]:
        block, _, kind = name.partition("attention.self.key.")
        del renamed[name], renamed[f"{block}attention.self.value.{kind}"]
        parts = [state[f"encoder.{block}attention.self.{which}.{kind}"] for which in ("query", "key", "value")]
        renamed[f"{block}attn.qkv.{kind}"] = np.concatenate(parts)
        renamed[f"{block}attn.relative_position_index"] = np.zeros((25, 25), np.int64)
    return renamed | {"layers.0.blocks.1.attn_mask": np.zeros((9, 25, 25), np.float32)}


def _replaced(name: str, names: dict[str, str]) -> str:
    for theirs, ours in names.items():
        if theirs in name:
            name = name.replace(theirs, ours)
            if theirs not in ("encoder.",):
                break
    return name


def converted(folder: Path, state: Arrays, *flags: str, code: int = 0) -> Path:
    np.savez(folder / "weights.npz", **state)
    prefix = folder / "model" / "swin"
    assert tool.main([str(folder / "weights.npz"), "--output", str(prefix), "--data_shape", "3,64,64", *flags]) == code
    return prefix


def pooled(prefix: Path, engine: str, data: np.ndarray) -> np.ndarray:
    """Run a converted backbone up to what the embedding is made from."""
    whole = load_checkpoint(prefix)
    graph = whole.graph.select(["pool_output"])
    params = {name: whole.params[name] for name in graph.parameters()}
    executor = open_executor(Checkpoint(prefix, 0, graph, params), engine=engine, gpu_ids="cpu")
    return executor.forward(data)["pool_output"]


@pytest.mark.parametrize("naming", [as_saved, in_classifier, in_memory, as_timm, as_in_the_paper])
def test_outputs_equal_those_of_transformers(
    theirs: Any, published: Arrays, tmp_path: Path, naming: Callable[[Arrays], Arrays]
) -> None:
    data = images(2, SIDE)
    mean, deviation = (np.array(each, np.float32)[:, None, None] for each in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        expected = theirs(torch.from_numpy((data / 255 - mean) / deviation)).pooler_output.numpy()
    prefix = converted(tmp_path, naming(published))
    engines = ("mxnet", "torch", "onnxruntime") if naming is as_timm else ("torch",)
    for engine in engines:
        found = pooled(prefix, engine, data)
        assert np.abs(expected).max() > 0.5
        assert np.abs(found - expected).max() < 1e-4


def test_every_array_is_accounted_for(published: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = converted(tmp_path, as_timm(published) | {"age.weight": np.zeros(3)})
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{tmp_path / 'weights.npz'}: Swin of 32 channels, depths 2,2, window 5",
        "taken (61): every parameter of the backbone",
        "drawn anew (10): pre_fc1_weight, pre_fc1_bias, fc1_gamma, fc1_beta, gender_logits_weight, gender_logits_bias, "
        "age_logits_weight, age_logits_bias, fc1_moving_mean, fc1_moving_var",
        "not needed, the graph works them out (5): "
        + ", ".join(name for name in as_timm(published) if name.endswith(("_index", "_mask"))),
        "not used (3): head.fc.weight, head.fc.bias, age.weight",
        f"written: {prefix}-0000.params; its heads know nothing yet:",
        "  train.py --network swin_s --width 0.333333 --depths 2,2 --window 5 --data_shape 3,64,64 "
        f"--pretrained {prefix},0",
    ]
    params = load_params(tmp_path / "model" / "swin-0000.params")
    assert len([name for name in params if not name.startswith(("arg:fc1", "aux:fc1", "arg:pre_fc1"))]) == 61 + 4
    info = read_info(prefix)
    assert info is not None
    assert (info.network, info.last, info.data_shape) == ("swin_s", 0, (3, 64, 64))
    assert info.arguments["depths"] == [2, 2]


def test_a_training_starts_from_it(published: Arrays, tmp_path: Path) -> None:
    prefix = converted(tmp_path, as_timm(published))
    ours = {name: np.zeros_like(array) for name, array in load_params(f"{prefix}-0000.params").items()}
    started = start_from(f"{prefix},0", ours)
    np.testing.assert_array_equal(started["arg:norm_gamma"], published["layernorm.weight"])
    qkv = started["arg:stage2_block1_attn_qkv_weight"]
    key = published["encoder.layers.1.blocks.0.attention.self.key.weight"]
    np.testing.assert_array_equal(qkv[64:128], key)


def test_smaller_maps_take_the_middle_of_the_bias_table(published: Arrays, tmp_path: Path) -> None:
    """Places lie to one another as before, only that none is further away than the map is wide."""
    name = "encoder.layers.1.blocks.0.attention.self.relative_position_bias_table"
    table = np.arange(81 * 2, dtype=np.float32).reshape(81, 2)
    prefix = converted(tmp_path, {**published, name: table}, "--data_shape", "3,32,64")
    # The second stage's map is 4x8.
    small = load_params(f"{prefix}-0000.params")["arg:stage2_block1_attn_relative_position_bias_table"]
    assert small.shape == (7 * 9, 2)
    for down in range(-3, 4):
        for right in range(-4, 5):
            there, here = (down + 4) * 9 + right + 4, (down + 3) * 9 + right + 4
            assert small[here].tolist() == table[there].tolist()


def test_what_is_missing_or_of_another_network_is_named(
    published: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(state: Arrays, *flags: str, code: int = 1) -> str:
        converted(tmp_path, state, *flags, code=code)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        return captured.err.strip()

    start = f"convert_swin.py: error: {tmp_path / 'weights.npz'}"
    without = {name: array for name, array in published.items() if not name.endswith("0.blocks.1.output.dense.bias")}
    del without["encoder.layers.1.blocks.0.attention.self.key.weight"], without["layernorm.bias"]
    missing = "norm_beta, stage1_block2_mlp_fc2_bias, stage2_block1_attn_qkv_weight"
    said = error(without)
    assert said.startswith(f"{start} lacks 3 parameters of the backbone: ")
    assert sorted(said.partition("backbone: ")[2].split(", ")) == missing.split(", ")
    assert error({"x": np.zeros(3)}).startswith(f"{start}: this is no Swin: it has no patch_embed.proj.weight")
    v2 = {**as_timm(published), "layers.0.blocks.0.attn.logit_scale": np.zeros(3)}
    assert error(v2).startswith(f"{start}: these are weights of Swin V2")
    heads = {n: np.repeat(a, 2, axis=1) if n.endswith("table") else a for n, a in published.items()}
    assert error(heads) == f"{start}: its stages have (2, 4) heads of attention, ours would have (1, 2)"
    grey = {**published, "embeddings.patch_embeddings.projection.weight": np.zeros((32, 1, 4, 4), np.float32)}
    assert "patch_embed_proj_weight has shape (32, 1, 4, 4), this network wants (32, 3, 4, 4)" in error(grey)
    assert "data shape (3, 60, 64) is not" in error(published, "--data_shape", "3,60,64", code=2)
    assert not (tmp_path / "model").exists()
    prefix = converted(tmp_path, published)
    capsys.readouterr()
    assert (
        error(published, code=2)
        == f"convert_swin.py: error: {prefix}-symbol.json exists already; --overwrite replaces it"
    )
    before = (prefix.parent / "swin-0000.params").read_bytes()
    converted(tmp_path, published, "--overwrite")
    assert (prefix.parent / "swin-0000.params").read_bytes() == before
    assert json.loads((prefix.parent / "swin.json").read_text(encoding="utf-8"))["data"]["weights"] == "weights.npz"
