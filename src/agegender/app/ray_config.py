"""The flags of serve_ray.py: those of serve.py where they mean something else on Ray, and its own."""

from __future__ import annotations

from dataclasses import dataclass

from agegender.app.serve import ServedConfig
from agegender.config import internal, option
from agegender.errors import UsageError
from agegender.ray_session import LOCAL
from agegender.service.config import ServiceConfig


@dataclass(frozen=True, kw_only=True)
class ReplicaServed(ServedConfig):
    """What is served: as with serve.py, on the GPU that Ray chooses."""

    gpu_ids: str | None = internal(None)


@dataclass(frozen=True, kw_only=True)
class ReplicaConfig(ServiceConfig):
    """The flags of serve.py where they mean something else on Ray, or nothing."""

    workers: int = option(
        1, help="threads of each replica that decode photos and find faces, each on a core", metavar="N"
    )
    max_connections: int = option(
        512, help="requests at one time in each replica; more wait in front of it, then are refused", metavar="N"
    )
    # Ray Serve reads the heads of requests itself.
    header_timeout: float = internal(10.0)

    def __post_init__(self) -> None:
        """Raise UsageError for values out of range."""
        super().__post_init__()
        if self.workers < 1:
            raise UsageError(f"--workers {self.workers}: at least 1")


@dataclass(frozen=True, kw_only=True)
class RayConfig:
    """Where and how often."""

    address: str = option(
        LOCAL,
        help="local: this machine alone; auto: the cluster that this machine belongs to; or its HOST:PORT",
        metavar="ADDRESS",
    )
    replicas: int | None = option(
        None, help="processes that serve (default: as many as there are cores for)", metavar="N"
    )
    min_replicas: int = option(1, help="with --max_replicas: how many there are without load", metavar="N")
    max_replicas: int | None = option(
        None, help="start replicas under load, up to so many, and end them when it is over", metavar="N"
    )
    gpus_per_replica: float = option(
        0.0, help="share of a GPU that each replica computes on (0.25: four replicas on each GPU)", metavar="SHARE"
    )

    def __post_init__(self) -> None:
        """Raise UsageError for values out of range."""
        for name in ("replicas", "min_replicas", "max_replicas"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name} {value}: at least 1")
        if not 0 <= self.gpus_per_replica <= 1:
            raise UsageError(f"--gpus_per_replica {self.gpus_per_replica:g} is not within 0..1")
        if self.max_replicas is None:
            if self.min_replicas != 1:
                raise UsageError(f"--min_replicas {self.min_replicas}: only with --max_replicas")
            return
        if self.replicas is not None:
            raise UsageError(f"--replicas {self.replicas}: not with --max_replicas, which lets the load say how many")
        if self.min_replicas > self.max_replicas:
            raise UsageError(f"--min_replicas {self.min_replicas} is more than --max_replicas {self.max_replicas}")
