"""A graph with its parameters as an ONNX model, written without MXNet or PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

import agegender
from agegender.errors import CheckpointError, GraphError
from agegender.executor.attributes import Attributes
from agegender.executor.onnx_emitter import IR_VERSION, OPSET, Emitter
from agegender.executor.onnx_ops import OPERATORS, check_operators
from agegender.executor.parameter_rules import check_given_shapes, is_prelu, wanted_shapes
from agegender.executor.processor_graph import for_processor
from agegender.graph.node import Entry, Node
from agegender.graph.symbol import Graph


def to_onnx(
    graph: Graph,
    params: Mapping[str, npt.NDArray[Any]],
    *,
    image: Sequence[int | None],
    batch: int | None = None,
    name: str = "graph",
    metadata: Mapping[str, str] | None = None,
    for_cpu: bool = False,
) -> onnx.ModelProto:
    """Return the ONNX model of ``graph`` with ``params`` (``arg:fc1_weight``, ``aux:...``).

    ``image`` is (channels, height, width) of the input; None is a size that the caller chooses at run time, and so is a
    ``batch`` of None. Losses are taken off; outputs keep their names. Floating-point parameters become float32.
    ``metadata`` is stored as key and text. ``for_cpu`` rewrites the graph for ONNX Runtime's processor kernels
    (``processor_graph``) and writes PReLU and softmax of pairs in parts that those are faster at; the files that people
    take elsewhere have the operators themselves. Raises CheckpointError for a missing parameter, GraphError for
    operators that can't be written (all of them are named), and for graphs that can't take such images.
    """
    graph = graph.inference()
    check_exportable(graph, params)
    if for_cpu:
        graph, params = for_processor(graph, params)
    out = Emitter(for_cpu=for_cpu)
    data = graph.input_name()
    out.add_input(data, _input_shape(image, batch))
    names = write_nodes(out, graph, params, data=data)
    outputs = _name_outputs(out, graph, names)
    model = finish_model(out, outputs, inputs=[data], name=name)
    helper.set_model_props(model, dict(metadata or {}))
    return model


def _input_shape(image: Sequence[int | None], batch: int | None) -> list[int | str]:
    axes = ("channels", "height", "width") if len(image) == 3 else [f"size_{axis}" for axis in range(1, len(image) + 1)]
    return [batch or "batch", *(size or axis for size, axis in zip(image, axes, strict=True))]


def finish_model(out: Emitter, outputs: Sequence[str], *, inputs: Sequence[str], name: str) -> onnx.ModelProto:
    """Return the model of what was emitted; nodes and initializers that no output needs are left out."""
    used, nodes = set(outputs), []
    for node in reversed(out.nodes):
        if used.intersection(node.output):
            nodes.append(node)
            used.update(node.input)
    nodes.reverse()
    initializers = [tensor for key, tensor in out.initializers.items() if key in used]
    given, told = ([helper.make_value_info(each, out.type_of(each)) for each in names] for names in (inputs, outputs))
    return helper.make_model(
        helper.make_graph(nodes, name, given, told, initializers),
        producer_name="agegender",
        producer_version=agegender.__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )


def check_exportable(graph: Graph, params: Mapping[str, npt.NDArray[Any]]) -> None:
    """Find out what can be known before the image size is: operators, and parameters that are there and fit.

    ``graph`` is an inference graph. Raises GraphError and CheckpointError as ``to_onnx`` does.
    """
    check_operators([node for node in graph.nodes if not node.is_variable])
    wanted = graph.parameters()
    for name in wanted:
        if name not in params:
            raise CheckpointError(f"the parameter {name} is missing")
    check_given_shapes(graph, {name: tuple(params[name].shape) for name in wanted})


def write_nodes(
    out: Emitter,
    graph: Graph,
    params: Mapping[str, npt.NDArray[Any]],
    *,
    data: str | None,
) -> dict[Entry, str]:
    """Write every node; return the names of all values by where they come from. ``data`` None: there is no input."""
    states = set(graph.aux())
    names: dict[Entry, str] = {}
    for position, node in enumerate(graph.nodes):
        out.node_name = node.name
        if node.is_variable:
            if node.name == data:
                names[position, 0] = data
                continue
            array = params[f"{'aux' if node.name in states else 'arg'}:{node.name}"]
            wide = np.asarray(array, np.float32) if array.dtype.kind == "f" else array
            names[position, 0] = out.parameter(node.name, wide)
            continue
        for entry in node.inputs:
            if entry not in names:
                source = graph.nodes[entry[0]]
                raise GraphError(f"node {source.name!r} ({source.op}): ONNX export has no output {entry[1]} of it")
        _check_parameters(out, graph, node, names)
        written = OPERATORS[node.op](out, Attributes(node), [names[entry] for entry in node.inputs])
        for index, each in enumerate([written] if isinstance(written, str) else written):
            names[position, index] = each
    return names


def _check_parameters(out: Emitter, graph: Graph, node: Node, names: Mapping[Entry, str]) -> None:
    """Compare a layer's parameters with what images of this size ask for, which ONNX itself doesn't do."""
    if not node.inputs or names[node.inputs[0]] in out.initializers:
        return
    data = out.shape(names[node.inputs[0]])
    if any(size is None for size in data[1:]):
        return
    # The number of images changes no parameter.
    full = (data[0] or 1, *(size for size in data[1:] if size is not None))
    for place, wanted in wanted_shapes(node, full).items():
        variable = graph.nodes[node.inputs[place][0]]
        shape = out.shape(names[node.inputs[place]])
        if shape != wanted and not (is_prelu(node) and shape == (1,)):
            raise CheckpointError(
                f"{variable.name} has shape {shape}, node {node.name!r} ({node.op}) wants {wanted} "
                f"for its input of shape {full[1:]}"
            )


def _name_outputs(out: Emitter, graph: Graph, names: Mapping[Entry, str]) -> list[str]:
    """Give the outputs the names that MXNet knows them by."""
    outputs = []
    for wanted, entry in zip(graph.outputs(), graph.heads, strict=True):
        if entry not in names:
            source = graph.nodes[entry[0]]
            raise GraphError(f"node {source.name!r} ({source.op}): ONNX export has no output {entry[1]} of it")
        out.rename(out.emit("Identity", [names[entry]]), wanted)
        outputs.append(wanted)
    return outputs
