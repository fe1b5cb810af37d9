"""Waiting for the photos of a request, and putting the answer together."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from agegender.deploy.face import Face
from agegender.errors import AgeGenderError
from agegender.service.analyzer import Analysis, Job
from agegender.service.body import Receive, Upload
from agegender.service.pictures import MEDIA_TYPES
from agegender.service.refusal import RefusedError

T = TypeVar("T")


async def results_of(jobs: Sequence[Job], receive: Receive, *, deadline: float) -> list[Analysis | RefusedError]:
    """Return what became of each job, in order.

    Where ``deadline`` passes or the client goes, what is not done yet is given up: RefusedError (504, 400).
    """
    try:
        futures = [asyncio.wrap_future(job.future) for job in jobs]
        return await within(asyncio.gather(*futures, return_exceptions=True), receive, deadline=deadline, then=_judged)
    except BaseException:
        for job in jobs:
            job.abandoned = True
        raise


async def within(
    work: asyncio.Future[Any] | Future[Any], receive: Receive, *, deadline: float, then: Callable[[Any], T]
) -> T:
    """Return ``then(what work results in)``. Raises RefusedError: 504 after ``deadline``, 400 where the client goes."""
    task = asyncio.wrap_future(work) if isinstance(work, Future) else work
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({task, gone}, timeout=deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return then(task.result())
        if gone.done():
            raise RefusedError(400, "client_gone", "the client closed the connection before it was answered")
        raise RefusedError(504, "deadline", "the request took longer than its deadline")
    finally:
        gone.cancel()
        # Nobody waits for it any more; asyncio would log that its end was not looked at.
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        task.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _judged(results: Sequence[Analysis | BaseException]) -> list[Analysis | RefusedError]:
    """Turn what went wrong inside into a line that tells a client nothing of our own files."""
    judged: list[Analysis | RefusedError] = []
    for result in results:
        if isinstance(result, Analysis | RefusedError):
            judged.append(result)
        elif isinstance(result, AgeGenderError | Exception):
            judged.append(
                RefusedError(500, "crash", "this image could not be analysed; the log of the service says why")
            )
        else:
            raise result
    return judged


def image_json(
    index: int, upload: Upload, result: Analysis | RefusedError, face_json: Callable[[Face], dict[str, Any]]
) -> dict[str, Any]:
    """Return what an answer says of one photo."""
    known: dict[str, Any] = {"index": index, "name": upload.name, "sha256": upload.sha256}
    if isinstance(result, RefusedError):
        return {**known, "error": result.to_json()}
    size = {"width": result.width, "height": result.height}
    return {**known, **size, "faces": [face_json(face) for face in result.faces], "timing": result.timing}


def annotated_json(data: bytes, kind: str) -> dict[str, str]:
    """Return a picture as base64 with its media type."""
    return {"media_type": MEDIA_TYPES[kind], "data": base64.b64encode(data).decode("ascii")}


def embedding_json(face: Face) -> dict[str, Any]:
    """Return where a face is and its embedding."""
    place = face.to_json()
    values = [] if face.embedding is None else [round(float(value), 6) for value in face.embedding]
    return {**{key: place[key] for key in ("box", "landmarks", "score")}, "embedding": values}
