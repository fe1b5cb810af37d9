"""What stands before every route: tokens, the state of the service, what is counted, headers, and our own errors."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from agegender.service.body import Receive, drop_body
from agegender.service.crash import log_crash
from agegender.service.metrics import Metrics
from agegender.service.refusal import RefusedError

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)
# What is told to everybody: whether the service lives, what it can do, its page.
_GUARDED = ("/v1/", "/metrics")
# What takes photos, and goes through the queue.
_QUEUED = ("/v1/analyze", "/v1/embeddings")
# How often the server tells that its loop goes round, in seconds.
TICK = 0.1
CRASH = {"error": {"cause": "crash", "message": "the service has made a mistake; its log says which"}}
STOPPING = RefusedError(503, "stopping", "the service is about to stop", retry_after=5)
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


@dataclass(eq=False)
class State:
    """What changes while the service runs: requests in flight, whether it is about to stop, how late its loop is."""

    in_flight: int = 0
    stopping: bool = False
    _ticked: float | None = None
    _late: float = 0.0

    def tick(self) -> None:
        """Say that the event loop has come round. To be called every ``TICK`` seconds, where anybody does."""
        now = time.monotonic()
        self._late = 0.0 if self._ticked is None else now - self._ticked - TICK
        self._ticked = now

    @property
    def late(self) -> float:
        """Return by how many seconds the loop is late: so long, at least, what comes in waits to be read."""
        return 0.0 if self._ticked is None else max(self._late, time.monotonic() - self._ticked - TICK)


class Tokens:
    """Bearer tokens; none means that everybody may come in."""

    def __init__(self, tokens: Sequence[str]) -> None:
        # Digests have one length, so that not even a token's length shows in the time that comparing takes.
        self._digests = [_digest(token.encode()) for token in tokens]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def allow(self, authorization: str) -> bool:
        """Return whether the header ``Authorization: Bearer TOKEN`` holds one of them, in constant time."""
        kind, _, token = authorization.partition(" ")
        digest = _digest(token.strip().encode("latin-1", "replace"))
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(known, digest)
        return found and kind.lower() == "bearer"


class Guard:
    """Wraps an ASGI app. Answers itself where the service is stopping (503) or the token is wrong (401).

    ``crowded`` returns why no more photos are taken at the moment, None where they are.
    """

    def __init__(
        self,
        app: App,
        *,
        state: State,
        tokens: Tokens,
        metrics: Metrics,
        crowded: Callable[[], RefusedError | None] = lambda: None,
    ) -> None:
        self._app, self._state, self._tokens, self._metrics = app, state, tokens, metrics
        self._crowded = crowded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status, unread = time.monotonic(), 0, _has_body(Headers(scope=scope))

        async def heard() -> MutableMapping[str, Any]:
            nonlocal unread
            message = await receive()
            unread = unread and bool(message.get("more_body", False))
            return message

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *self._headers(scope, close=unread)]
            await send(message)

        self._state.in_flight += 1
        self._metrics.in_flight.inc()
        try:
            await self._answer(scope, heard, watched)
        except asyncio.CancelledError:
            # The time to stop gracefully is over, or a second signal came.
            if not self._state.stopping:
                raise
            if not status:
                await JSONResponse({"error": STOPPING.to_json()}, STOPPING.status)(scope, heard, watched)
        except Exception as error:
            log_crash(_log, "a request could not be answered", error)
            self._metrics.refused("crash")
            if not status:
                await JSONResponse(CRASH, 500)(scope, heard, watched)
        finally:
            self._state.in_flight -= 1
            self._metrics.in_flight.dec()
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.monotonic() - begun)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["path"], headers)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        self._metrics.refused(refusal.cause)
        await drop_body(receive, headers)
        await JSONResponse({"error": refusal.to_json()}, refusal.status, headers=refusal.headers)(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> RefusedError | None:
        if not path.startswith(_GUARDED):
            return None
        if self._state.stopping and path.startswith("/v1/"):
            return STOPPING
        if self._tokens and not self._tokens.allow(headers.get("authorization", "")):
            return RefusedError(401, "token", "this needs a valid token: Authorization: Bearer TOKEN")
        return self._crowded() if path in _QUEUED else None

    def _headers(self, scope: Scope, *, close: bool) -> list[tuple[bytes, bytes]]:
        headers = dict(_SECURITY)
        if scope["path"].startswith("/v1/"):
            headers["Cache-Control"] = "no-store"
        # The rest of a body that nobody reads is not taken for the next request.
        if close or self._state.stopping:
            headers["Connection"] = "close"
        return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
