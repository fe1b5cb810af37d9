"""What Prometheus may ask: counts, times and lengths. Nothing that a client sent is a label."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_FACES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("agegender_requests", "Requests answered", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "agegender_request_seconds",
            "Time from a request's head to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.rejected = Counter(
            "agegender_rejected", "Requests and photos refused, by cause", ["cause"], registry=self.registry
        )
        self.images = Counter("agegender_images", "Photos analysed", registry=self.registry)
        self.faces = Counter("agegender_faces", "Faces found", registry=self.registry)
        self.stages = Histogram(
            "agegender_stage_seconds",
            "Time of a photo in each stage",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "agegender_batch_size", "Rows that went through a net at once", ["net"], buckets=_FACES,
            registry=self.registry,
        )  # fmt: skip
        self.in_flight = Gauge("agegender_requests_in_flight", "Requests being answered", registry=self.registry)

    def watch(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a gauge ``name`` whose value is what ``read`` returns when it is asked for."""
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def refused(self, cause: str) -> None:
        """Count a refusal."""
        self.rejected.labels(cause).inc()

    def text(self) -> bytes:
        """Return all values in Prometheus' text format."""
        return generate_latest(self.registry)
