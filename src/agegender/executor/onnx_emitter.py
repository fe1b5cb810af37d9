"""Writing ONNX nodes one by one, with the shapes of their results known as they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, TypeProto, defs, helper, numpy_helper, shape_inference

from agegender.errors import GraphError
from agegender.executor.attributes import Attributes

# What opset 17 has is all that the operators need; a later one would only shut out older runtimes.
OPSET = 17
IR_VERSION = 8
# A size that is known, or None for one that the caller chooses (batch, height, width).
Dim = int | None
# Sizes, axes and scales are lists of a few numbers.
_TELLING = 32
_INFERENCE_ERRORS = (shape_inference.InferenceError, RuntimeError)


class Emitter:
    """Collects nodes and initializers; every value has a name, a type and, as far as it is fixed, a shape."""

    def __init__(self, *, for_cpu: bool = False) -> None:
        """``for_cpu`` lets operators be written as what ONNX Runtime computes fastest on a processor."""
        self.for_cpu = for_cpu
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.node_name = ""
        self._types: dict[str, TypeProto] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._count = 0

    def add_input(self, name: str, shape: Sequence[int | str]) -> str:
        """Declare an input of float32; sizes that the caller chooses are given by name."""
        self._types[name] = helper.make_tensor_type_proto(TensorProto.FLOAT, shape)
        return name

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Return the name of an initializer that holds ``value``; equal ones are written once."""
        array = np.ascontiguousarray(np.asarray(value, dtype))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.parameter(f"constant_{len(self._constants)}", array)
        return self._constants[key]

    def parameter(self, name: str, array: npt.NDArray[Any]) -> str:
        """Add an initializer called ``name``."""
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.initializers[name] = tensor
        self._types[name] = helper.make_tensor_type_proto(tensor.data_type, array.shape)
        return name

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return the values of an initializer. Raises GraphError where ``name`` is computed."""
        if name not in self.initializers:
            raise GraphError(f"node {self.node_name!r}: ONNX needs {name!r} to be a parameter, and it is computed")
        return numpy_helper.to_array(self.initializers[name])

    def emit(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Write a node of one output and return that output's name."""
        return self.emit_many(op, inputs, 1, **attributes)[0]

    def emit_many(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Write a node with ``count`` outputs and return their names. Raises GraphError for one that makes no sense."""
        self._count += 1
        stem = f"{self.node_name}/{op}_{self._count}"
        outputs = [f"{stem}:{index}" if count > 1 else stem for index in range(count)]
        node = helper.make_node(op, list(inputs), outputs, name=stem, **attributes)
        present = [name for name in inputs if name]
        data = {name: self.initializers[name] for name in present if name in self.initializers}
        # The numbers of big parameters tell nothing about another's shape.
        data = {name: tensor for name, tensor in data.items() if sum(tensor.dims) <= _TELLING}
        try:
            types = shape_inference.infer_node_outputs(
                defs.get_schema(op, OPSET),
                node,
                {name: self._types[name] for name in present},
                data,
                opset_imports=[helper.make_opsetid("", OPSET)],
                ir_version=IR_VERSION,
            )
        except _INFERENCE_ERRORS as error:
            problem = str(error).strip().partition("\n")[0]
            raise GraphError(f"node {self.node_name!r}: {problem}") from error
        self._types.update(types)
        for name in outputs:
            if name in types and any(size is not None and size < 1 for size in self.shape(name)):
                shape = self.shape(inputs[0]) if inputs else ()
                raise GraphError(f"node {self.node_name!r}: nothing is left of its input of shape {shape}")
        self.nodes.append(node)
        return outputs

    def shape(self, name: str) -> tuple[Dim, ...]:
        """Return the shape of a value. Raises GraphError where not even the number of axes is known."""
        tensor = self._types[name].tensor_type if name in self._types else None
        if tensor is None or not tensor.HasField("shape"):
            raise GraphError(f"node {self.node_name!r}: the number of axes of its input is not known")
        return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)

    def rank(self, name: str) -> int:
        """Return how many axes a value has."""
        return len(self.shape(name))

    def elem_type(self, name: str) -> int:
        """Return ONNX's number of a value's type."""
        return int(self._types[name].tensor_type.elem_type)

    def type_of(self, name: str) -> TypeProto:
        """Return a value's type, as ONNX writes it."""
        return self._types[name]

    def size(self, name: str, axis: int) -> int:
        """Return a size that has to be fixed. Raises GraphError where the caller chooses it."""
        dim = self.shape(name)[axis]
        if dim is None:
            raise GraphError(
                f"node {self.node_name!r}: its input's size along axis {axis} has to be fixed; "
                "export with a fixed image size"
            )
        return dim

    def rename(self, name: str, wanted: str) -> None:
        """Call the output of the last node ``wanted``."""
        self.nodes[-1].output[0] = wanted
        self._types[wanted] = self._types.pop(name)

    # Shorthands for what many operators are made of.

    def ints(self, values: Sequence[int]) -> str:
        """Return a constant of int64."""
        return self.constant(np.asarray(values, np.int64), np.int64)

    def scalar(self, value: float, like: str) -> str:
        """Return a constant number of the type that ``like`` has."""
        return self.constant(value, helper.tensor_dtype_to_np_dtype(self.elem_type(like)))

    def reshape(self, name: str, sizes: Sequence[int]) -> str:
        """Give a value another shape: 0 keeps the size at its place, -1 is what is left."""
        return self.emit("Reshape", [name, self.ints(sizes)])

    def transpose(self, name: str, axes: Sequence[int]) -> str:
        """Reorder the axes."""
        return self.emit("Transpose", [name], perm=list(axes))

    def cast(self, name: str, elem_type: int) -> str:
        """Convert to another type, where it is another."""
        return name if self.elem_type(name) == elem_type else self.emit("Cast", [name], to=elem_type)

    def cut(self, name: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Cut along one axis."""
        return self.emit("Slice", [name, *(self.ints([value]) for value in (start, stop, axis, step))])


# Writes a node: from its attributes and its inputs' names to its output's name, or a list of several.
Writer = Callable[[Emitter, Attributes, Sequence[str]], str | list[str]]
Table = Mapping[str, Writer]
