"""MXNet as the reference: one pass, or a training, of a graph on MXNet and on PyTorch; one pass on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from agegender.executor.mxnet_runtime import load_mxnet
from agegender.executor.onnx_graph import to_onnx
from agegender.executor.torch_graph import GraphModule
from agegender.graph import Graph, Node, builtin_defaults, builtin_names

Arrays = dict[str, np.ndarray]
# Gives the gradients of a loss with respect to the outputs.
Loss = Callable[[list[np.ndarray]], list[np.ndarray]]


def graph_of(symbol: Any) -> Graph:
    return Graph.from_json(symbol.tojson())


def random_params(graph: Graph, image: tuple[int, ...], *, seed: int = 0, rows: int = 2) -> Arrays:
    """Draw parameters under which values neither vanish nor explode."""
    symbol = load_mxnet().sym.load_json(graph.to_json())
    arguments, _, states = symbol.infer_shape(data=(rows, *image))
    rng = np.random.default_rng(seed)
    params: Arrays = {}
    for name, shape in zip(symbol.list_arguments(), arguments, strict=True):
        if name != "data":
            fan_in = max(1, int(np.prod(shape[1:])))
            spread = (2 / fan_in) ** 0.5 if len(shape) > 1 else 0.1
            params[f"arg:{name}"] = rng.normal(float(name.endswith("gamma")), spread, shape).astype(np.float32)
    for name, shape in zip(symbol.list_auxiliary_states(), states, strict=True):
        params[f"aux:{name}"] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return params


def settled(graph: Graph, params: Arrays, data: np.ndarray) -> Arrays:
    """Return ``params``; where they make values of 1e3 and more, as in fifty layers that nobody trained, with
    BatchNorm's statistics of ``data``, as a trained net has them.
    """
    training = TorchTraining(Graph(tuple(map(_forgetful, graph.nodes)), graph.heads, graph.version), params, data)
    if max(float(np.abs(output).max()) for output in training.outputs()) < 1e3:
        return params
    training.outputs(train=True)
    found = training.module.export_params()
    for key in (key for key in found if key.endswith("_moving_var")):
        # Where both rows say nearly the same, dividing by the difference would blow up what rounding leaves.
        found[key] = np.maximum(found[key], found[key].mean())
    return {key: found[key] for key in params}


def _forgetful(node: Node) -> Node:
    attrs = {**node.attrs, "momentum": "0"} if node.op == "BatchNorm" else node.attrs
    return Node(node.op, node.name, attrs, node.inputs)


def with_composed_prelu(graph: Graph) -> Graph:
    """Return a graph of the same function, in which PReLU of maps is relu(x) - slope * relu(-x).

    Inside a network MXNet 1.9.1 computes the slope's gradient from an incoming gradient that it has already overwritten
    with the outgoing one: what comes out is the gradient times the slope.
    """
    nodes: list[Node] = []
    place: dict[int, int] = {}
    for position, node in enumerate(graph.nodes):
        inputs = tuple((place[source], index) for source, index in node.inputs)
        if node.op == "LeakyReLU" and node.attrs.get("act_type") == "prelu":
            data, gamma = inputs
            first = len(nodes)
            nodes += [
                Node("relu", f"{node.name}_positive", {}, (data,)),
                Node("negative", f"{node.name}_minus", {}, (data,)),
                Node("relu", f"{node.name}_negative", {}, ((first + 1, 0),)),
                Node("Reshape", f"{node.name}_slope", {"shape": "(1, -1, 1, 1)"}, (gamma,)),
                Node("broadcast_mul", f"{node.name}_sloped", {}, ((first + 2, 0), (first + 3, 0))),
                Node("elemwise_sub", node.name, {}, ((first, 0), (first + 4, 0))),
            ]
        else:
            nodes.append(Node(node.op, node.name, node.attrs, inputs))
        place[position] = len(nodes) - 1
    return Graph(tuple(nodes), tuple((place[position], index) for position, index in graph.heads))


def small_net() -> tuple[Graph, Arrays]:
    """A net of one convolution for 8 x 8 images, and its parameters."""
    sym = load_mxnet().sym
    body = sym.Convolution(sym.Variable("data"), num_filter=4, kernel=(3, 3), name="conv")
    body = sym.FullyConnected(sym.BatchNorm(body, name="bn", fix_gamma=False), num_hidden=3, name="fc1")
    graph = graph_of(sym.softmax(body, name="gender_softmax"))
    return graph, random_params(graph, (3, 8, 8))


def images(count: int, side: int = 8, *, seed: int = 1) -> np.ndarray:
    """Noise to run nets on."""
    return noise(count, (3, side, side), seed=seed)


def noise(count: int, shape: tuple[int, ...], *, seed: int = 1) -> np.ndarray:
    """Noise for nets that take inputs of ``shape``: pixels, or embeddings."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(0, 1, (count, *shape)) if shape[1:] == (1, 1) else rng.uniform(0, 255, (count, *shape))
    return drawn.astype(np.float32)


def builtin_input(name: str) -> tuple[int, ...]:
    """What a built-in graph takes: the network's own input, whichever its head; of MTCNN's a window or more."""
    windows = {"mtcnn_pnet": (3, 40, 40), "mtcnn_rnet": (3, 24, 24), "mtcnn_onet": (3, 48, 48)}
    shape: tuple[int, ...] = windows.get(name) or builtin_defaults()[name.partition("-")[0]]["data_shape"]
    return shape


def different_graphs() -> list[str]:
    """The built-in graphs but for those that are like others: heads are the same on all networks, so ssrnet's do."""
    return [name for name in builtin_names() if "-" not in name or name.startswith("ssrnet-")]


