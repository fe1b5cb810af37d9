"""Monte Carlo dropout (Gal & Ghahramani, ICML 2016) on any executor: a net run several times with dropout left on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from agegender.errors import CheckpointError, GraphError, UsageError
from agegender.executor.base import Executor, forward_any
from agegender.graph.checkpoint import Checkpoint, params_path
from agegender.graph.node import Entry, needed
from agegender.graph.passes import Mask, Rewriter, Shape
from agegender.graph.symbol import Graph

Arrays = dict[str, npt.NDArray[np.float32]]
# Opens a checkpoint; with ``gpu_ids="cpu"`` on the processor, else where the net is to run.
Open = Callable[..., Executor]

# Rows that go through a net at once behind its first dropout: passes times faces.
_MOST_ROWS = 1024
FEWEST_PASSES = 2


class MonteCarlo:
    """A net that answers ``passes`` times, each time with other values dropped, beside the plain answer.

    What is dropped (with the probability p that the net was trained with; the rest is scaled by 1 / (1 - p)) is drawn
    once, from ``seed``: ``passes`` thinned nets, the same for every face. So an answer depends neither on the executor
    nor on what else is in the batch, and the net is run once up to its first dropout. BatchNorm and all else are as in
    inference.
    """

    def __init__(self, checkpoint: Checkpoint, open_plain: Open, *, passes: int, seed: int) -> None:
        """Open ``checkpoint`` by ``open_plain``, which does so for the same net without dropout.

        Raises UsageError for a net that has no dropout and for less than 2 passes, CheckpointError where no
        ``prefix.json`` tells the input's shape, GraphError where faces can't be told apart, and what ``open_plain``
        raises.
        """
        check_passes(passes)
        source = params_path(checkpoint.prefix, checkpoint.epoch)
        if checkpoint.info is None or checkpoint.info.data_shape is None:
            raise CheckpointError(f"{source}: no prefix.json beside it tells the input's shape")
        graph = checkpoint.graph.inference()
        rewriter = Rewriter(graph)
        if not any(rewriter.drawn):
            raise UsageError(
                f"mc_dropout {passes}: {source} is of a network without dropout, of which every pass says the same; "
                "take one that was trained with it, such as ssrnet"
            )
        shapes = _shapes_of(checkpoint, graph, rewriter.crossing, open_plain, checkpoint.info.data_shape)
        rewritten = rewriter.rewrite(passes + 1, shapes)
        masks = {name: _draw(mask, [seed, place]) for place, (name, mask) in enumerate(rewritten.masks.items())}
        net = replace(checkpoint, graph=rewritten.graph, params={**checkpoint.params, **masks})
        self._executor = open_plain(net)
        self._names, self._drawn = graph.outputs(), rewritten.drawn
        self.passes = passes
        # The outputs that no dropout reaches: all their passes are alike.
        self.steady = frozenset(name for name, drawn in zip(self._names, self._drawn, strict=True) if not drawn)

    def forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the outputs by name, each (n, 1 + passes, ...): first the plain one, then those of the passes.

        ``data`` is (n, channels, height, width) float32; n may be 0.
        """
        return forward_any(data, self._forward)

    def _forward(self, data: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        step = max(1, _MOST_ROWS // (1 + self.passes))
        parts = [self._executor.forward(data[start : start + step]) for start in range(0, len(data), step)]
        # In the graph's order: the rewritten one calls them otherwise.
        arrays = [np.concatenate(pieces) for pieces in zip(*(part.values() for part in parts), strict=True)]
        return {
            name: array if drawn else np.repeat(array[:, None], 1 + self.passes, axis=1)
            for name, array, drawn in zip(self._names, arrays, self._drawn, strict=True)
        }


def with_passes(checkpoint: Checkpoint, open_plain: Open, *, passes: int | None, seed: int) -> Executor:
    """Return ``checkpoint`` ready to run, in ``passes`` passes of Monte Carlo dropout unless that is None."""
    return open_plain(checkpoint) if passes is None else MonteCarlo(checkpoint, open_plain, passes=passes, seed=seed)


def check_passes(passes: int, *, name: str = "mc_dropout") -> None:
    """Raise UsageError, calling the number ``name``, where there are too few passes to have a deviation."""
    if passes < FEWEST_PASSES:
        raise UsageError(f"{name} {passes}: at least {FEWEST_PASSES} passes")


def _draw(mask: Mask, seed: list[int]) -> npt.NDArray[np.float32]:
    """Return what values are multiplied with: 1 in the first pass, else 0 or what makes up for that."""
    kept = np.random.default_rng(seed).random(mask.shape) >= mask.dropped
    drawn = (kept / (1 - mask.dropped)).astype(np.float32)
    drawn[:, 0] = 1
    return drawn


def _shapes_of(
    checkpoint: Checkpoint, graph: Graph, entries: tuple[Entry, ...], open_plain: Open, shape: Shape
) -> dict[Entry, Shape]:
    """Return the shapes of inner values for one face, found by running the net up to them on one and on two."""
    # The one variable that changes with the face is the input.
    found = {entry: (1, *shape) for entry in entries if graph.nodes[entry[0]].is_variable}
    inner = [entry for entry in entries if entry not in found]
    part = Graph(*needed(graph.nodes, inner), graph.version)
    executor = open_plain(replace(checkpoint, graph=part), gpu_ids="cpu")
    one, two = (executor.forward(np.zeros((count, *shape), np.float32)).values() for count in (1, 2))
    for entry, single, pair in zip(inner, one, two, strict=True):
        if pair.shape != (2 * single.shape[0], *single.shape[1:]):
            raise GraphError(
                f"mc_dropout: node {graph.nodes[entry[0]].name!r} has no axis of faces in front (shapes {single.shape} "
                f"for one face, {pair.shape} for two), so passes can't be told apart"
            )
        found[entry] = single.shape
    return found
