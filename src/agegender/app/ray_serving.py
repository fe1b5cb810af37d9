"""The service on Ray Serve, from its first replica to its graceful end."""

from __future__ import annotations

import importlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from agegender.errors import AgeGenderError, UsageError
from agegender.ray_session import LOCAL, error_of_ray
from agegender.service.replica import Replica

if TYPE_CHECKING:
    from agegender.app.ray_config import RayConfig, ReplicaConfig
    from agegender.service.service import Service

# Of the application in Ray Serve, which knows others too.
NAME, _DEPLOYMENT = "agegender", "Replica"
_LOOK_SECONDS = 0.2
# Ray Serve gives its HTTP servers five seconds to start, and on a busy machine would start them again and again.
_CONTROLLER = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}
# A replica that can't be opened so many times ends it all.
_TRIES = 3
# A replica is asked so often whether its threads live.
_HEALTH_SECONDS = 5.0
# More requests for each thread than this make another replica worth while.
_BUSY = 2.0
# Seconds beyond the grace for Ray Serve's own steps.
_LAST_WAIT = 30.0
_log = logging.getLogger(__name__)


class Serving:
    """Replicas that ``open_service`` fills, on the Ray that is connected, behind Ray Serve's own HTTP servers."""

    def __init__(
        self, ray: ModuleType, config: ReplicaConfig, open_service: Callable[[], Service], where: RayConfig
    ) -> None:
        self._ray, self._config, self._open, self._where = ray, config, open_service, where
        self._stop = threading.Event()
        self._told = (0, "")
        self._wanted = self._count()

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; a second one ends it without waiting for what is being answered.

        Raises UsageError for more than the machine has, a port that is taken or what is served already,
        AgeGenderError where replicas can't start.
        """
        # Not all of it is typed.
        serve: Any = importlib.import_module("ray.serve")
        # Its notes on its own affairs; what goes wrong is told here.
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        before = serve.status()
        if NAME in before.applications:
            raise UsageError(
                f"--address {self._where.address}: it is served there already; `serve shutdown -y` ends what a run "
                "that was killed has left"
            )
        ours = not before.proxies
        with self._signals():
            try:
                place = self._listen(serve, ours)
                handle = self._deploy(serve)
                while self._look(serve) < self._wanted and not self._stop.wait(_LOOK_SECONDS):
                    pass
                if not self._stop.is_set():
                    _log.info("listening on http://%s:%d (Ctrl-C stops)", *place)
                while not self._stop.wait(1.0):
                    self._look(serve)
                self._end(handle)
            except self._ray.exceptions.RayError as error:
                raise error_of_ray(error) from error
            finally:
                self._clear(serve, ours)

    def _listen(self, serve: Any, ours: bool) -> tuple[str, int]:
        """Start Ray Serve where none runs, and return where it listens on each machine."""
        from ray.serve.context import _get_global_client

        from agegender.service.server import bind

        host, port = self._config.host, self._config.port
        if ours:
            # Before Ray Serve tries, which tells it in many lines; it also chooses the port where that is 0.
            with bind(self._config) as place:
                port = place.getsockname()[1]
            options = {"host": host, "port": port, "keep_alive_timeout_s": max(1, round(self._config.keep_alive))}
            environment = {"runtime_env": {"env_vars": _CONTROLLER}}
            serve.start(http_options=options, logging_config=_quiet(), controller_options=environment)
        client: Any = _get_global_client()
        there = client.http_config
        if (there.host, there.port) != (host, port):
            raise UsageError(
                f"--host {host} --port {port}: Ray Serve listens on {there.host}:{there.port} in this cluster already; "
                "that can't be changed while it runs"
            )
        return host, port

    def _deploy(self, serve: Any) -> Any:
        target = serve.RunTarget(self._application(serve), name=NAME, route_prefix="/", logging_config=_quiet())
        return serve.run_many([target], wait_for_applications_running=False)[0]

    def _end(self, handle: Any) -> None:
        """Refuse what is new, and wait for what was begun."""
        _log.info("stopping: what was begun is still being answered")
        # A replica that has just died has nothing to stop.
        self._ask_all(handle, "begin_stop")
        time.sleep(self._config.drain)
        end = time.monotonic() + self._config.grace
        # Until then replicas say 503; once they are being ended, Ray Serve itself says 404.
        while any(self._ask_all(handle, "in_flight")) and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)

    def _clear(self, serve: Any, ours: bool) -> None:
        """End the replicas, and Ray Serve itself where it was started here."""
        serve.delete(NAME, _blocking=False)
        end = time.monotonic() + self._config.grace + _LAST_WAIT
        while NAME in serve.status().applications and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
        if ours:
            serve.shutdown()

    def _ask_all(self, handle: Any, what: str) -> list[Any]:
        """Return what the replicas say that live."""
        told = handle.broadcast(what).results(timeout_s=_LAST_WAIT, return_exceptions=True)
        return [each for each in told if not isinstance(each, Exception)]

    def _application(self, serve: Any) -> Any:
        config, where = self._config, self._where
        amount: dict[str, Any] = {"num_replicas": self._wanted}
        if where.max_replicas is not None:
            scale = {"min_replicas": where.min_replicas, "max_replicas": where.max_replicas}
            amount = {"autoscaling_config": {**scale, "target_ongoing_requests": _BUSY * config.workers}}
        deployment = serve.deployment(
            serve.ingress()(Replica),
            name=_DEPLOYMENT,
            ray_actor_options={"num_cpus": config.workers, "num_gpus": where.gpus_per_replica},
            max_ongoing_requests=config.max_connections,
            max_queued_requests=config.max_connections,
            graceful_shutdown_timeout_s=config.grace,
            graceful_shutdown_wait_loop_s=0.1,
            health_check_period_s=_HEALTH_SECONDS,
            max_constructor_retry_count=_TRIES,
            **amount,
        )
        return deployment.bind(self._open)

    def _look(self, serve: Any) -> int:
        """Return how many replicas run; say it where it has changed. Raises AgeGenderError where none can start."""
        app = serve.status().applications.get(NAME)
        deployment = None if app is None else app.deployments.get(_DEPLOYMENT)
        if app is not None and app.status == "DEPLOY_FAILED":
            raise AgeGenderError(
                f"no replica can start: {_last_line(deployment.message if deployment else app.message)}"
            )
        if deployment is None:
            return 0
        running = int(deployment.replica_states.get("RUNNING", 0))
        told = running, _last_line(deployment.message)
        if told != self._told:
            self._told = told
            _log.info("replicas that are running: %d%s", running, f" ({told[1]})" if told[1] else "")
        return running

    def _count(self) -> int:
        """Return how many replicas there are to be at first. Raises UsageError for more than this machine holds."""
        config, where = self._config, self._where
        room = sum(_room(node["Resources"], config.workers, where.gpus_per_replica) for node in self._ray.nodes())
        least = where.min_replicas if where.max_replicas is not None else where.replicas
        if where.address == LOCAL and room < (least or 1):
            cores = int(self._ray.cluster_resources().get("CPU", 0))
            gpus = self._ray.cluster_resources().get("GPU", 0.0)
            raise UsageError(
                f"{least or 1} replicas of {config.workers} workers"
                + (f" and {where.gpus_per_replica:g} GPU" if where.gpus_per_replica else "")
                + f" each: this machine has {cores} cores and {gpus:g} GPUs, enough for {room}"
            )
        return least or max(1, room)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let SIGTERM and Ctrl-C begin the end, the second of them end it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(name, self._asked) for name in names]
        try:
            yield
        finally:
            for name, handler in zip(names, before, strict=True):
                signal.signal(name, handler)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()


def _room(resources: dict[str, float], cores: int, gpus: float) -> int:
    """Return how many replicas a machine of a cluster holds."""
    room = int(resources.get("CPU", 0) / cores)
    return min(room, int(resources.get("GPU", 0) / gpus + 1e-6)) if gpus else room


def _quiet() -> dict[str, Any]:
    """Return how Ray Serve is to log: no line for each request, which would hold paths that clients send."""
    return {"log_level": "WARNING", "enable_access_log": False}


def _last_line(message: str) -> str:
    return (message.strip().splitlines() or [""])[-1].strip()