def cotangents(seed: int = 5) -> Loss:
    """A loss that is a random weighted sum of all outputs."""
    rng = np.random.default_rng(seed)
    return lambda outputs: [rng.normal(0, 1, output.shape).astype(np.float32) for output in outputs]


class MXNetTraining:
    """A graph on MXNet with gradients of everything, data included."""

    def __init__(self, graph: Graph, params: Arrays, data: np.ndarray) -> None:
        self._mx = mx = load_mxnet()
        symbol = mx.sym.load_json(graph.to_json())
        shapes = {name.partition(":")[2]: array.shape for name, array in params.items() if name.startswith("arg:")}
        self._executor = symbol.simple_bind(mx.cpu(), grad_req="write", data=data.shape, **shapes)
        for name, array in params.items():
            kind, _, plain = name.partition(":")
            held = self._executor.arg_dict if kind == "arg" else self._executor.aux_dict
            held[plain][:] = array
        self._executor.arg_dict["data"][:] = data
        self._momentum: dict[str, Any] = {}

    def outputs(self, *, train: bool = False) -> list[np.ndarray]:
        return [output.asnumpy() for output in self._executor.forward(is_train=train)]

    def gradients(self, loss: Loss) -> tuple[list[np.ndarray], Arrays]:
        outputs = self.outputs(train=True)
        self._executor.backward([self._mx.nd.array(gradient) for gradient in loss(outputs)])
        return outputs, {f"arg:{name}": array.asnumpy() for name, array in self._executor.grad_dict.items()}

    def sgd(self, *, lr: float, wd: float) -> None:
        for name, gradient in self._executor.grad_dict.items():
            if name != "data":
                weight = self._executor.arg_dict[name]
                momentum = self._momentum.setdefault(name, self._mx.nd.zeros(weight.shape))
                self._mx.nd.sgd_mom_update(weight, gradient, momentum, out=weight, lr=lr, wd=wd, momentum=0.9)

    def params(self) -> Arrays:
        return {
            **{f"arg:{name}": array.asnumpy() for name, array in self._executor.arg_dict.items() if name != "data"},
            **{f"aux:{name}": array.asnumpy() for name, array in self._executor.aux_dict.items()},
        }


class TorchTraining:
    """The same on PyTorch."""

    def __init__(self, graph: Graph, params: Arrays, data: np.ndarray) -> None:
        self.module = GraphModule(graph, params)
        self._data = torch.tensor(data, requires_grad=True)
        self._momentum: dict[str, torch.Tensor] = {}

    def outputs(self, *, train: bool = False) -> list[np.ndarray]:
        with torch.no_grad():
            return [output.numpy() for output in self.module.train(train)(self._data).values()]

    def gradients(self, loss: Loss) -> tuple[list[np.ndarray], Arrays]:
        self.module.zero_grad()
        self._data.grad = None
        outputs = list(self.module.train()(self._data).values())
        arrays = [output.detach().numpy() for output in outputs]
        pairs = [
            (output, torch.from_numpy(gradient))
            for output, gradient in zip(outputs, loss(arrays), strict=True)
            if output.requires_grad
        ]
        torch.autograd.backward([output for output, _ in pairs], [gradient for _, gradient in pairs])
        tensors = {name: self.module.tensor_named(name) for name in self.module.names if name.startswith("arg:")}
        tensors["arg:data"] = self._data
        return arrays, {
            name: np.zeros(tensor.shape, np.float32) if tensor.grad is None else tensor.grad.numpy()
            for name, tensor in tensors.items()
        }

    @torch.no_grad()
    def sgd(self, *, lr: float, wd: float) -> None:
        for name, weight in self.module.named_parameters():
            if weight.grad is not None:
                momentum = self._momentum.setdefault(name, torch.zeros_like(weight))
                momentum.mul_(0.9).sub_(lr * (weight.grad + wd * weight))
                weight.add_(momentum)

    def params(self) -> Arrays:
        return self.module.export_params()


def onnx_outputs(
    graph: Graph, params: Arrays, data: np.ndarray, *, batch: int | None = None, free_size: bool = False
) -> list[np.ndarray]:
    """Return what ONNX Runtime computes, from a file that ONNX's own checker passes; the batch is free by default."""
    image = [None if free_size and axis else size for axis, size in enumerate(data.shape[1:])]
    model = to_onnx(graph, params, image=image, batch=batch)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
    )
    outputs = session.get_outputs()
    assert [output.name for output in outputs] == graph.inference().outputs()
    results = session.run(None, {session.get_inputs()[0].name: data} if session.get_inputs() else {})
    for declared, result in zip(outputs, results, strict=True):
        assert len(declared.shape) == result.ndim
        fixed = [(size, real) for size, real in zip(declared.shape, result.shape, strict=True) if isinstance(size, int)]
        assert all(size == real for size, real in fixed)
    return list(results)


def worst(ours: Arrays | list[np.ndarray], theirs: Arrays | list[np.ndarray]) -> float:
    """Return the largest difference, in shares of each array's largest value.

    Arrays that are nothing but rounding, a thousandth of the largest array, are held to that scale instead.
    """
    if isinstance(ours, list):
        ours, theirs = dict(enumerate(ours)), dict(enumerate(theirs))  # type: ignore[arg-type, assignment]
    assert set(ours) == set(theirs)
    assert {name: array.shape for name, array in ours.items()} == {name: array.shape for name, array in theirs.items()}
    largest = max((float(np.abs(array).max()) for array in theirs.values() if array.size), default=0.0)
    if largest == 0:
        return max(float(np.abs(array).max()) for array in ours.values())
    return max(
        float(np.abs(ours[name] - array).max()) / max(float(np.abs(array).max()), 1e-3 * largest)
        for name, array in theirs.items()
    )
