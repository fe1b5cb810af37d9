"""Clients of the HTTP service, blocking and for asyncio. They need httpx, which is loaded when one is made.

::

    from agegender.client import Client

    with Client("http://127.0.0.1:8000") as client:
        for image in client.analyze("party.jpg", "street.jpg"):
            print(image["sha256"], [face["age"] for face in image["faces"]])
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from agegender.errors import AgeGenderError, UsageError

if TYPE_CHECKING:
    import httpx

__all__ = ["AsyncClient", "Client", "ServiceError"]

ADDRESS = "http://127.0.0.1:8000"
TOKEN_VARIABLE = "AGEGENDER_TOKEN"
Picture = str | Path | bytes
Answer = dict[str, Any]
# What may be otherwise in a moment: the queue is full, or the service is starting or stopping.
_AGAIN = (429, 503)
_LONGEST_WAIT = 30.0


class ServiceError(AgeGenderError):
    """The service refused a request, or can't be reached. ``status`` is 0 where there was no answer."""

    def __init__(self, message: str, *, status: int = 0, cause: str = "") -> None:
        super().__init__(message)
        self.status, self.cause = status, cause


class _Common:
    """What both clients share: the requests they send, and how answers are read."""

    def __init__(self, address: str, token: str | None, timeout: float, retries: int) -> None:
        self.address, self.retries = address.rstrip("/"), retries
        self._timeout = timeout
        given = os.environ.get(TOKEN_VARIABLE) if token is None else token
        self._headers = {"Authorization": f"Bearer {given}"} if given else {}

    def _options(self) -> dict[str, Any]:
        # Never through a proxy of the environment: the service is a neighbour.
        return {"base_url": self.address, "headers": self._headers, "timeout": self._timeout, "trust_env": False}

    def _wait(self, answer: httpx.Response, attempt: int) -> float | None:
        """Return the seconds until the next attempt, None where there is none."""
        if answer.status_code not in _AGAIN or attempt >= self.retries:
            return None
        told = answer.headers.get("retry-after", "")
        return min(float(told), _LONGEST_WAIT) if told.isdecimal() else min(0.5 * 2**attempt, _LONGEST_WAIT)


class Client(_Common):
    """Asks the service at ``address``; blocks until it answers.

    ``token`` is a bearer token, by default that of the variable AGEGENDER_TOKEN. ``timeout`` in seconds is for each
    step of a request. A full queue (429) or a service that stops (503) is asked ``retries`` times more, when it says.
    Methods raise ServiceError for a request that is refused and a service that can't be reached.
    """

    def __init__(
        self, address: str = ADDRESS, *, token: str | None = None, timeout: float = 60.0, retries: int = 2
    ) -> None:
        super().__init__(address, token, timeout, retries)
        self._http = _httpx().Client(**self._options())

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def analyze(self, *pictures: Picture, **options: Any) -> list[Answer]:
        """Return what ``/v1/analyze`` says of each picture (a path or a file's bytes), in order.

        ``options`` are its query: min_score, min_face, min_confidence, distribution, annotated, lang. A picture that
        can't be read beside others has ``error`` in place of ``faces``; alone, it raises ServiceError.
        """
        return self._pictures("/v1/analyze", pictures, options)

    def annotate(self, picture: Picture, **options: Any) -> bytes:
        """Return the picture with boxes and labels, a JPEG file."""
        digests, request = _request([picture], options)
        answer = self._send("/v1/analyze", **_accept_jpeg(request))
        _check_digests([{"sha256": answer.headers.get("x-image-sha256")}], digests)
        return answer.content

    def embeddings(self, *pictures: Picture, **options: Any) -> list[Answer]:
        """Return what ``/v1/embeddings`` says of each picture, in order. ``options``: min_score, min_face."""
        return self._pictures("/v1/embeddings", pictures, options)

    def from_embeddings(self, vectors: Sequence[Sequence[float]], **options: Any) -> list[Answer]:
        """Return age, gender and entropies of embeddings (n, width): lists, or an array of NumPy."""
        body = _vectors_body(vectors)
        answer = self._send("/v1/faces/embeddings", content=body, params=_query(options), headers=_JSON)
        return _vector_answers(answer, body)

    def models(self) -> Answer:
        """Return what ``/v1/models`` says: models, detector and limits."""
        return _document(self._send("/v1/models", method="GET"))

    def _pictures(self, path: str, pictures: Sequence[Picture], options: Answer) -> list[Answer]:
        digests, request = _request(pictures, options)
        return _check_digests(_document(self._send(path, **request))["images"], digests)

    def _send(self, path: str, *, method: str = "POST", **request: Any) -> httpx.Response:
        for attempt in range(self.retries + 1):
            try:
                answer = self._http.request(method, path, **request)
            except _httpx().HTTPError as error:
                raise _unreachable(self.address, error) from error
            wait = self._wait(answer, attempt)
            if wait is None:
                break
            time.sleep(wait)
        return _checked(answer)


