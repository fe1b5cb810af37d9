"""The flags of the service: where it listens, how it batches, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from agegender.config import option
from agegender.cores import usable_cores
from agegender.errors import UsageError

_LOOPBACK = ("localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """Times are in seconds where nothing else is said."""

    host: str = option("127.0.0.1", help="address to listen on; 0.0.0.0 is every network of this machine")
    port: int = option(8000, help="port to listen on; 0: any free one")
    workers: int = option(0, help="threads that decode photos and find faces; 0: one a core", metavar="N")
    max_batch: int = option(32, help="faces, of one or many requests, that go through the net at once", metavar="N")
    max_wait: float = option(
        10.0, help="milliseconds that a face waits for others while photos are still being searched", metavar="MS"
    )
    max_body: float = option(20.0, help="largest request body, in megabytes", metavar="MB")
    max_megapixels: float = option(50.0, help="largest photo, in millions of pixels", metavar="MP")
    max_images: int = option(16, help="photos in one request", metavar="N")
    max_vectors: int = option(1024, help="embeddings in one request", metavar="N")
    queue: int = option(64, help="photos that wait or are worked on; more are refused with 429", metavar="N")
    max_memory: float = option(256.0, help="megabytes of request bodies held at one time", metavar="MB")
    max_connections: int = option(512, help="connections at one time; more are refused with 503", metavar="N")
    deadline: float = option(30.0, help="a request that takes longer once it is read ends with 504", metavar="SECONDS")
    header_timeout: float = option(10.0, help="time for the head of a request to come in", metavar="SECONDS")
    read_timeout: float = option(10.0, help="longest pause within a request's body", metavar="SECONDS")
    body_timeout: float = option(60.0, help="time for a whole request body to come in", metavar="SECONDS")
    keep_alive: float = option(15.0, help="time that an idle connection is kept open", metavar="SECONDS")
    drain: float = option(
        0.0, help="on SIGTERM: go on listening so long, answering 503 to what is new", metavar="SECONDS"
    )
    grace: float = option(30.0, help="on SIGTERM: time for requests in flight to be answered", metavar="SECONDS")
    tokens_file: str | None = option(
        None, help="file of bearer tokens, one a line (or the variable AGEGENDER_TOKENS)", metavar="FILE"
    )
    cors: tuple[str, ...] = option(
        (), help="origins whose pages may call the service: https://a.example,https://b.example", metavar="ORIGINS"
    )

    def __post_init__(self) -> None:
        """Raise UsageError for values out of range."""
        least: dict[str, float] = {"port": 0, "workers": 0, "max_wait": 0, "drain": 0}
        for name in ("max_batch", "max_images", "max_vectors", "queue", "max_connections"):
            least[name] = 1
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise UsageError(f"--{name} {getattr(self, name):g}: at least {lowest:g}")
        positive = ("max_body", "max_megapixels", "max_memory", "deadline", "header_timeout", "read_timeout")
        for name in (*positive, "body_timeout", "keep_alive", "grace"):
            if not getattr(self, name) > 0:
                raise UsageError(f"--{name} {getattr(self, name):g}: more than 0")
        if self.port > 65535:
            raise UsageError(f"--port {self.port}: at most 65535")
        if self.max_images > self.queue:
            raise UsageError(f"--max_images {self.max_images} is more than --queue {self.queue} has room for")
        if self.max_body > self.max_memory:
            raise UsageError(f"--max_body {self.max_body:g} is more than --max_memory {self.max_memory:g} holds")

    @property
    def threads(self) -> int:
        """Return how many worker threads there are."""
        return self.workers or usable_cores()

    @property
    def body_bytes(self) -> int:
        """Return the largest body in bytes."""
        return int(self.max_body * 1e6)

    @property
    def memory_bytes(self) -> int:
        """Return how many bytes of bodies are held at most."""
        return int(self.max_memory * 1e6)

    @property
    def pixels(self) -> int:
        """Return the largest photo in pixels."""
        return int(self.max_megapixels * 1e6)

    @property
    def only_here(self) -> bool:
        """Whether nobody but this machine can reach the service."""
        return self.host in _LOOPBACK or self.host.startswith("127.")
