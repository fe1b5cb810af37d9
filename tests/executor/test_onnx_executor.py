"""ONNXExecutor: any batch, any size, what it says when something is wrong; providers, threads, what a file says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from agegender.cores import usable_cores
from agegender.errors import CheckpointError, DeviceError, GraphError, UsageError
from agegender.executor import onnx_runtime, open_executor
from agegender.executor.mxnet_executor import MXNetExecutor
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.executor.onnx_executor import ONNXExecutor, open_session, run_session
from agegender.executor.onnx_graph import to_onnx
from agegender.executor.onnx_runtime import choose_providers, load_onnxruntime, session_options
from agegender.graph import Graph, builtin_json, load_checkpoint, save_checkpoint
from tests.executor.oracle import graph_of, images, random_params, small_net


def test_every_batch_size_gives_the_same_rows() -> None:
    executor = ONNXExecutor(*small_net())
    data = images(9)
    expected = executor.forward(data)["gender_softmax_output"]
    assert (executor.input, executor.outputs) == ("data", ["gender_softmax_output"])
    for count in (1, 4, 8):
        assert np.allclose(executor.forward(data[:count])["gender_softmax_output"], expected[:count], atol=1e-6)
    assert executor.forward(images(0))["gender_softmax_output"].shape == (0, 3)
    # A view with gaps, in another type.
    mirrored = data.astype(np.float64)[:, :, :, ::-1]
    assert np.allclose(
        executor.forward(mirrored)["gender_softmax_output"],
        executor.forward(np.ascontiguousarray(mirrored))["gender_softmax_output"],
    )
    # A batch keeps one session, however large it is.
    assert len(executor._sessions) == 1


@pytest.mark.parametrize("free_size", [False, True])
def test_fully_convolutional_nets_take_any_size(free_size: bool) -> None:
    graph = Graph.from_json(builtin_json("mtcnn_pnet"))
    params = random_params(graph, (3, 40, 40))
    ours, theirs = ONNXExecutor(graph, params, free_size=free_size), MXNetExecutor(graph, params)
    for height, width in ((12, 12), (13, 40), (71, 38), (30, 31), (44, 12), (25, 26)):
        data = np.random.default_rng(0).uniform(0, 255, (2, 3, height, width)).astype(np.float32)
        expected = theirs.forward(data)
        for name, output in ours.forward(data).items():
            assert output.shape == expected[name].shape
            assert np.abs(output - expected[name]).max() < 1e-4
    assert len(ours._sessions) == (1 if free_size else 4)


def test_half_precision_parameters_are_widened() -> None:
    graph, params = small_net()
    halves = {name: array.astype(np.float16) for name, array in params.items()}
    wide = {name: array.astype(np.float32) for name, array in halves.items()}
    results = [ONNXExecutor(graph, each).forward(images(3))["gender_softmax_output"] for each in (halves, wide)]
    assert results[0].dtype == np.float32
    assert (results[0] == results[1]).all()


def test_what_does_not_fit_is_named() -> None:
    graph, params = small_net()
    with pytest.raises(CheckpointError, match=r"^the checkpoint: the parameter arg:bn_gamma is missing$"):
        ONNXExecutor(graph, {name: array for name, array in params.items() if name != "arg:bn_gamma"})
    with pytest.raises(CheckpointError, match=r"^a\.params: conv_weight has shape \(4, 3, 5, 5\), .* \(4, 3, 3, 3\)$"):
        ONNXExecutor(graph, {**params, "arg:conv_weight": np.zeros((4, 3, 5, 5), np.float32)}, source="a.params")
    executor = ONNXExecutor(graph, params)
    with pytest.raises(CheckpointError, match=r"fc1_weight has shape \(3, 144\), .*\(3, 196\) for .*\(4, 7, 7\)"):
        executor.forward(images(1, 9))
    with pytest.raises(CheckpointError, match=r"conv_weight has shape \(4, 3, 3, 3\), .*\(4, 1, 3, 3\) for"):
        executor.forward(images(1)[:, :1])
    with pytest.raises(CheckpointError, match=r"can't take images of shape \(3, 2, 2\): node 'conv'"):
        executor.forward(images(1, 2))
    with pytest.raises(ValueError, match=r"data has shape \(3, 8, 8\), not \(n, channels, height, width\)"):
        executor.forward(images(1)[0])


def test_an_unknown_operator_is_named_with_its_node() -> None:
    graph, params = small_net()
    text = graph.to_json().replace('"op": "softmax"', '"op": "SoftestMax"')
    with pytest.raises(GraphError, match=r"^net: node 'gender_softmax': ONNX export has no operator 'SoftestMax'$"):
        ONNXExecutor(text, params, source="net")


def test_sums_of_different_shapes_are_refused_as_in_mxnet() -> None:
    sym = load_mxnet().sym
    data = sym.Variable("data")
    pooled = sym.Pooling(data, global_pool=True, kernel=(1, 1), name="pool")
    graph = graph_of(sym.elemwise_add(data, pooled, name="sum"))
    with pytest.raises(CheckpointError, match=r"node 'sum' \(elemwise_add\): shapes .* and .* differ"):
        ONNXExecutor(graph, {}).forward(images(1))


def test_pooling_that_needs_a_size_says_so() -> None:
    sym = load_mxnet().sym
    pool = sym.Pooling(
        sym.Variable("data"), kernel=(3, 3), stride=(2, 2), pad=(1, 1), pooling_convention="full", name="pool"
    )
    with pytest.raises(GraphError, match="node 'pool': this pooling in an ONNX file needs a fixed image size"):
        to_onnx(graph_of(pool), {}, image=(3, None, None))


def test_a_checkpoint_is_opened(tmp_path: Path) -> None:
    graph, params = small_net()
    save_checkpoint(tmp_path / "model", 3, graph=graph, params=params)
    checkpoint = load_checkpoint(tmp_path / "model")
    ours, theirs = (open_executor(checkpoint, engine=engine, gpu_ids="cpu") for engine in ("onnxruntime", "mxnet"))
    assert isinstance(ours, ONNXExecutor)
    expected = theirs.forward(images(4))["gender_softmax_output"]
    assert np.abs(ours.forward(images(4))["gender_softmax_output"] - expected).max() < 1e-6
    with pytest.raises(CheckpointError, match=r"model-0003\.params: fc1_weight has shape"):
        ours.forward(images(1, 9))
    with pytest.raises(UsageError, match=r"unknown executor 'onnx' \(onnxruntime, mxnet, torch\)"):
        open_executor(checkpoint, engine="onnx")


def test_the_file_says_what_it_is() -> None:
    graph, params = small_net()
    model = to_onnx(graph, params, image=(3, 8, 8), name="small", metadata={"licence": "MIT", "ages": "0..100"})
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert (model.producer_name, model.graph.name) == ("agegender", "small")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"licence": "MIT", "ages": "0..100"}
    [data], [output] = session.get_inputs(), session.get_outputs()
    assert (data.name, data.shape, data.type) == ("data", ["batch", 3, 8, 8], "tensor(float)")
    assert (output.name, output.shape) == ("gender_softmax_output", ["batch", 3])
    fixed = to_onnx(graph, params, image=(3, 8, 8), batch=2)
    assert [dim.dim_value for dim in fixed.graph.input[0].type.tensor_type.shape.dim] == [2, 3, 8, 8]


def test_nothing_heavy_is_needed(root: Path) -> None:
    code = """
