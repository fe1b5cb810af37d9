"""Checkpoints: what MXNet and Gluon read of ours, what we read of theirs, and what is told when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.errors import CheckpointError, GraphError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph import (
    Graph,
    ModelInfo,
    builtin_json,
    load_checkpoint,
    load_states,
    params_path,
    read_info,
    save_checkpoint,
    save_params,
    save_states,
    states_path,
    symbol_path,
    write_info,
)
from agegender.graph.checkpoint import resolve_epoch, saved_epochs

TINY = {
    "nodes": [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "fc1_weight", "inputs": []},
        {"op": "null", "name": "fc1_bias", "inputs": []},
        {"op": "FullyConnected", "name": "fc1", "attrs": {"num_hidden": "2"}, "inputs": [[0, 0], [1, 0], [2, 0]]},
    ],
    "heads": [[3, 0, 0]],
}
WEIGHTS = {"arg:fc1_weight": np.ones((2, 12), np.float32), "arg:fc1_bias": np.zeros(2, np.float32)}


def random_params(graph: Graph, shape: tuple[int, int, int], *, seed: int = 0) -> dict[str, np.ndarray]:
    """Parameters that give finite, uneven outputs."""
    symbol = load_mxnet().sym.load_json(graph.to_json())
    args, _, aux = symbol.infer_shape(data=(1, *shape))
    rng = np.random.default_rng(seed)
    params = {}
    for name, size in zip(symbol.list_arguments(), args, strict=True):
        if name != "data":
            spread = 1.0 / np.sqrt(np.prod(size[1:])) if len(size) > 1 else 0.1
            params[f"arg:{name}"] = rng.normal(name.endswith("gamma"), spread, size).astype(np.float32)
    for name, size in zip(symbol.list_auxiliary_states(), aux, strict=True):
        params[f"aux:{name}"] = rng.uniform(0.5, 1.5, size).astype(np.float32)
    return params


def tiny(folder: Path, *, epochs: tuple[int, ...] = (1,), **info: Any) -> Path:
    prefix = folder / "model"
    for epoch in epochs:
        save_checkpoint(prefix, epoch, graph=json.dumps(TINY), params=WEIGHTS)
    if info:
        write_info(prefix, ModelInfo(**info))
    return prefix


# SymbolBlock guesses the type of data from itself, and says so for every network.
@pytest.mark.filterwarnings("ignore:Cannot decide type for the following arguments:UserWarning")
@pytest.mark.parametrize("name", ["ssrnet", "ssrnet-ssr", "m50"])
def test_mxnet_and_gluon_read_what_we_write_given_data_alone(name: str, tmp_path: Path) -> None:
    mx = load_mxnet()
    side = 112 if name == "m50" else 64
    graph = Graph.from_json(builtin_json(name))
    params = random_params(graph, (3, side, side))
    prefix = tmp_path / "run-1.5" / "model.v2"
    save_checkpoint(prefix, 7, graph=graph, params=params)
    assert sorted(path.name for path in prefix.parent.iterdir()) == ["model.v2-0007.params", "model.v2-symbol.json"]
    data = mx.nd.array(np.random.default_rng(1).integers(0, 256, (2, 3, side, side)), dtype="float32")

    symbol, args, aux = mx.model.load_checkpoint(str(prefix), 7)
    module = mx.mod.Module(symbol, label_names=None)
    module.bind([("data", data.shape)], for_training=False)
    module.set_params(args, aux)
    module.forward(mx.io.DataBatch([data]), is_train=False)
    expected = [output.asnumpy() for output in module.get_outputs()]

    block = mx.gluon.SymbolBlock.imports(str(symbol_path(prefix)), ["data"], str(params_path(prefix, 7)))
    for ours, theirs in zip(block(data), expected, strict=True):
        assert np.isfinite(theirs).all()
        assert np.allclose(ours.asnumpy(), theirs, atol=1e-5)
    loaded = load_checkpoint(prefix, 7)
    assert loaded.graph == graph
    assert loaded.params.keys() == params.keys()
    assert all(np.array_equal(loaded.params[key], params[key]) for key in params)


def test_a_training_checkpoint_of_module_is_read_without_its_label(tmp_path: Path) -> None:
    mx = load_mxnet()
    body = mx.sym.BatchNorm(mx.sym.Variable("data"), name="bn")
    body = mx.sym.FullyConnected(body, num_hidden=2, name="fc1")
    module = mx.mod.Module(mx.sym.SoftmaxOutput(body, name="softmax"))
    module.bind([("data", (4, 3, 2, 2))], [("softmax_label", (4,))])
    module.init_params()
    module.save_checkpoint(str(tmp_path / "theirs"), 12)
    checkpoint = load_checkpoint(tmp_path / "theirs", "last")
    assert (checkpoint.epoch, checkpoint.info) == (12, None)
    assert checkpoint.graph.arguments() == ["data", "bn_gamma", "bn_beta", "fc1_weight", "fc1_bias"]
    assert checkpoint.graph.outputs() == ["softmax_output"]


@pytest.mark.quick
def test_gluon_parameters_get_their_kinds(tmp_path: Path) -> None:
    """``save_parameters`` writes names without arg: and aux:."""
    prefix = tiny(tmp_path)
    save_params(params_path(prefix, 2), {name.partition(":")[2]: array for name, array in WEIGHTS.items()})
    assert load_checkpoint(prefix, 2).params.keys() == WEIGHTS.keys()


@pytest.mark.quick
def test_missing_parameters_are_named(tmp_path: Path) -> None:
    prefix = tiny(tmp_path)
    save_params(params_path(prefix, 1), {"arg:fc1_weight": WEIGHTS["arg:fc1_weight"], "arg:other": np.ones(1)})
    with pytest.raises(CheckpointError, match=r"model-0001\.params lacks 1 of the graph's 2 parameters: fc1_bias$"):
        load_checkpoint(prefix, 1)


@pytest.mark.quick
def test_many_missing_parameters_are_counted(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "m", 1, graph=builtin_json("ssrnet"), params={})
    with pytest.raises(CheckpointError, match=r"lacks \d+ of the graph's \d+ parameters: (\S+, ){4}\S+ and \d+ more$"):
        load_checkpoint(tmp_path / "m", 1)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("info", "asked", "expected"),
    [
        ({"best": 2, "last": 3}, None, 2),
        ({"best": 2, "last": 3}, "best", 2),
        ({"best": 2, "last": 3}, "last", 3),
        ({"best": 2, "last": 3}, 1, 1),
        ({"best": 2, "last": 3}, "1", 1),
        ({"last": 3}, None, 3),
        ({}, None, 5),
        ({}, "last", 5),
    ],
)
def test_epochs_by_name(tmp_path: Path, info: dict[str, int], asked: Any, expected: int) -> None:
    prefix = tiny(tmp_path, epochs=(1, 2, 3, 5), **info)
    assert load_checkpoint(prefix, asked).epoch == expected


@pytest.mark.quick
def test_what_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model-symbol\.json does not exist: .*model is no checkpoint"):
        load_checkpoint(tmp_path / "model")
    prefix = tiny(tmp_path, epochs=(1, 2, 3))
    with pytest.raises(CheckpointError, match=r"model-0009\.params does not exist \(epochs there: 1 to 3\)"):
        load_checkpoint(prefix, 9)
    params_path(prefix, 2).unlink()
    named = tiny(tmp_path / "named", epochs=(13, 15), best=13, last=15)
    with pytest.raises(
        CheckpointError, match=r"-0001\.params does not exist \(epochs there: 13, 15; .*,best takes 13\)$"
    ):
        load_checkpoint(named, 1)
    with pytest.raises(CheckpointError, match=r"model\.json does not say which epoch is best \(epochs there: 1, 3\)"):
        load_checkpoint(prefix, "best")
    with pytest.raises(CheckpointError, match="epoch 'first' is neither a number nor 'best' nor 'last'"):
        load_checkpoint(prefix, "first")
    for epoch in (1, 3):
        params_path(prefix, epoch).unlink()
    with pytest.raises(CheckpointError, match=r"no model-NNNN\.params lies there"):
        load_checkpoint(prefix)
    with pytest.raises(CheckpointError, match="no epoch is there"):
        load_checkpoint(prefix, 4)


@pytest.mark.quick
def test_a_damaged_graph_is_named(tmp_path: Path) -> None:
    prefix = tiny(tmp_path)
    symbol_path(prefix).write_text('{"nodes": [')
    with pytest.raises(GraphError, match=r"model-symbol\.json is not JSON"):
        load_checkpoint(prefix)


@pytest.mark.quick
def test_saved_epochs_are_only_this_prefix(tmp_path: Path) -> None:
    tiny(tmp_path, epochs=(3, 12345))
    for name in ("model-best.params", "xmodel-0001.params", "model-0001.params.tmp", "model-1.params"):
        (tmp_path / name).write_bytes(b"")
    assert saved_epochs(tmp_path / "model") == [3, 12345]
    assert saved_epochs(tmp_path / "nowhere" / "model") == []
    assert resolve_epoch(tmp_path / "model", None) == 12345


@pytest.mark.quick
def test_the_description_survives_a_round_trip_with_what_is_unknown(tmp_path: Path) -> None:
    info = ModelInfo(
        network="ssrnet",
        arguments={"width": 1.0},
        head="ssr",
        input={"shape": [3, 64, 64], "colour": "BGR", "range": [-1, 1], "mean": 127.5, "scale": 0.0078125},
        readout={"layout": "ordinal", "age": {"outputs": ["fc1_output"], "form": "logits", "columns": [2, 202]}},
        best=4,
        metrics={"4": {"MAE": 6.1}},
        synthetic=True,
        extra={"later": {"temperature": 1.2}},
    )
    write_info(tmp_path / "model", info)
    assert json.loads((tmp_path / "model.json").read_text())["later"] == {"temperature": 1.2}
    read = read_info(tmp_path / "model")
    assert read == info
    assert read is not None and read.data_shape == (3, 64, 64)
    assert read_info(tmp_path / "other") is None
    assert ModelInfo().data_shape is None


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", r"m\.json is not JSON"),
        ("[]", r"m\.json holds list, not a description of a model"),
        ("{}", r"m\.json has the format None \(1\.\.1\)"),
        ('{"format": true}', "has the format True"),
        ('{"format": 2}', r"m\.json has format 2, this version reads up to 1: update agegender"),
        ('{"format": 1, "best": "7"}', r"m\.json: best is '7', not a whole number or null"),
        ('{"format": 1, "last": true}', "last is True, not a whole number or null"),
        ('{"format": 1, "template": "utkface"}', "template is 'utkface', not an object"),
        (
            '{"format": 1, "input": {"shape": [64, 64]}}',
            r"the input shape is \[64, 64\], not \[channels, height, width\]",
        ),
        ('{"format": 1, "readout": "ordinal"}', r"m\.json: readout is 'ordinal', not an object"),
        ('{"format": 1, "readout": {"layout": "vgg"}}', r"m\.json: readout\.layout is 'vgg' \(dex, ssr, ordinal\)"),
        ('{"format": 1, "synthetic": 1}', "synthetic is 1, not true or false"),
    ],
)
def test_a_damaged_description_is_told(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(CheckpointError, match=expected):
        read_info(tmp_path / "m")


def test_states_are_arrays_and_json_and_nothing_pickled(tmp_path: Path) -> None:
    path = states_path(tmp_path / "model", 3)
    assert path.name == "model-0003.states"
    arrays = {"momentum:fc1_weight": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.array([7], np.int64)}
    meta = {"epoch": 3, "optimizer": "sgd", "seed": 2**62, "names": ["性别"]}
    save_states(path, arrays, meta)
    read, read_meta = load_states(path)
    assert read_meta == meta
    assert read.keys() == arrays.keys() and all(np.array_equal(read[key], arrays[key]) for key in arrays)
    # It is the same list format that MXNet reads.
    assert load_mxnet().nd.load(str(path))["__json__"].dtype == np.uint8


@pytest.mark.quick
def test_a_file_that_is_no_state_is_told(tmp_path: Path) -> None:
    save_params(tmp_path / "a", WEIGHTS)
    with pytest.raises(CheckpointError, match="is no training state of this program"):
        load_states(tmp_path / "a")
    save_params(tmp_path / "a", {"__json__": np.frombuffer(b"[1]", np.uint8)})
    with pytest.raises(CheckpointError, match="__json__ is no JSON object"):
        load_states(tmp_path / "a")


@pytest.mark.quick
def test_saving_replaces_whole_files_or_none(tmp_path: Path) -> None:
    prefix = tiny(tmp_path)
    before = params_path(prefix, 1).read_bytes()
    with pytest.raises(CheckpointError, match="no type complex128"):
        save_checkpoint(prefix, 1, graph=json.dumps(TINY), params={**WEIGHTS, "arg:bad": np.zeros(1, complex)})
    assert params_path(prefix, 1).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model-0001.params", "model-symbol.json"]
