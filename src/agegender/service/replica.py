"""One of many processes that serve together behind Ray Serve: the same service, watched by Ray in place of uvicorn."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from agegender.service.api import create_app
from agegender.service.guard import App
from agegender.service.merged import label_samples
from agegender.service.service import Service

# Seconds that ``/metrics`` waits for the other replicas.
_PATIENCE = 5.0
_log = logging.getLogger(__name__)


class Replica:
    """What Ray Serve starts in each of its processes. ``open_service`` opens the models there and starts the threads.

    It runs in a Ray worker alone: its name, its siblings and its end come from Ray.
    """

    def __init__(self, open_service: Callable[[], Service]) -> None:
        self._service = open_service()
        self._service.gather_metrics = self._gather_metrics

    def __serve_build_asgi_app__(self) -> App:
        """Return the application, which Ray Serve asks for once the service is there."""
        return create_app(self._service)

    def check_health(self) -> None:
        """Raise RuntimeError where a thread has crashed or hangs: Ray then starts another replica in place of this."""
        problems = self._service.broken()
        if problems:
            raise RuntimeError("; ".join(problems))

    def begin_stop(self) -> None:
        """Refuse what is new; what was begun is answered."""
        self._service.state.stopping = True

    def in_flight(self) -> int:
        """Return how many requests are being answered."""
        return self._service.state.in_flight

    def metrics_text(self) -> bytes:
        """Return this replica's metrics, each sample with its name."""
        from ray import serve

        return label_samples(self._service.metrics.text(), "replica", serve.get_replica_context().replica_tag)

    async def _gather_metrics(self) -> list[bytes]:
        """Return the metrics of all replicas that answer."""
        from ray import serve

        me = serve.get_replica_context()
        asked = serve.get_deployment_handle(me.deployment, me.app_name).broadcast("metrics_text")
        told: list[Any] = await asked.results_async(timeout_s=_PATIENCE, return_exceptions=True)
        for each in told:
            if isinstance(each, Exception):
                _log.warning("a replica doesn't tell its metrics: %s", type(each).__name__)
        return [each for each in told if isinstance(each, bytes)]

    def __del__(self) -> None:
        """End the threads, when Ray Serve lets go of the replica."""
        # It isn't there where the models could not be opened.
        service: Service | None = getattr(self, "_service", None)
        if service is not None:
            service.stop()
