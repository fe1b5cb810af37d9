"""Shared fixtures: everything that tests need is generated here, or comes from the data folder beside the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The folder of real photographs beside the checkout; skips where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real photographs are not there: {folder}")
    return folder


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of a complete checkpoint of ssrnet (epoch 1) whose parameters are random, always the same."""
    from agegender.executor.mxnet_runtime import load_mxnet
    from agegender.face.templates import get_template
    from agegender.graph import Graph, ModelInfo, builtin_json, save_checkpoint, write_info

    text, shape = builtin_json("ssrnet"), (3, 64, 64)
    symbol = load_mxnet().sym.load_json(text)
    arguments, _, states = symbol.infer_shape(data=(1, *shape))
    random = np.random.default_rng(0)
    params = {}
    for name, size in zip(symbol.list_arguments(), arguments, strict=True):
        if name != "data":
            fan_in = max(1, int(np.prod(size[1:])))
            params[f"arg:{name}"] = random.normal(float(name.endswith("gamma")), fan_in**-0.5, size).astype(np.float32)
    for name, size in zip(symbol.list_auxiliary_states(), states, strict=True):
        params[f"aux:{name}"] = np.full(size, float(name.endswith("var")), np.float32)
    prefix = tmp_path_factory.mktemp("untrained") / "model"
    save_checkpoint(prefix, 1, graph=Graph.from_json(text), params=params)
    info = ModelInfo(network="ssrnet", input={"shape": [*shape], "colour": "RGB", "range": [0, 255]}, best=1, last=1)
    info.template = get_template("utkface").to_json(112)
    write_info(prefix, info)
    return prefix
