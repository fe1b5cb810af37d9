"""Triton's model repository: each configuration against the signature that ONNX Runtime sees in the file beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest

from agegender.app.cli import run_command
from agegender.app.triton import triton_config
from agegender.errors import UsageError

# As Triton's manual pairs them, from ONNX Runtime's names.
TYPES = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\w.+-]+|[\[\]{}:,]|#[^\n]*')


def export(*arguments: str) -> int:
    return run_command("export", list(arguments), prog="export.py")


def parse(text: str) -> dict[str, Any]:
    """Read protobuf's text format: ``name: value``, ``name { ... }``, ``name [ ... ]``. Raises where it is another."""
    left = _TOKEN.sub("", text).strip()
    assert not left, f"not the text format: {left!r}"
    tokens = [token for token in _TOKEN.findall(text) if not token.startswith("#")]
    return _message(tokens, "")


def _message(tokens: list[str], end: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    while tokens and tokens[0] != end:
        name = tokens.pop(0)
        assert name.isidentifier(), name
        assert name not in fields, f"{name} twice"
        if tokens[0] == ":":
            tokens.pop(0)
        fields[name] = _value(tokens)
        if tokens and tokens[0] == ",":
            tokens.pop(0)
    if end:
        assert tokens.pop(0) == end
    return fields


def _value(tokens: list[str]) -> Any:
    token = tokens.pop(0)
    if token == "{":
        return _message(tokens, "}")
    if token == "[":
        values = []
        while tokens[0] != "]":
            values.append(_value(tokens))
            assert tokens[0] in (",", "]")
            if tokens[0] == ",":
                tokens.pop(0)
                assert tokens[0] != "]", "a comma before the end"
        tokens.pop(0)
        return values
    if token.startswith('"'):
        return token[1:-1]
    return int(token) if re.fullmatch(r"-?\d+", token) else token


def check_against_file(folder: Path, *, batched: bool) -> dict[str, Any]:
    """Compare config.pbtxt with the file beside it; return what it says."""
    config = parse((folder / "config.pbtxt").read_text())
    assert (config["name"], config["backend"]) == (folder.name, "onnxruntime")
    assert config["max_batch_size"] == (64 if batched else 0)
    assert ("dynamic_batching" in config) == batched
    session = onnxruntime.InferenceSession(str(folder / "1" / "model.onnx"), providers=["CPUExecutionProvider"])
    for kind, nodes in (("input", session.get_inputs()), ("output", session.get_outputs())):
        expected = [
            {
                "name": node.name,
                "data_type": TYPES[node.type],
                "dims": [side if isinstance(side, int) else -1 for side in node.shape[int(batched) :]],
            }
            for node in nodes
        ]
        assert config[kind] == expected
    return config


def test_a_net(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("ssrnet", "--triton", str(tmp_path / "models")) == 0
    folder = tmp_path / "models" / "ssrnet"
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{folder / '1' / 'model.onnx'}: 0.40 MB")
    assert said[1] == f"{folder / 'config.pbtxt'}: the names, types and shapes of it, for Triton"
    config = check_against_file(folder, batched=True)
    assert config["input"] == [{"name": "data", "data_type": "TYPE_FP32", "dims": [3, 64, 64]}]
    assert {each["name"]: each["dims"] for each in config["output"]}["age_softmax_output"] == [101]
    notes = [line for line in (folder / "config.pbtxt").read_text().splitlines() if line.startswith("#")]
    assert notes[0].startswith("# ssrnet, epoch 46, written by agegender")
    assert '"range": [0, 255]}; normalisation: inside the graph' in notes[1]
    assert "crop template 'utkface'" in notes[2]
    assert export("ssrnet", "--triton", str(tmp_path / "models")) == 2
    assert "config.pbtxt is there already; --overwrite replaces it" in capsys.readouterr().err
    assert export("ssrnet", "--triton", str(tmp_path / "models"), "--overwrite", "--batch", "4") == 0
    config = check_against_file(folder, batched=False)
    assert config["input"][0]["dims"] == [4, 3, 64, 64]


def test_the_detector(tmp_path: Path) -> None:
    assert export("mtcnn", "--triton", str(tmp_path)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mtcnn_onet", "mtcnn_pnet", "mtcnn_rnet"]
    configs = {path.name: check_against_file(path, batched=True) for path in tmp_path.iterdir()}
    assert configs["mtcnn_pnet"]["input"][0]["dims"] == [3, -1, -1]
    assert configs["mtcnn_onet"]["output"][-1]["dims"] == [10]


@pytest.mark.parametrize("more", [["--to", "ncnn-friendly"], ["--output", "x.onnx"]])
def test_flags_that_exclude_it(tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert export("ssrnet", "--triton", str(tmp_path), *more) == 2
    assert f"--triton {tmp_path}: only with --to onnx, and not with --output" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_type_that_triton_does_not_name() -> None:
    value = onnx.helper.make_tensor_value_info("data", onnx.TensorProto.COMPLEX64, [None, 3])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["data"], ["out"])], "g", [value], [])
    with pytest.raises(UsageError, match=r"^--triton: data is of the type complex64 \(float, float16"):
        triton_config(onnx.helper.make_model(graph), name="g")