class AsyncClient(_Common):
    """``Client`` for asyncio: the same methods, to be awaited."""

    def __init__(
        self, address: str = ADDRESS, *, token: str | None = None, timeout: float = 60.0, retries: int = 2
    ) -> None:
        super().__init__(address, token, timeout, retries)
        self._http = _httpx().AsyncClient(**self._options())

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def analyze(self, *pictures: Picture, **options: Any) -> list[Answer]:
        """Return what ``/v1/analyze`` says of each picture; see ``Client.analyze``."""
        return await self._pictures("/v1/analyze", pictures, options)

    async def annotate(self, picture: Picture, **options: Any) -> bytes:
        """Return the picture with boxes and labels, a JPEG file."""
        digests, request = _request([picture], options)
        answer = await self._send("/v1/analyze", **_accept_jpeg(request))
        _check_digests([{"sha256": answer.headers.get("x-image-sha256")}], digests)
        return answer.content

    async def embeddings(self, *pictures: Picture, **options: Any) -> list[Answer]:
        """Return what ``/v1/embeddings`` says of each picture, in order. ``options``: min_score, min_face."""
        return await self._pictures("/v1/embeddings", pictures, options)

    async def from_embeddings(self, vectors: Sequence[Sequence[float]], **options: Any) -> list[Answer]:
        """Return age, gender and entropies of embeddings (n, width): lists, or an array of NumPy."""
        body = _vectors_body(vectors)
        answer = await self._send("/v1/faces/embeddings", content=body, params=_query(options), headers=_JSON)
        return _vector_answers(answer, body)

    async def models(self) -> Answer:
        """Return what ``/v1/models`` says: models, detector and limits."""
        return _document(await self._send("/v1/models", method="GET"))

    async def _pictures(self, path: str, pictures: Sequence[Picture], options: Answer) -> list[Answer]:
        digests, request = _request(pictures, options)
        return _check_digests(_document(await self._send(path, **request))["images"], digests)

    async def _send(self, path: str, *, method: str = "POST", **request: Any) -> httpx.Response:
        for attempt in range(self.retries + 1):
            try:
                answer = await self._http.request(method, path, **request)
            except _httpx().HTTPError as error:
                raise _unreachable(self.address, error) from error
            wait = self._wait(answer, attempt)
            if wait is None:
                break
            await asyncio.sleep(wait)
        return _checked(answer)


_JSON = {"Content-Type": "application/json"}


def _httpx() -> Any:
    try:
        import httpx
    except ModuleNotFoundError:
        raise UsageError("the client needs httpx, which is not installed here; pip install httpx") from None
    return httpx


def _request(pictures: Sequence[Picture], options: Answer) -> tuple[list[str], dict[str, Any]]:
    """Return the SHA-256 of each picture, and the request that carries them."""
    if not pictures:
        raise UsageError("no picture was given")
    files = []
    for picture in pictures:
        data = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
        name = "image" if isinstance(picture, bytes) else Path(picture).name
        files.append(("file", (name, data, "application/octet-stream")))
    digests = [hashlib.sha256(data).hexdigest() for _, (_, data, _) in files]
    return digests, {"files": files, "params": _query(options)}


def _query(options: Answer) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _accept_jpeg(request: dict[str, Any]) -> dict[str, Any]:
    return {**request, "headers": {"Accept": "image/jpeg"}}


def _vectors_body(vectors: Sequence[Sequence[float]]) -> bytes:
    rows = [[float(value) for value in row] for row in vectors]
    return json.dumps({"embeddings": rows}).encode()


def _vector_answers(answer: httpx.Response, body: bytes) -> list[Answer]:
    document = _document(answer)
    _check_digests([document], [hashlib.sha256(body).hexdigest()])
    faces: list[Answer] = document["faces"]
    return faces


def _check_digests(images: list[Answer], digests: Sequence[str]) -> list[Answer]:
    """Return ``images`` where they are about what was sent. Raises ServiceError otherwise."""
    if [image.get("sha256") for image in images] != list(digests):
        raise ServiceError("the answer is about other bytes than those that were sent: their SHA-256 differ")
    return images


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        problem = answer.json()["error"]
        message, cause = str(problem["message"]), str(problem["cause"])
    except (ValueError, KeyError, TypeError):
        message, cause = f"the service answered {answer.status_code}", ""
    raise ServiceError(message, status=answer.status_code, cause=cause)


def _document(answer: httpx.Response) -> Answer:
    document: Answer = answer.json()
    return document


def _unreachable(address: str, error: Exception) -> ServiceError:
    return ServiceError(f"{address}: no answer ({type(error).__name__}: {error})")
