"""The routes of the API."""

from __future__ import annotations

import hashlib
import html
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from agegender.service.analyzer import Analysis, Wanted
from agegender.service.answer import annotated_json, embedding_json, image_json, results_of, within
from agegender.service.body import BodyReader, Upload
from agegender.service.pictures import MEDIA_TYPES
from agegender.service.refusal import RefusedError
from agegender.service.schemas import (
    AnalyzeAnswer,
    AnalyzeQuery,
    EmbeddingsAnswer,
    EmbeddingsQuery,
    Failure,
    Health,
    ModelsAnswer,
    VectorsAnswer,
    VectorsQuery,
)
from agegender.service.service import Service
from agegender.service.vectors import describe, parse_vectors

router = APIRouter()
PAGE = Path(__file__).parent / "page"

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILES = {
    "type": "object",
    "properties": {"file": {"type": "array", "items": _BINARY["schema"], "minItems": 1}},
    "required": ["file"],
    "additionalProperties": False,
}
_PHOTOS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FILES},
            **dict.fromkeys(("image/jpeg", "image/png", "image/webp", "application/octet-stream"), _BINARY),
        },
    }
}
_ROWS = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}, "minItems": 1}
_VECTORS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"embeddings": _ROWS},
                    "required": ["embeddings"],
                    "additionalProperties": False,
                }
            },
            "application/octet-stream": _BINARY,
        },
    }
}
_MEANINGS = {
    400: "the client went away, or the request is no HTTP",
    401: "a token is missing or wrong",
    408: "the body comes in too slowly",
    413: "too large: the body, the picture, or how many there are",
    415: "not a type that is taken",
    422: "an option or a file is wrong",
    429: "the queue is full; Retry-After says when to come again",
    500: "a mistake of the service",
    501: "the model that is served can't tell this",
    503: "the service is stopping or out of memory for bodies",
    504: "the deadline has passed",
}
_FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": meaning} for status, meaning in _MEANINGS.items()
}


@router.post("/v1/analyze", response_model=AnalyzeAnswer, responses=_FAILURES, openapi_extra=_PHOTOS)
async def analyze(request: Request, query: Annotated[AnalyzeQuery, Query()]) -> Response:
    """Find the faces of one or more photos and tell age and gender.

    Send a photo as the body, or several as files of a multipart form. With ``Accept: image/jpeg`` or ``image/png`` and
    one photo, the answer is the picture with boxes and labels.
    """
    service = _service(request)
    kind = _picture_kind(request, query)
    confidence = service.min_confidence if query.min_confidence is None else query.min_confidence
    wanted = Wanted(
        min_score=query.min_score,
        min_face=_min_face(service, query),
        annotated=kind or (None if query.annotated == "none" else query.annotated),
        lang=query.lang,
        min_confidence=confidence,
    )
    with BodyReader(request.receive, request.headers, service.config, service.budget) as body:
        uploads, results = await _analysed(request, body, wanted, single=kind is not None)
    if kind is not None and isinstance(results[0], Analysis):
        headers = {"X-Image-SHA256": uploads[0].sha256}
        return Response(results[0].annotated, media_type=MEDIA_TYPES[kind], headers=headers)
    images = []
    for index, (upload, result) in enumerate(zip(uploads, results, strict=True)):
        image = image_json(index, upload, result, lambda face: face.to_json(distribution=query.distribution))
        if isinstance(result, Analysis) and result.annotated is not None:
            image["annotated"] = annotated_json(result.annotated, query.annotated)
        images.append(image)
    return _answer(service, images, results)


@router.post("/v1/embeddings", response_model=EmbeddingsAnswer, responses=_FAILURES, openapi_extra=_PHOTOS)
async def embeddings(request: Request, query: Annotated[EmbeddingsQuery, Query()]) -> Response:
    """Find the faces of one or more photos and return the embedding (``fc1``) of each."""
    service = _service(request)
    if all("embedding" not in model["tells"] for model in service.models_json()["models"]):
        raise RefusedError(501, "no_embedding", f"the model {service.model_name} has no embedding")
    wanted = Wanted(min_score=query.min_score, min_face=_min_face(service, query))
    with BodyReader(request.receive, request.headers, service.config, service.budget) as body:
        uploads, results = await _analysed(request, body, wanted)
    images = [
        image_json(index, upload, result, embedding_json)
        for index, (upload, result) in enumerate(zip(uploads, results, strict=True))
    ]
    return _answer(service, images, results)


