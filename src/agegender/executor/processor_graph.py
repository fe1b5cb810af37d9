"""Graphs rewritten for processors: the same outputs from fewer passes over the maps.

Scaling the input becomes part of the first convolutions, channels are filled up to what the kernels take at once, and
what takes long for each number comes after max pooling, not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.executor.attributes import Attributes
from agegender.executor.windows import ConvWindow, pool_kind
from agegender.graph.node import Entry, Node, needed
from agegender.graph.symbol import Graph

Arrays = dict[str, npt.NDArray[Any]]

# Channels that ONNX Runtime's blocked kernels take at once (AVX-512; 8 of AVX2 divide it). Pooling of other numbers of
# channels goes through plain layout, which takes longer than the pooling; but more than one added channel in four
# (P-Net's 10 to 16) costs the next convolution more than that.
_BLOCK, _MOST_ADDED = 16, 1 / 4
# These grow with their input, so that the largest of a window stays the largest. A relu costs nothing where it is.
_COSTLY = ("tanh", "sigmoid")


def for_processor(graph: Graph, params: Mapping[str, npt.NDArray[Any]]) -> tuple[Graph, Arrays]:
    """Return a graph of the same outputs, but for rounding, that a processor computes faster, and its parameters.

    ``graph`` is an inference graph whose ``params`` are there.
    """
    rewriting = _Rewriting(graph, params)
    rewriting.fold_scaling()
    rewriting.pool_first()
    rewriting.fill_channels()
    nodes, heads = needed(rewriting.nodes, graph.heads)
    rewritten = Graph(nodes, heads, graph.version)
    return rewritten, {name: rewriting.params[name] for name in rewritten.parameters(graph.input_name())}


class _Rewriting:
    """Nodes and parameters as they change; positions and names stay."""

    def __init__(self, graph: Graph, params: Mapping[str, npt.NDArray[Any]]) -> None:
        self.nodes = list(graph.nodes)
        self.params: Arrays = dict(params)
        self._heads = {source for source, _ in graph.heads}
        self._data = graph.input_name()
        self._users: dict[int, list[int]] = {}
        for position, node in enumerate(self.nodes):
            for source, _ in node.inputs:
                self._users.setdefault(source, []).append(position)

    def fold_scaling(self) -> None:
        """Fold ``(data - mean) * scale`` into the convolutions that take it; the mean only where none of them pads."""
        for position, node in enumerate(self.nodes):
            if node.op != "_mul_scalar" or position in self._heads or not node.inputs:
                continue
            [(centred, _)] = node.inputs
            before = self.nodes[centred]
            users = self._users.get(position, [])
            convolutions = all(self._is_plain(user, takes=position) for user in users)
            if before.op != "_minus_scalar" or self.nodes[before.inputs[0][0]].name != self._data or not convolutions:
                continue
            scale = Attributes(node).real("scalar")
            mean = Attributes(before).real("scalar")
            # What a padded border holds is 0 after the scaling, not before it.
            whole = all(len(self.nodes[user].inputs) == 3 and not any(self._window(user).pad) for user in users)
            for user in users:
                weight = self._scaled(user, scale)
                if whole:
                    bias = self._parameter(user, 2)
                    shift = weight.sum(axis=(1, 2, 3)) * mean
                    self.params[bias] = (self.params[bias].astype(np.float64) - shift).astype(np.float32)
                self._take(user, before.inputs[0] if whole else (centred, 0))

    def pool_first(self) -> None:
        """Exchange an activation and the max pooling that alone takes its output."""
        for position, node in enumerate(self.nodes):
            if node.op != "Activation" or node.attrs.get("act_type") not in _COSTLY or position in self._heads:
                continue
            users = self._users.get(position, [])
            if len(users) != 1 or users[0] in self._heads or self.nodes[users[0]].op != "Pooling":
                continue
            pool = self.nodes[users[0]]
            if pool_kind(Attributes(pool))[0] == "max":
                self.nodes[position] = Node(pool.op, pool.name, pool.attrs, node.inputs)
                self.nodes[users[0]] = Node(node.op, node.name, node.attrs, pool.inputs)

    def fill_channels(self) -> None:
        """Add channels of zeros to convolutions with a pooling between them, up to a multiple of ``_BLOCK``."""
        for position in range(len(self.nodes)):
            if not self._is_plain(position):
                continue
            chain = self._chain(position)
            if not chain or not any(self.nodes[each].op == "Pooling" for each in chain):
                continue
            count = self.params[self._parameter(position, 1)].shape[0]
            missing = -count % _BLOCK
            if not 0 < missing <= _MOST_ADDED * (count + missing):
                continue
            if self.params[self._parameter(chain[-1], 1)].shape[1] != count:
                continue
            for place in range(1, len(self.nodes[position].inputs)):
                self._fill(position, place, 0, missing)
            node = self.nodes[position]
            self.nodes[position] = Node(
                node.op, node.name, {**node.attrs, "num_filter": str(count + missing)}, node.inputs
            )
            for each in chain[:-1]:
                if self.nodes[each].op == "LeakyReLU" and self.params[self._parameter(each, 1)].shape == (count,):
                    self._fill(each, 1, 0, missing)
            self._fill(chain[-1], 1, 1, missing)

    def _chain(self, position: int) -> list[int]:
        """Return what alone takes a convolution's output, in turn, up to the next convolution; empty for others."""
        found: list[int] = []
        while position not in self._heads and len(self._users.get(position, [])) == 1:
            [user] = self._users[position]
            found.append(user)
            if self._is_plain(user, takes=position):
                return found
            if not self._is_by_channel(user):
                break
            position = user
        return []

    def _is_by_channel(self, position: int) -> bool:
        """Whether a node treats each channel for itself, and all alike but for a parameter of its own."""
        node = self.nodes[position]
        if node.op == "LeakyReLU":
            return node.attrs.get("act_type") == "prelu" and self._is_own_parameter(position, 1)
        return node.op == "Activation" or (node.op == "Pooling" and not pool_kind(Attributes(node))[1])

    def _is_plain(self, position: int, takes: int | None = None) -> bool:
        """Whether a node is a convolution in one group, of maps, with parameters that nobody else takes."""
        node = self.nodes[position]
        if node.op != "Convolution" or Attributes(node).integer("num_group", 1) != 1:
            return False
        own = all(self._is_own_parameter(position, place) for place in range(1, len(node.inputs)))
        wide = own and self.params[self._parameter(position, 1)].ndim == 4
        return wide and (takes is None or node.inputs[0] == (takes, 0))

    def _is_own_parameter(self, position: int, place: int) -> bool:
        source = self.nodes[position].inputs[place][0]
        mine = self.nodes[source].is_variable and self._users[source] == [position] and source not in self._heads
        return mine and f"arg:{self.nodes[source].name}" in self.params

    def _parameter(self, position: int, place: int) -> str:
        return f"arg:{self.nodes[self.nodes[position].inputs[place][0]].name}"

    def _window(self, position: int) -> ConvWindow:
        return ConvWindow.read(Attributes(self.nodes[position]))

    def _scaled(self, position: int, scale: float) -> npt.NDArray[np.float64]:
        """Scale a convolution's weights and return them."""
        name = self._parameter(position, 1)
        weight = self.params[name].astype(np.float64) * scale
        self.params[name] = weight.astype(np.float32)
        return np.asarray(weight)

    def _take(self, position: int, source: Entry) -> None:
        """Let a node take its data from somewhere else."""
        node = self.nodes[position]
        self.nodes[position] = Node(node.op, node.name, node.attrs, (source, *node.inputs[1:]))

    def _fill(self, position: int, place: int, axis: int, missing: int) -> None:
        """Add zeros at the end of a parameter's axis."""
        name = self._parameter(position, place)
        array = self.params[name]
        widths = [(0, missing if each == axis else 0) for each in range(array.ndim)]
        self.params[name] = np.pad(array, widths)
        source = self.nodes[position].inputs[place][0]
        variable = self.nodes[source]
        # A shape that was written down is no longer the parameter's.
        attrs = {key: value for key, value in variable.attrs.items() if key != "__shape__"}
        self.nodes[source] = Node(variable.op, variable.name, attrs, variable.inputs)
