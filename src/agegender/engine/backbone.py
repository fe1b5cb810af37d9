"""The backbone, all below the embedding, at a rate of its own: slower than what is above it, or not moving at all."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from agegender.engine.config import TrainConfig
from agegender.errors import UsageError
from agegender.graph import Graph
from agegender.graph.operators import NORMS

_log = logging.getLogger(__name__)

# The contract of every network (docs/formats.md): this output, made by layers whose parameters are named so, and heads.
_EMBEDDING = "fc1_output"
_ABOVE = ("fc1_", "pre_fc1_", "age_", "gender_")


@dataclass(frozen=True, slots=True)
class Backbone:
    """Parameters and BatchNorm statistics below ``fc1``, by plain name, and the share ``factor`` of the rate for them.

    Both are empty where the factor is 1 and nothing has to be told apart.
    """

    factor: float
    parameters: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    @property
    def frozen(self) -> tuple[str, ...]:
        """Return the parameters that do not move."""
        return () if self.factor else self.parameters

    @property
    def still(self) -> tuple[str, ...]:
        """Return the statistics that do not move."""
        return () if self.factor else self.states

    @property
    def rates(self) -> dict[str, float]:
        """Return the share of the rate by parameter, of those that have one of their own."""
        return dict.fromkeys(self.parameters, self.factor) if self.factor else {}

    def describe(self) -> None:
        """Log what it does."""
        if self.parameters:
            what = (
                f"move at {self.factor:g} of the rate" if self.factor else "and BatchNorm's statistics stay as they are"
            )
            _log.info("backbone_lr %g: the %d parameters below fc1 %s", self.factor, len(self.parameters), what)


def find_backbone(network_json: str, config: TrainConfig) -> Backbone:
    """Return what ``config.backbone_lr`` is about in a network. Raises UsageError where nothing lies below ``fc1``."""
    factor = 1.0 if config.backbone_lr is None else config.backbone_lr
    if factor == 1:
        return Backbone(factor)
    graph = Graph.from_json(network_json)
    # A head of its own features, trained alone, leaves no fc1 (``graph.learned``): then all below the head is meant.
    below = graph.select([_EMBEDDING]) if _EMBEDDING in graph.outputs() else graph
    names = [name for name in below.arguments() if name != graph.input_name()]
    parameters = tuple(name for name in names if not name.startswith(_ABOVE))
    if not parameters:
        raise UsageError(f"backbone_lr {factor:g}: the network {config.network} has no parameters below fc1")
    return Backbone(factor, parameters, tuple(name for name in below.aux() if not name.startswith(_ABOVE)))


def with_still_norms(network_json: str, backbone: Backbone) -> str:
    """Return the graph for training with frozen BatchNorms normalising by their statistics, which then don't move."""
    if not backbone.still:
        return network_json
    graph = Graph.from_json(network_json)
    still = set(backbone.still)
    nodes = tuple(
        replace(node, attrs={**node.attrs, "use_global_stats": "True"})
        if node.op in NORMS and graph.nodes[node.inputs[3][0]].name in still
        else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes).to_json()