import sys
import numpy as np
from agegender.executor import open_executor
from agegender.graph import load_checkpoint
executor = open_executor(load_checkpoint("models/ssrnet/ssrnet"), engine="onnxruntime", gpu_ids="cpu")
print(executor.forward(np.zeros((1, 3, 64, 64), np.float32))["age_output"].shape)
print([name for name in ("mxnet", "torch", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env={"PYTHONPATH": "src"}, capture_output=True, text=True
    )
    assert (done.stdout.split("\n")[:2], done.stderr) == (["(1, 1)", "[]"], "")


def test_what_the_runtime_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match=r"^a\.onnx: ONNX Runtime can't run it: .*[Pp]rotobuf"):
        open_session(b"no model", providers=choose_providers("cpu"), source="a.onnx")
    model = to_onnx(*small_net(), image=(3, 8, 8)).SerializeToString()
    session = open_session(model, providers=choose_providers("cpu"))
    with pytest.raises(DeviceError, match=r"^ONNX Runtime can't run a batch of shape \(1, 3, 9, 9\): .*dimensions"):
        run_session(session, {"data": images(1, 9)})


@pytest.mark.parametrize(
    ("available", "gpus", "asked", "expected"),
    [
        ((), 0, None, ["CPUExecutionProvider"]),
        (("CUDAExecutionProvider",), 0, None, ["CPUExecutionProvider"]),
        (("CUDAExecutionProvider",), 2, None, [("CUDAExecutionProvider", 0), "CPUExecutionProvider"]),
        (("CUDAExecutionProvider",), 2, "1", [("CUDAExecutionProvider", 1), "CPUExecutionProvider"]),
        (("CUDAExecutionProvider",), 2, "cpu", ["CPUExecutionProvider"]),
    ],
)
def test_providers(
    available: tuple[str, ...], gpus: int, asked: str | None, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_onnxruntime(), "get_available_providers", lambda: [*available, "CPUExecutionProvider"])
    monkeypatch.setattr(onnx_runtime, "_gpu_count", lambda: gpus)
    found = [(name, options["device_id"]) if options else name for name, options in choose_providers(asked)]
    assert found == expected


def test_providers_that_are_not_there() -> None:
    with pytest.raises(DeviceError, match=r"no QNNExecutionProvider \(it has .*CPUExecutionProvider"):
        choose_providers(providers=["QNNExecutionProvider"])
    with pytest.raises(DeviceError, match=r"GPU 0 is not there; .* no GPU that this build of ONNX Runtime"):
        choose_providers("0")


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert session_options().intra_op_num_threads == usable_cores()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert session_options().intra_op_num_threads == 3
    assert session_options(threads=1).intra_op_num_threads == 1


@pytest.mark.parametrize("missing", ["onnxruntime", "onnx"])
def test_a_machine_without_it_is_told_how_to_get_it(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "_loaded", None)
    monkeypatch.setattr(onnx_runtime.importlib.util, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(DeviceError, match=rf"needs {missing}, which is not .* pip install 'agegender\[onnx\]'"):
        load_onnxruntime()


@pytest.mark.parametrize("slopes", [[-1.3, 0.0, 0.25, 1.0, 2.0], [-1.3, 0.0, 0.25, 0.5, 0.9], [0.4]])
def test_prelu_on_the_processor_is_prelu(slopes: list[float]) -> None:
    sym = load_mxnet().sym
    graph = graph_of(sym.LeakyReLU(sym.Variable("data"), act_type="prelu", name="prelu"))
    params = {"arg:prelu_gamma": np.array(slopes, np.float32)}
    data = np.random.default_rng(0).normal(0, 100, (3, 5, 6, 7)).astype(np.float32)
    expected = np.where(data > 0, data, data * np.array(slopes, np.float32).reshape(-1, 1, 1))
    np.testing.assert_allclose(ONNXExecutor(graph, params).forward(data)["prelu_output"], expected, rtol=1e-5)
    # Files go to other programs too, which know the operator itself.
    operators = [
        [node.op_type for node in to_onnx(graph, params, image=(5, 6, 7), for_cpu=for_cpu).graph.node]
        for for_cpu in (True, False)
    ]
    assert "PRelu" not in operators[0]
    assert "PRelu" in operators[1]


@pytest.mark.parametrize(("before", "after"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_nothing_is_reported_to_anybody(root: Path, before: dict[str, str], after: str) -> None:
    code = "import os; from agegender.executor.onnx_runtime import load_onnxruntime; load_onnxruntime(); "
    code += "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"PYTHONPATH": str(root / "src"), **before}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == after
