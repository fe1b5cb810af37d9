"""The clients of benchmarks/serve.py, in a process of their own: each asks again as soon as it is answered.

python benchmarks/serve_load.py --port 8000 --folder photos/ --clients 64 --seconds 5

``folder`` holds photos and expected.json, the answer to each. No two requests carry the same bytes: a number is put
into a comment of the JPEG, so that the digest in an answer tells whose it is. Asks this machine alone, ends by itself,
and prints what came back as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
# Seconds after the end in which what was asked must be answered; longer than the services' deadline.
LAST_WAIT = 35.0
# The nets add up in another order where rows go together: years by which an answer may differ after rounding.
CLOSE = 0.25
# What a client does that was told to come again, where it isn't told when.
PAUSE = 0.5


@dataclass
class Count:
    """What the clients saw. ``wrong`` are answers about another photo, or with other faces; ``lost`` got none."""

    asked: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lost: int = 0
    last: float = 0.0

    def to_json(self, lasted: float) -> dict[str, Any]:
        """Return the figures: requests per second, milliseconds at 50, 95 and 99 of 100."""
        ranked = sorted(self.seconds)
        answered = self.statuses[200]

        def at(share: float) -> float:
            return 1e3 * ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else float("nan")

        return {
            "asked": self.asked,
            "answered": answered,
            "refused": self.statuses[429],
            "failed": sum(count for status, count in self.statuses.items() if status not in (200, 429)),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "lost": self.lost,
            "wrong": len(self.wrong),
            "first_wrong": self.wrong[:3],
            "per_second": answered / lasted,
            "p50": at(0.5),
            "p95": at(0.95),
            "p99": at(0.99),
            "longest": at(1.0),
        }


class Photos:
    """Requests without end, each with bytes of its own; hands out the request, the digest and the photo's name."""

    def __init__(self, folder: Path) -> None:
        self.expected: dict[str, Any] = json.loads((folder / "expected.json").read_text())
        self._files = {name: (folder / name).read_bytes() for name in self.expected}
        self._numbers = itertools.count(random.getrandbits(40) << 20)

    def __iter__(self) -> Iterator[tuple[bytes, str, str]]:
        for name in itertools.cycle(self._files):
            body = number_jpeg(self._files[name], next(self._numbers))
            head = (
                f"POST /v1/analyze HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: image/jpeg\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            yield head.encode() + body, hashlib.sha256(body).hexdigest(), name


class Client(asyncio.Protocol):
    """One client: asks, checks the answer, asks again, on one connection where the server keeps it."""

    def __init__(
        self, port: int, photos: Iterator[tuple[bytes, str, str]], expected: Any, count: Count, *, most: int | None
    ) -> None:
        self._port, self._photos, self._expected, self._count, self._most = port, photos, expected, count, most
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._request, self._digest, self._name = b"", "", ""
        self._since = 0.0
        self._end = 0.0
        self.done: asyncio.Future[None] = self._loop.create_future()

    def begin(self, end: float) -> None:
        """Ask until ``end``, a time of ``time.perf_counter``."""
        self._end = end
        self._ask()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what waits."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Collect an answer."""
        self._received += data
        head, there, body = self._received.partition(b"\r\n\r\n")
        if not there:
            return
        headers = head.lower()
        _, _, rest = headers.partition(b"\r\ncontent-length:")
        if len(body) < int(rest.partition(b"\r\n")[0]):
            return
        self._received = b""
        if b"\r\nconnection: close" in headers or headers.startswith(b"http/1.0"):
            self._drop()
        self._answered(int(head.split(b" ", 2)[1]), headers, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a request whose connection was closed in place of an answer."""
        self._transport = None
        if self._request and not self.done.done():
            self._count.lost += 1
            self._next()

    def _drop(self) -> None:
        assert self._transport is not None
        self._request = b""
        self._transport.abort()
        self._transport = None

    def _ask(self) -> None:
        if time.perf_counter() >= self._end or self._count.asked == self._most:
            self._request = b""
            if self._transport is not None:
                self._transport.abort()
            self.done.set_result(None)
            return
        self._request, self._digest, self._name = next(self._photos)
        self._count.asked += 1
        self._since = time.perf_counter()
        if self._transport is not None:
            self._transport.write(self._request)
        else:
            opening = self._loop.create_task(self._loop.create_connection(lambda: self, HOST, self._port))
            opening.add_done_callback(self._opened)

    def _opened(self, opening: asyncio.Task[Any]) -> None:
        if opening.exception() is not None:
            self._count.lost += 1
            self._loop.call_later(PAUSE, self._ask)

    def _answered(self, status: int, headers: bytes, body: bytes) -> None:
        self._request = b""
        self._count.statuses[status] += 1
        if status == 200:
            self._count.last = time.perf_counter()
            self._count.seconds.append(self._count.last - self._since)
            wrong = problem(body, self._digest, self._expected[self._name])
            if wrong:
                self._count.wrong.append(f"{self._name}: {wrong}")
        pause = 0.0
        if status == 429:
            told = headers.partition(b"\r\nretry-after:")[2].partition(b"\r\n")[0].strip()
            pause = (float(told) if told.isdigit() else PAUSE) * random.uniform(0.5, 1.0)
        # Who was told to come again after the end doesn't.
        self._next(pause if time.perf_counter() + pause < self._end else 0.0)

    def _next(self, pause: float = 0.0) -> None:
        # Not at once, which would go ever deeper where answers come without waiting.
        self._loop.call_later(pause, self._ask)


def number_jpeg(data: bytes, number: int) -> bytes:
    """Return the JPEG ``data`` with ``number`` in a comment."""
    assert data[:2] == b"\xff\xd8"
    return data[:2] + b"\xff\xfe\x00\x12" + b"%016x" % number + data[2:]


def problem(body: bytes, digest: str, expected: dict[str, Any]) -> str:
    """Return what is wrong with an answer, "" where nothing is: the digest, the faces' boxes, genders and ages."""
    image = json.loads(body)["images"][0]
    if image["sha256"] != digest:
        return "the digest is another request's"
    faces, wanted = image["faces"], expected["faces"]
    if len(faces) != len(wanted):
        return f"{len(faces)} faces, not {len(wanted)}"
    for face, other in zip(faces, wanted, strict=True):
        apart = max(abs(a - b) for a, b in zip(face["box"], other["box"], strict=True))
        if apart > CLOSE or abs(face["age"] - other["age"]) > CLOSE:
            return f"another face: box {face['box']}, age {face['age']}, not {other['box']}, {other['age']}"
    return ""


async def load(port: int, folder: Path, *, clients: int, seconds: float, requests: int | None = None) -> dict[str, Any]:
    """Let ``clients`` ask for ``seconds``, ``requests`` times together at most; return what they saw."""
    photos, count = Photos(folder), Count()
    source = iter(photos)
    begun = time.perf_counter()
    crowd = [Client(port, source, photos.expected, count, most=requests) for _ in range(clients)]
    for client in crowd:
        client.begin(begun + seconds)
    _, waiting = await asyncio.wait([client.done for client in crowd], timeout=seconds + LAST_WAIT)
    count.lost += len(waiting)
    return count.to_json(count.last - begun if requests else max(count.last - begun, seconds))


def main() -> int:
    """Print what the clients saw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    print(json.dumps(asyncio.run(load(args.port, args.folder, clients=args.clients, seconds=args.seconds))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
