"""Exported files: what they compute, what they say of themselves, eight bits, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from agegender import Predictor
from agegender.app.cli import run_command
from agegender.executor.mxnet_executor import MXNetExecutor
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.executor.onnx_folding import fold_constants
from agegender.face.photo import read_photo
from agegender.face.templates import get_template
from agegender.graph import Graph, builtin_json, load_checkpoint
from agegender.recordio import Header, RecordWriter, open_records, pack, unpack
from tests.executor.oracle import builtin_input, different_graphs, noise, random_params

SHAPES = {"mtcnn_pnet.onnx": ["batch", 3, "height", "width"], "mtcnn_rnet.onnx": ["batch", 3, 24, 24]}


def export(*arguments: str) -> int:
    return run_command("export", list(arguments), prog="export.py")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def people(root: Path) -> Any:
    return read_photo(root / "test.jpg")


def images(count: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (count, 3, side, side)).astype(np.float32)


def run(path: Path, data: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip((each.name for each in session.get_outputs()), session.run(None, {"data": data}), strict=True))


def test_the_shipped_model(here: Path, people: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("ssrnet") == 0
    told = capsys.readouterr().out
    assert told.startswith("ssrnet.onnx: 0.40 MB, opset 17, input ['batch', 3, 64, 64], outputs fc1_output, gender_")
    checkpoint = load_checkpoint(Path(__file__).parents[2] / "models" / "ssrnet" / "ssrnet")
    expected = MXNetExecutor(checkpoint.graph, checkpoint.params).forward(images(5))
    for name, array in run(here / "ssrnet.onnx", images(5)).items():
        assert np.abs(array - expected[name]).max() < 1e-4
    metadata = onnxruntime.InferenceSession("ssrnet.onnx", providers=["CPUExecutionProvider"]).get_modelmeta()
    said = metadata.custom_metadata_map
    assert said["licence"].startswith("Research and non-commercial use only")
    assert said["normalisation"] == "inside the graph"
    assert json.loads(said["labels"]) == {"gender": ["female", "male"], "age": "years"}
    assert json.loads(said["crop"])["name"] == "utkface"
    assert json.loads(said["age_bins"]) == list(range(101))
    document = json.loads(said["agegender"])
    assert document["input"]["shape"] == [3, 64, 64]
    assert (document["config"], document["data"]) == ({}, {})
    # The file alone is enough for the predictor, and says the same as the checkpoint.
    ours, theirs = (Predictor(model, gpu_ids="cpu").predict(people) for model in ("ssrnet.onnx", "ssrnet"))
    assert len(ours) == len(theirs) == 2
    for mine, their in zip(ours, theirs, strict=True):
        assert mine.gender == their.gender
        assert mine.age == pytest.approx(their.age, abs=1e-3)
        assert mine.age_interval == pytest.approx(their.age_interval, abs=1e-3)


def test_a_fixed_batch_is_filled_up(untrained_model: Path, here: Path, people: np.ndarray) -> None:
    assert export(str(untrained_model), "--batch", "3", "--output", "three.onnx") == 0
    shape = onnxruntime.InferenceSession("three.onnx", providers=["CPUExecutionProvider"]).get_inputs()[0].shape
    assert shape == [3, 3, 64, 64]
    ours, theirs = (Predictor(model, gpu_ids="cpu").predict(people) for model in ("three.onnx", untrained_model))
    assert [face.age for face in ours] == pytest.approx([face.age for face in theirs], abs=1e-3)


def test_the_detector(here: Path) -> None:
    assert export("mtcnn") == 0
    for name, shape in SHAPES.items():
        model = onnx.load(here / name)
        assert [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == shape
    net = Graph.from_json(builtin_json("mtcnn_pnet"))
    from agegender.deploy.mtcnn import load_net

    for side in (12, 33, 70):
        data = images(1, side)
        expected = MXNetExecutor(net, load_net("pnet").params).forward(data)
        for output, array in run(here / "mtcnn_pnet.onnx", data).items():
            assert np.abs(array - expected[output]).max() < 1e-4


@pytest.fixture
def records(here: Path) -> Path:
    """Sixteen drawn crops."""
    rng = np.random.default_rng(0)
    path = here / "faces.rec"
    with RecordWriter(path) as writer:
        for key in range(16):
            crop = cv2.GaussianBlur(rng.integers(0, 256, (64, 64, 3), np.uint8), (0, 0), 5)
            body = cv2.imencode(".jpg", crop)[1].tobytes()
            writer.write(key, pack(Header(np.array([key % 2, 20 + key], np.float32), key), body))
    return path


def test_eight_bits(here: Path, records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("ssrnet", "--int8", "--calibrate", str(records), "--faces", "16") == 0
    assert export("ssrnet") == 0
    small, large = onnx.load("ssrnet-int8.onnx"), onnx.load("ssrnet.onnx")
    assert Path("ssrnet-int8.onnx").stat().st_size < 0.5 * Path("ssrnet.onnx").stat().st_size
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in small.graph.node}
    assert {each.key for each in small.metadata_props} == {each.key for each in large.metadata_props}
    data = cv2.GaussianBlur(images(1)[0].transpose(1, 2, 0), (0, 0), 5).transpose(2, 0, 1)[None]
    data = data.clip(0, 255).astype(np.float32)
    eight, full = (run(here / name, data) for name in ("ssrnet-int8.onnx", "ssrnet.onnx"))
    assert abs(eight["age_output"] - full["age_output"]).max() < 8
    assert np.abs(eight["fc1_output"] - full["fc1_output"]).max() > 1e-4


def test_labels_are_read_in_the_order_of_the_set(here: Path, records: Path) -> None:
    """Ages of 20 and more are no genders: read the wrong way round these records would be refused."""
    with RecordWriter(records.with_name("turned.rec")) as writer:
        for key, record in enumerate(open_records(records).read(position) for position in range(16)):
            header, body = unpack(record)
            writer.write(key, pack(Header(header.label[::-1], key), body))
    about = {"format": 1, "records": 16, "labels": "age,gender", "template": get_template("utkface").to_json(64)}
    records.with_name("turned.json").write_text(json.dumps(about))
    assert export("ssrnet", "--int8", "--calibrate", "turned.rec", "--faces", "16") == 0


def test_without_ranges_for_phones(untrained_model: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(str(untrained_model), "--to", "ncnn-friendly", "--output", "phone") == 0
    assert "without Reshape, _arange" in capsys.readouterr().out
    symbol, args, aux = load_mxnet().model.load_checkpoint("phone", 1)
    assert "_arange" not in symbol.tojson()
    assert args["age_years_column"].shape == (101, 1)
    assert args["age_years_column"].asnumpy()[:3].ravel().tolist() == [0, 1, 2]
    expected = load_checkpoint(untrained_model)
    folded = load_checkpoint(here / "phone")
    ours, theirs = (MXNetExecutor(each.graph, each.params).forward(images(3)) for each in (folded, expected))
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert aux


@pytest.mark.parametrize("name", [name for name in different_graphs() if name not in ("r50", "swin_s")])
def test_folding_changes_nothing(name: str) -> None:
    shape = builtin_input(name)
    graph = Graph.from_json(builtin_json(name))
    params = random_params(graph, shape)
    folded, rest = fold_constants(graph, params)
    assert not {"_arange", "_zeros", "_ones"} & folded.operators()
    assert folded.outputs() == graph.outputs()
    ours, theirs = (MXNetExecutor(*each).forward(noise(2, shape)) for each in ((folded, rest), (graph, params)))
    assert all(np.abs(ours[each] - theirs[each]).max() < 1e-5 for each in theirs)


def test_what_is_refused(untrained_model: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> str:
        assert export(*arguments) in (1, 2)
        return capsys.readouterr().err

    Path("there.onnx").write_bytes(b"x")
    model = str(untrained_model)
    assert "there.onnx is there already; --overwrite replaces it" in refused(model, "--output", "there.onnx")
    assert Path("there.onnx").read_bytes() == b"x"
    assert "--output a.bin doesn't end in .onnx" in refused(model, "--output", "a.bin")
    assert "the folder nowhere does not exist" in refused(model, "--output", "nowhere/a.onnx")
    assert "--calibrate no.rec is not there" in refused(model, "--int8", "--calibrate", "no.rec")
    assert "--batch -1 is not 0 or more" in refused(model, "--batch=-1")
    assert "--int8 is for --to onnx" in refused("mtcnn", "--int8")
    assert "there is no model 'm51'" in refused("m51")
    shutil.copy(untrained_model.with_name("model-symbol.json"), here / "bare-symbol.json")
    shutil.copy(untrained_model.with_name("model-0001.params"), here / "bare-0001.params")
    assert "bare.json is missing or lacks the input's shape: tools/convert.py" in refused("bare")
    assert export(model, "--output", "there.onnx", "--overwrite") == 0
    assert onnx.load("there.onnx").graph.name == untrained_model.parent.name
