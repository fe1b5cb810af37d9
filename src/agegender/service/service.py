"""The service as one object: what the routes use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import agegender
from agegender.deploy.net import Net
from agegender.deploy.pair import Pair
from agegender.deploy.predict import Predictor
from agegender.deploy.vector_net import VectorNet
from agegender.face.detector import Detector
from agegender.readout import Reading, Readout
from agegender.service.analyzer import Analyzer
from agegender.service.batcher import Batcher
from agegender.service.body import Budget
from agegender.service.config import ServiceConfig
from agegender.service.guard import State, Tokens
from agegender.service.merged import merge_texts
from agegender.service.metrics import Metrics
from agegender.service.refusal import RefusedError

# Seconds by which the loop that reads requests may be late before it takes no more of them than the queue holds.
_LATE = 0.05


@dataclass(frozen=True, eq=False)
class Row:
    """One embedding's place in a batch's reading."""

    reading: Reading
    row: int


class Service:
    """What the routes use: the analyzer, the nets, the limits, the metrics, the state.

    ``detectors`` has a detector for each worker thread, None where photos are crops; ``detector_name`` is what
    ``/v1/models`` calls them, ``model_name`` the model. ``vector_net`` tells age and gender of embeddings (None: this
    is not served). ``min_face`` is the smallest face that the detectors look for; a client can't ask for less. A gender
    whose probability is below ``min_confidence`` is not told where a client doesn't say otherwise. ``shared_net``:
    several threads may run the predictor's net at once, as ONNX Runtime allows. ``tokens`` are the bearer tokens, or
    what knows them by their digests. Where several processes serve together, ``gather_metrics`` asks all of them.
    """

    def __init__(
        self,
        predictor: Predictor,
        detectors: Sequence[Detector | None],
        *,
        config: ServiceConfig,
        model_name: str,
        detector_name: str = "mtcnn",
        min_face: float = 20.0,
        min_confidence: float = 0.0,
        vector_net: VectorNet | None = None,
        vector_name: str = "",
        tokens: Sequence[str] | Tokens = (),
        shared_net: bool = False,
    ) -> None:
        self.config, self.metrics, self.state = config, Metrics(), State()
        self.tokens = tokens if isinstance(tokens, Tokens) else Tokens(tokens)
        self.budget = Budget(config.memory_bytes)
        self.gather_metrics: Callable[[], Awaitable[Sequence[bytes]]] | None = None
        self.predictor, self.vector_net = predictor, vector_net
        self.model_name, self.vector_name, self.detector_name = model_name, vector_name, detector_name
        self.min_face, self.min_confidence = min_face, min_confidence
        self.analyzer = Analyzer(predictor, detectors, config=config, metrics=self.metrics, shared_net=shared_net)
        self.vectors: Batcher[npt.NDArray[np.float32], Row] | None = None
        if vector_net is not None:
            self.vectors = Batcher(
                self._read_vectors,
                max_batch=max(config.max_batch, 256),
                max_wait=config.max_wait / 1000,
                watch=self.metrics.batches.labels("embeddings").observe,
                name="vectors",
            )
            # The session is built by its first use; no client shall wait for that.
            self.vectors.submit([np.zeros(vector_net.width, np.float32)])
        self.metrics.watch("agegender_queue_images", "Photos that wait or are worked on", lambda: self.analyzer.inside)
        self.metrics.watch("agegender_body_bytes", "Bytes of request bodies held", lambda: self.budget.held)
        self.metrics.watch("agegender_ready", "1 where the service is ready", lambda: float(not self.problems()))

    def problems(self) -> list[str]:
        """Return why the service is not ready, one line each."""
        return [*self.broken(), *(["the service is about to stop"] if self.state.stopping else [])]

    def broken(self) -> list[str]:
        """Return what is wrong with its threads, one line each."""
        problems = self.analyzer.problems()
        if self.vectors is not None and self.vectors.problem is not None:
            problems.append(self.vectors.problem)
        return problems

    def crowded(self) -> RefusedError | None:
        """Return why no photo is taken now, None where one is.

        Small photos can come faster than requests are read. They then wait before they reach the queue, so that its
        length says nothing: more requests than it holds are refused as soon as the loop that reads them is late.
        Clients who send slowly don't make it late, and count only for as long as others do.
        """
        if self.state.in_flight > self.config.queue and self.state.late > _LATE:
            return self.analyzer.full(self.state.in_flight)
        return None

    async def metrics_text(self) -> bytes:
        """Return the metrics for Prometheus: its own, or those of all that serve together."""
        return self.metrics.text() if self.gather_metrics is None else merge_texts(await self.gather_metrics())

    def stop(self) -> None:
        """End all threads."""
        self.analyzer.stop()
        if self.vectors is not None:
            self.vectors.stop()

    def models_json(self) -> dict[str, Any]:
        """Return what ``/v1/models`` says."""
        reader = self.predictor.reader
        nets = [reader.age, reader.gender] if isinstance(reader, Pair) else [reader] if isinstance(reader, Net) else []
        models: list[dict[str, Any]] = [
            {
                "name": self.model_name,
                "input": "picture",
                "shape": [3, *net.input.size],
                "template": net.template.name,
                "tells": _tells(net.readout),
            }
            for net in nets
        ]
        if self.vector_net is not None:
            width, readout = self.vector_net.width, self.vector_net.readout
            told = {"shape": [width], "template": None, "tells": _tells(readout)}
            models.append({"name": self.vector_name, "input": "embedding", **told})
        names = ("max_body", "max_megapixels", "max_images", "max_vectors", "queue", "deadline")
        limits = {name: getattr(self.config, name) for name in names}
        limits["min_face"] = self.min_face
        version = agegender.__version__
        return {"version": version, "detector": self.detector_name, "models": models, "limits": limits}

    def _read_vectors(self, rows: list[npt.NDArray[np.float32]]) -> list[Row]:
        assert self.vector_net is not None
        reading = self.vector_net.read(np.stack(rows))
        return [Row(reading, row) for row in range(len(rows))]


def _tells(readout: Readout) -> list[str]:
    parts = {
        "age": readout.tells_age,
        "gender": readout.tells_gender,
        "distribution": readout.distribution is not None or readout.layout == "ordinal",
        "embedding": readout.embedding is not None,
    }
    return [name for name, there in parts.items() if there]
