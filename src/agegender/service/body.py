"""Request bodies: read in memory, within limits of size and time; nothing is ever spooled to a file."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from agegender.service.config import ServiceConfig
from agegender.service.refusal import RefusedError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
# After a refusal the rest of a body is read and dropped for so long, so that the client reads why.
_LINGER = 1.0
_RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")
_MOST_HEADERS, _LONGEST_HEADER = 8, 1024
# It would write what it finds in a damaged form.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


@dataclass(eq=False)
class Upload:
    """One file as received. ``sha256`` is hexadecimal; ``name`` what the client calls it."""

    name: str = ""
    data: bytearray = field(default_factory=bytearray)
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, part: bytes) -> None:
        """Append what came in."""
        self.data += part
        self.digest.update(part)

    def take(self) -> bytes:
        """Return the bytes and keep none of them."""
        data = bytes(self.data)
        self.data = bytearray()
        return data

    @property
    def sha256(self) -> str:
        """Return the digest of the bytes so far."""
        return str(self.digest.hexdigest())


class Budget:
    """How many bytes of bodies are held by all requests together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def take(self, count: int) -> None:
        """Count ``count`` more bytes. Raises RefusedError (503) where there is no room for them."""
        if self.held + count > self._most:
            raise RefusedError(503, "memory_full", "too many request bodies are held; try again later", retry_after=1)
        self.held += count

    def give_back(self, count: int) -> None:
        """Count ``count`` bytes less."""
        self.held -= count


class BodyReader:
    """The body of one request. Use as a context manager: at its end the budget gets its bytes back."""

    def __init__(
        self, receive: Receive, headers: MutableMapping[str, str] | Any, config: ServiceConfig, budget: Budget
    ) -> None:
        self._receive, self._headers, self._config, self._budget = receive, headers, config, budget
        self._taken = 0
        self.ended = False

    def __enter__(self) -> BodyReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._taken)
        self._taken = 0

    async def uploads(self) -> list[Upload]:
        """Return the files: those of a multipart form, or the whole body as one.

        Raises RefusedError: 413 for too large a body or too many files, 408 for too slow a one, 415 for another type,
        422 for a form that can't be understood, has fields that are no files, or holds no file.
        """
        kind, options = parse_options_header(self._headers.get("content-type"))
        media_type = kind.decode("latin-1").lower()
        if media_type == "multipart/form-data":
            boundary = options.get(b"boundary", b"")
            uploads = await self._multipart(boundary)
        elif media_type in _RAW or media_type.startswith("image/"):
            upload = Upload()
            async for part in self.chunks():
                upload.add(part)
            uploads = [upload]
        else:
            await self.refuse(
                RefusedError(415, "media_type", "send an image (Content-Type: image/jpeg, ...) or multipart/form-data")
            )
        if not uploads or (len(uploads) == 1 and not uploads[0].data and not uploads[0].name):
            raise RefusedError(422, "no_image", "the request holds no image")
        return uploads

    async def whole(self) -> bytes:
        """Return the whole body. Raises RefusedError (413, 408)."""
        return b"".join([part async for part in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes in, never more of it than is allowed."""
        most = self._config.body_bytes
        told = self._headers.get("content-length", "")
        if told.isdecimal() and int(told[:20]) > most:
            await self.refuse(self._too_large())
        end = time.monotonic() + self._config.body_timeout
        size = 0
        while not self.ended:
            part = await self._next(end)
            size += len(part)
            if size > most:
                await self.refuse(self._too_large())
            try:
                self._budget.take(len(part))
            except RefusedError as refusal:
                await self.refuse(refusal)
            self._taken += len(part)
            if part:
                yield part

    async def _next(self, end: float) -> bytes:
        left = end - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, min(left, self._config.read_timeout))):
                message = await self._receive()
        except TimeoutError:
            self.ended = True
            which = "no byte came" if left > self._config.read_timeout else "it was not complete"
            limit = self._config.read_timeout if left > self._config.read_timeout else self._config.body_timeout
            raise RefusedError(408, "slow_body", f"the request body is too slow: {which} within {limit:g} s") from None
        if message["type"] == "http.disconnect":
            self.ended = True
            raise RefusedError(400, "client_gone", "the client closed the connection within the request body")
        self.ended = not message.get("more_body", False)
        return bytes(message.get("body", b""))

    def _too_large(self) -> RefusedError:
        return RefusedError(413, "body_too_large", f"the request body has more than {self._config.max_body:g} MB")

    async def refuse(self, refusal: RefusedError) -> NoReturn:
        """Raise ``refusal``, after what is left of the body was dropped."""
        if not self.ended:
            await drop_body(self._receive, self._headers)
            self.ended = True
        raise refusal

    async def _multipart(self, boundary: bytes) -> list[Upload]:
        form = _Form(self._config.max_images)
        try:
            parser = MultipartParser(
                boundary,
                form.callbacks(),
                max_header_count=_MOST_HEADERS,
                max_header_size=_LONGEST_HEADER,
            )
            if not boundary:
                raise FormParserError("no boundary")
            async for part in self.chunks():
                parser.write(part)
            parser.finalize()
        except RefusedError as refusal:
            await self.refuse(refusal)
        except (FormParserError, ValueError):
            await self.refuse(RefusedError(422, "bad_form", "the multipart form is damaged or has no boundary"))
        if not form.ended:
            raise RefusedError(422, "bad_form", "the multipart form is cut off: its last boundary is missing")
        return form.uploads


class _Form:
    """Collects the files of a form while it is parsed."""

    def __init__(self, most: int) -> None:
        self.uploads: list[Upload] = []
        self.ended = False
        self._most = most
        self._field, self._value = b"", b""
        self._disposition = b""

    def callbacks(self) -> Any:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._header_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._disposition = b""

    def _header_begin(self) -> None:
        self._field = self._value = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            raise RefusedError(422, "bad_form", "the form has a field that is no file; options belong into the query")
        if len(self.uploads) == self._most:
            raise RefusedError(413, "too_many_images", f"more than {self._most} images in one request")
        self.uploads.append(Upload(name=options[b"filename"].decode("utf-8", "replace")[:255]))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.uploads[-1].add(data[start:end])

    def _end(self) -> None:
        self.ended = True


async def drop_body(receive: Receive, headers: Any) -> None:
    """Read and forget the rest of a body for a second: many clients read no answer before they have sent it all.

    A client that asked first (Expect: 100-continue) hasn't sent any.
    """
    if headers.get("expect", "").lower() == "100-continue":
        return
    try:
        async with asyncio.timeout(_LINGER):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