@router.post("/v1/faces/embeddings", response_model=VectorsAnswer, responses=_FAILURES, openapi_extra=_VECTORS)
async def vectors(request: Request, query: Annotated[VectorsQuery, Query()]) -> Response:
    """Tell age and gender, each with its entropy, of embeddings of faces: JSON or a .npy file of plain numbers."""
    service = _service(request)
    net = service.vector_net
    if net is None or service.vectors is None:
        raise RefusedError(
            501, "no_embedding_model", "no model that takes embeddings is served (start with --embedding_model MODEL)"
        )
    with BodyReader(request.receive, request.headers, service.config, service.budget) as body:
        data = await body.whole()
        deadline = time.monotonic() + service.config.deadline
        rows = await run_in_threadpool(parse_vectors, data, width=net.width, most=service.config.max_vectors)
        told = await within(service.vectors.submit(list(rows)), request.receive, deadline=deadline, then=list)
        digest = hashlib.sha256(data).hexdigest()
    confidence = service.min_confidence if query.min_confidence is None else query.min_confidence
    faces = [describe(row.reading, row.row, distribution=query.distribution, min_confidence=confidence) for row in told]
    return JSONResponse({"model": service.vector_name, "sha256": digest, "faces": faces})


@router.get("/v1/models", response_model=ModelsAnswer, responses={k: _FAILURES[k] for k in (401, 503)})
async def models(request: Request) -> Response:
    """Say which models, detector and limits there are."""
    return JSONResponse(_service(request).models_json())


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """Say that the process lives."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", response_model=Health, responses={503: {"model": Health}})
async def readyz(request: Request) -> Response:
    """Say whether requests can be answered: all threads live and are warm, and the service is not about to stop."""
    problems = _service(request).problems()
    if problems:
        return JSONResponse({"status": "not ready", "problems": problems}, 503)
    return JSONResponse({"status": "ok", "problems": []})


@router.get("/metrics", response_class=Response, responses={401: _FAILURES[401], 200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Return the metrics for Prometheus."""
    text = await _service(request).metrics_text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Return a plain page of the routes; it loads nothing."""
    return HTMLResponse(_docs_page(request.app.openapi()))


@router.get("/", include_in_schema=False)
async def front(request: Request) -> Response:
    """Return the page, where it is installed, else that of the routes."""
    index = PAGE / "index.html"
    if index.is_file():
        return FileResponse(index)
    return HTMLResponse(_docs_page(request.app.openapi()))


def mount_page(api: FastAPI) -> None:
    """Serve the files of the page under ``/page/``, where they are installed."""
    if PAGE.is_dir():
        api.mount("/page", StaticFiles(directory=PAGE), name="page")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _analysed(
    request: Request, body: BodyReader, wanted: Wanted, *, single: bool = False
) -> tuple[list[Upload], list[Analysis | RefusedError]]:
    """Read the photos, let them be analysed, and return both. ``single``: there must be one."""
    service = _service(request)
    try:
        # Before the body is read: what can't be taken need not be sent.
        service.analyzer.check_room()
    except RefusedError as refusal:
        await body.refuse(refusal)
    uploads = await body.uploads()
    if single and len(uploads) != 1:
        raise RefusedError(422, "many_images", "a picture as the answer needs a request of one image")
    deadline = time.monotonic() + service.config.deadline
    jobs = service.analyzer.submit([upload.take() for upload in uploads], wanted, deadline=deadline)
    return uploads, await results_of(jobs, request.receive, deadline=deadline)


def _answer(service: Service, images: list[dict[str, Any]], results: list[Analysis | RefusedError]) -> Response:
    """Return the answer: 200, but for a single photo that could not be read its own status."""
    refusals = [result for result in results if isinstance(result, RefusedError)]
    for refusal in refusals:
        service.metrics.refused(refusal.cause)
    if refusals and len(results) == 1:
        document = {"error": refusals[0].to_json(), "images": images}
        return JSONResponse(document, refusals[0].status, headers=refusals[0].headers)
    return JSONResponse({"model": service.model_name, "images": images})


def _min_face(service: Service, query: EmbeddingsQuery) -> float | None:
    if query.min_face is not None and query.min_face < service.min_face:
        raise RefusedError(
            422, "bad_option", f"option 'min_face': this service looks for faces of {service.min_face:g} pixels or more"
        )
    return query.min_face


def _picture_kind(request: Request, query: AnalyzeQuery) -> str | None:
    """Return jpeg or png where the client accepts a picture and not JSON."""
    accepted = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    if "application/json" in accepted or "*/*" in accepted:
        return None
    for kind, media_type in MEDIA_TYPES.items():
        if media_type in accepted:
            return kind
    return None


def _docs_page(document: dict[str, Any]) -> str:
    rows = []
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            names = ", ".join(parameter["name"] for parameter in about.get("parameters", []))
            cells = (f"{method.upper()} {path}", about.get("description", ""), names)
            rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    title = html.escape(document["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<h1>{title} {html.escape(document['info']['version'])}</h1>"
        f"<p>{html.escape(document['info']['description'])} "
        '<a href="/openapi.json">openapi.json</a> describes it for programs.</p>'
        "<table><thead><tr><th>Route</th><th>What it does</th><th>Options</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></html>"
    )
