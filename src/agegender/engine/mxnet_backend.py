"""Training on MXNet's Module."""

from __future__ import annotations

from dataclasses import replace

from agegender.engine.backbone import find_backbone, with_still_norms
from agegender.engine.config import TrainConfig
from agegender.engine.dist import join_workers, leave_at_once
from agegender.engine.losses import training_graph
from agegender.engine.module import TrainingModule
from agegender.engine.scoring import Scorer
from agegender.executor.devices import contexts
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.input_shape import Size
from agegender.pipeline.config import LoaderConfig


class MXNetBackend:
    """MXNet on the contexts ``config.gpu_ids``, among the workers of its launchers (see ``backend.Backend``)."""

    name = "mxnet"

    def __init__(self, config: TrainConfig, network_json: str) -> None:
        mx = load_mxnet()
        self._config = config
        self._network_json = network_json
        self.workers, self._kvstore = join_workers(config.kvstore)
        try:
            self._contexts = contexts(config.gpu_ids)
            self._inference = mx.sym.load_json(network_json)
        except BaseException:
            self.leave(failed=True)
            raise
        self.contexts = len(self._contexts)
        self.devices = [str(context) for context in self._contexts]

    def loader_config(self, augmentation: LoaderConfig) -> LoaderConfig:
        """Return ``augmentation``: all of it is the loader's work."""
        return augmentation

    def trainable(self, augmentation: LoaderConfig, *, rows: int, size: Size, label_width: int = 2) -> TrainingModule:
        """Return the network with its losses, bound to all contexts."""
        backbone = find_backbone(self._network_json, self._config)
        network = load_mxnet().sym.load_json(with_still_norms(self._network_json, backbone))
        graph = training_graph(network, self._config, label_width=label_width)
        return TrainingModule(
            replace(graph, frozen=tuple(dict.fromkeys([*graph.frozen, *backbone.frozen]))),
            contexts=self._contexts,
            rows=rows,
            size=size,
            kvstore=self._kvstore,
            workers=self.workers.count,
            rates=backbone.rates,
        )

    def scorer(self, *, rows: int, size: Size) -> Scorer:
        """Return a scorer on the same contexts."""
        return Scorer(self._inference, contexts=self._contexts, rows=rows, size=size, task=self._config.task)

    def leave(self, *, failed: bool) -> None:
        """After an error, don't wait for the other workers."""
        if failed and not self.workers.alone:
            leave_at_once(self._kvstore)
