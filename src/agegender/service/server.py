"""uvicorn around the application: limits on connections, slow clients, and a graceful stop."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from agegender.errors import UsageError
from agegender.service.api import create_app
from agegender.service.config import ServiceConfig
from agegender.service.service import Service

_log = logging.getLogger(__name__)
# h11's limit on the head of a request.
_LARGEST_HEAD = 32 * 1024
# At the very end: seconds for answers to get out of the door.
_FLUSH = 5


def protocol(config: ServiceConfig) -> type[H11Protocol]:
    """Return uvicorn's HTTP protocol with two more limits: how long a head may take, and how long an answer's reader.

    uvicorn waits for both without end.
    """

    class Patient(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # It would write paths and queries, which clients send; without a log_config, uvicorn forgets that it's off.
            self.access_log = False
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._forget()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.transport.is_closing():
                # What the client doesn't fetch is dropped then.
                self.loop.call_later(config.body_timeout, self.transport.abort)

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self.loop.call_later(config.body_timeout, self.transport.abort)

        def _watch(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._forget()
            elif self._timer is None:
                self._timer = self.loop.call_later(config.header_timeout, self._too_slow)

        def _forget(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _too_slow(self) -> None:
            self._timer = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.abort()

    return Patient


class Server(uvicorn.Server):
    """Stops when it has answered what it had begun: the first signal lets it refuse what is new, a second ends it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        config = service.config
        super().__init__(
            uvicorn.Config(
                create_app(service),
                host=config.host,
                port=config.port,
                http=protocol(config),
                ws="none",
                lifespan="off",
                loop="asyncio",
                access_log=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=config.max_connections,
                timeout_keep_alive=max(1, round(config.keep_alive)),
                timeout_graceful_shutdown=_FLUSH,
                h11_max_incomplete_event_size=_LARGEST_HEAD,
            )
        )
        self._stop_since: float | None = None
        self._told = False

    @property
    def address(self) -> tuple[str, int]:
        """Return the host and the port it listens on, once it has started."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return host, port

    def begin_stop(self) -> None:
        """Refuse what is new, and end when what was begun is answered."""
        if self._stop_since is None:
            self._stop_since = time.monotonic()
            self.service.state.stopping = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take SIGTERM and Ctrl-C."""
        if self._stop_since is not None:
            self.should_exit = self.force_exit = True
        self.begin_stop()

    async def on_tick(self, counter: int) -> bool:
        """Look every tenth of a second whether it is time to end."""
        self.service.state.tick()
        if self._stop_since is not None:
            since = time.monotonic() - self._stop_since
            if not self._told:
                self._told = True
                _log.info("stopping: %d requests are still being answered", self.service.state.in_flight)
            if since >= self.service.config.drain and not self.service.state.in_flight:
                self.should_exit = True
            if since >= self.service.config.drain + self.service.config.grace:
                self.should_exit = True
                # What is still in flight has had its time; uvicorn cancels it after so many seconds.
                self.config.timeout_graceful_shutdown = 1
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say where."""
        await super().startup(sockets)
        host, port = self.address
        _log.info("listening on http://%s:%d (Ctrl-C stops)", f"[{host}]" if ":" in host else host, port)

    def _log_started_message(self, listeners: Any) -> None:
        """Say nothing more."""


def bind(config: ServiceConfig) -> socket.socket:
    """Return a socket bound to the host and port, which doesn't listen yet. Raises UsageError where it can't be."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer waits 40 ms.
    place = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((config.host, config.port))
    except OSError as error:
        place.close()
        raise UsageError(f"can't listen on {config.host}:{config.port}: {error.strerror or error}") from error
    return place


def run_server(service: Service, place: socket.socket) -> None:
    """Serve on ``place``, of ``bind``, until SIGTERM or Ctrl-C, then end gracefully."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = Server(service)
    try:
        server.run(sockets=[place])
    finally:
        if not server.force_exit:
            service.stop()
